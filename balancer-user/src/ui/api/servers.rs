//! The list of balancers.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{Body, Problem},
    guard::Visitor,
};
use crate::{
    manage::{Answer, Question},
    ui::{
        Ui,
        audit::Action,
        equipment::{Kind, LOCAL, Server},
    },
};

/// All balancers.
#[derive(Serialize, ToSchema)]
pub struct Servers {
    /// The one of this host; it can't be changed.
    local: Server,
    /// Others, in the order in which they were added.
    remote: Vec<Server>,
}

/// What a test has found.
#[derive(Serialize, ToSchema)]
pub struct Tested {
    /// Whether a daemon answers there.
    works: bool,
    /// What answers, or why nothing does.
    detail: String,
}

/// All balancers.
#[utoipa::path(
    get, path = "/api/servers", tag = "equipment",
    responses(
        (status = 200, description = "All of them.", body = Servers),
        (status = 401, description = "Not signed in.", body = Problem),
    )
)]
pub async fn list(State(ui): State<Arc<Ui>>) -> Result<Json<Servers>, Problem> {
    let local = Server {
        name: LOCAL.to_owned(),
        host: "localhost".to_owned(),
        login: String::new(),
        sudo: false,
        kind: Kind::Balancer,
    };
    Ok(Json(Servers { local, remote: ui.equipment.all()? }))
}

/// Add a balancer.
#[utoipa::path(
    post, path = "/api/servers", tag = "equipment",
    responses(
        (status = 201, description = "Added."),
        (status = 400, description = "No server as JSON.", body = Problem),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 403, description = "Not allowed.", body = Problem),
        (status = 422, description = "Something about it is wrong; the field's name comes first.", body = Problem),
    )
)]
pub async fn add(
    State(ui): State<Arc<Ui>>,
    visitor: Visitor,
    Body(server): Body<Server>,
) -> Result<StatusCode, Problem> {
    let (name, detail) = (server.name.clone(), describe(&server));
    ui.equipment.add(server).map_err(|error| Problem::refused(format!("{error:#}")))?;
    ui.audit.write(visitor.entry(Action::AddServer, Some(&name), true, detail));
    Ok(StatusCode::CREATED)
}

/// Change a balancer in the list.
#[utoipa::path(
    put, path = "/api/servers/{server}", tag = "equipment",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 204, description = "Changed."),
        (status = 400, description = "No server as JSON.", body = Problem),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 403, description = "Not allowed.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 422, description = "Something about it is wrong; the field's name comes first.", body = Problem),
    )
)]
pub async fn edit(
    State(ui): State<Arc<Ui>>,
    Path(name): Path<String>,
    visitor: Visitor,
    Body(server): Body<Server>,
) -> Result<StatusCode, Problem> {
    let before = ui.find(&name)?.ok_or_else(|| Problem::no_server(&name))?;
    let detail = format!("{} -> {}", describe(&before), describe(&server));
    ui.equipment.edit(&name, server).map_err(|error| Problem::refused(format!("{error:#}")))?;
    ui.remotes.forget(&before);
    ui.audit.write(visitor.entry(Action::EditServer, Some(&name), true, detail));
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a balancer from the list.
#[utoipa::path(
    delete, path = "/api/servers/{server}", tag = "equipment",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 204, description = "Removed."),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 403, description = "Not allowed.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
    )
)]
pub async fn remove(
    State(ui): State<Arc<Ui>>,
    Path(name): Path<String>,
    visitor: Visitor,
) -> Result<StatusCode, Problem> {
    let before = ui.find(&name)?.ok_or_else(|| Problem::no_server(&name))?;
    ui.equipment.remove(&name)?;
    ui.remotes.forget(&before);
    ui.audit.write(visitor.entry(Action::RemoveServer, Some(&name), true, describe(&before)));
    Ok(StatusCode::NO_CONTENT)
}

/// Try whether a balancer can be reached.
#[utoipa::path(
    post, path = "/api/servers/{server}/test", tag = "equipment",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 200, description = "What was found.", body = Tested),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 403, description = "Not allowed.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
    )
)]
pub async fn test(
    State(ui): State<Arc<Ui>>,
    Path(name): Path<String>,
) -> Result<Json<Tested>, Problem> {
    let answer = ui.ask(&name, Question::Status).await.ok_or_else(|| Problem::no_server(&name))?;
    Ok(Json(match answer {
        Answer::Status(status) => {
            let (version, receivers) = (&status.version, status.receivers.len());
            let detail =
                format!("ipfix-balancer {version}, {receivers} receivers, {}", status.config);
            Tested { works: true, detail }
        }
        Answer::Failed(detail) => Tested { works: false, detail },
        _ => Tested { works: false, detail: "another answer than the state".to_owned() },
    }))
}

fn describe(server: &Server) -> String {
    let Server { name, host, login, sudo, .. } = server;
    format!("{name}: host {host}, login {login:?}, sudo {sudo}")
}
