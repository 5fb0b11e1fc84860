//! How a balancer is.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::error::Problem;
use crate::{
    daemon::Status,
    manage::{Answer, Question},
    ui::{Ui, equipment::LOCAL, history::Hour},
};

/// State and counters.
#[utoipa::path(
    get, path = "/api/servers/{server}/status", tag = "state",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 200, description = "As `ipfix-balancer status --json`.", body = Status),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 502, description = "It can't be reached, or does not run.", body = Problem),
    )
)]
pub async fn status(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
) -> Result<Json<Box<Status>>, Problem> {
    match ui.ask(&server, Question::Status).await.ok_or_else(|| Problem::no_server(&server))? {
        Answer::Status(status) => Ok(Json(status)),
        other => Err(other.into()),
    }
}

/// Rates over the last hour.
#[utoipa::path(
    get, path = "/api/servers/{server}/history", tag = "state",
    params(("server" = String, Path, description = "Its name in the list.")),
    responses(
        (status = 200, description = "As far back as this interface has seen it.", body = Hour),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
    )
)]
pub async fn history(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
) -> Result<Json<Hour>, Problem> {
    if server != LOCAL && ui.find(&server)?.is_none() {
        return Err(Problem::no_server(&server));
    }
    Ok(Json(ui.history.hour(&server)))
}

/// For who has expected another answer.
impl From<Answer> for Problem {
    fn from(answer: Answer) -> Problem {
        match answer {
            Answer::Failed(why) => Problem::failed(why),
            _ => Problem::failed("the balancer gave another answer than was asked for"),
        }
    }
}
