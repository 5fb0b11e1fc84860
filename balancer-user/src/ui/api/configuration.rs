//! The `.env` file of a balancer.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    error::{Asked, Body, Problem},
    guard::Visitor,
};
use crate::{
    config::{Change, ReceiverForm},
    manage::{Answer, Applied, Configuration, Preview, Question},
    ui::{Ui, audit::Action},
};

/// Changes that are not made yet.
#[derive(Deserialize, ToSchema)]
pub struct Changes {
    /// In this order.
    changes: Vec<Change>,
}

/// Changes to be made.
#[derive(Deserialize, ToSchema)]
pub struct Apply {
    /// The revision that they were made from.
    revision: String,
    /// In this order.
    changes: Vec<Change>,
}

/// A change to be undone.
#[derive(Deserialize, ToSchema)]
pub struct Undo {
    /// The revision to be undone.
    revision: String,
}

/// For which stream.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Blank {
    /// As in keys: FULLFLOW, CLICKSTREAM, DNSFLOW.
    stream: String,
}

/// The file as forms.
#[utoipa::path(
    get, path = "/api/servers/{server}/configuration", tag = "configuration",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 200, description = "All receivers with all parameters.", body = Configuration),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 502, description = "It can't be reached, or can't read the file.", body = Problem),
    )
)]
pub async fn read(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
) -> Result<Json<Configuration>, Problem> {
    match ask(&ui, &server, Question::Configuration).await? {
        Answer::Configuration(configuration) => Ok(Json(configuration)),
        other => Err(other.into()),
    }
}

/// The form of a receiver that is not in the file yet.
#[utoipa::path(
    get, path = "/api/servers/{server}/configuration/blank", tag = "configuration",
    params(("server" = String, Path, description = "Its name in the list."), Blank),
    responses(
        (status = 200, description = "All defaults, with the first free index.", body = ReceiverForm),
        (status = 400, description = "No stream given.", body = Problem),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 502, description = "It can't be reached, or there is no such stream.", body = Problem),
    )
)]
pub async fn blank(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
    Asked(Blank { stream }): Asked<Blank>,
) -> Result<Json<ReceiverForm>, Problem> {
    match ask(&ui, &server, Question::Blank { stream }).await? {
        Answer::Blank(form) => Ok(Json(form)),
        other => Err(other.into()),
    }
}

/// What changes would come to. Nothing is written.
#[utoipa::path(
    post, path = "/api/servers/{server}/configuration/preview", tag = "configuration",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 200, description = "The lines that would change, and the result with its faults.", body = Preview),
        (status = 400, description = "No changes as JSON.", body = Problem),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 403, description = "Not allowed.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 502, description = "It can't be reached, or they can't be made.", body = Problem),
    )
)]
pub async fn preview(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
    Body(Changes { changes }): Body<Changes>,
) -> Result<Json<Preview>, Problem> {
    match ask(&ui, &server, Question::Preview { changes }).await? {
        Answer::Preview(preview) => Ok(Json(preview)),
        other => Err(other.into()),
    }
}

/// What going back to the version before would come to. Nothing is written.
#[utoipa::path(
    get, path = "/api/servers/{server}/configuration/previous", tag = "configuration",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 200, description = "The lines that would change, and the result with its faults.", body = Preview),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 502, description = "It can't be reached, or there is no version before.", body = Problem),
    )
)]
pub async fn previous(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
) -> Result<Json<Preview>, Problem> {
    match ask(&ui, &server, Question::Previous).await? {
        Answer::Preview(preview) => Ok(Json(preview)),
        other => Err(other.into()),
    }
}

/// Make changes, and have the daemon take them.
#[utoipa::path(
    post, path = "/api/servers/{server}/configuration/apply", tag = "configuration",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 200, description = "The file is changed; whether it is in force is told.", body = Applied),
        (status = 400, description = "No changes as JSON.", body = Problem),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 403, description = "Not allowed.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 409, description = "Somebody else has changed the file since.", body = Problem),
        (status = 422, description = "The result would have faults; nothing is changed.", body = Preview),
        (status = 502, description = "It can't be reached, or the file can't be written.", body = Problem),
    )
)]
pub async fn apply(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
    visitor: Visitor,
    Body(Apply { revision, changes }): Body<Apply>,
) -> Result<Response, Problem> {
    change(&ui, &server, &visitor, Action::Apply, Question::Apply { revision, changes }).await
}

/// Bring back the version before, and have the daemon take it.
#[utoipa::path(
    post, path = "/api/servers/{server}/configuration/undo", tag = "configuration",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 200, description = "The file is changed; whether it is in force is told.", body = Applied),
        (status = 400, description = "No revision as JSON.", body = Problem),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 403, description = "Not allowed.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 409, description = "Somebody else has changed the file since.", body = Problem),
        (status = 422, description = "The version before has faults; nothing is changed.", body = Preview),
        (status = 502, description = "It can't be reached, or there is no version before.", body = Problem),
    )
)]
pub async fn undo(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
    visitor: Visitor,
    Body(Undo { revision }): Body<Undo>,
) -> Result<Response, Problem> {
    change(&ui, &server, &visitor, Action::Undo, Question::Undo { revision }).await
}

async fn change(
    ui: &Arc<Ui>,
    server: &str,
    visitor: &Visitor,
    action: Action,
    question: Question,
) -> Result<Response, Problem> {
    let note = |done, detail: &str| {
        ui.audit.write(visitor.entry(action, Some(server), done, detail.to_owned()));
    };
    match ask(ui, server, question).await? {
        Answer::Applied(applied) => {
            note(true, &format!("{}\n{}", applied.reload, applied.diff));
            Ok(Json(applied).into_response())
        }
        Answer::Conflict => {
            note(false, "somebody else had changed the file");
            let why =
                "somebody else has changed the file meanwhile; nothing was changed: load it again";
            Err(Problem::new(StatusCode::CONFLICT, why))
        }
        Answer::Faulty(preview) => {
            note(false, "the result would have had faults");
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(preview)).into_response())
        }
        other => {
            let why = if let Answer::Failed(why) = &other { why } else { "" };
            note(false, why);
            Err(other.into())
        }
    }
}

async fn ask(ui: &Arc<Ui>, server: &str, question: Question) -> Result<Answer, Problem> {
    ui.ask(server, question).await.ok_or_else(|| Problem::no_server(server))
}
