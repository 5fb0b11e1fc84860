//! The last lines of a balancer's log.

use std::{fmt::Write, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::IntoResponse,
};
use jiff::Timestamp;

use super::error::{Asked, Problem};
use crate::{
    manage::{Answer, Log, Question, Wanted},
    ui::Ui,
};

/// Lines of the log.
#[utoipa::path(
    get, path = "/api/servers/{server}/log", tag = "log",
    params(("server" = String, Path, description = "Its name in the list."), Wanted),
    responses(
        (status = 200, description = "The oldest first.", body = Log),
        (status = 400, description = "No filter that makes sense.", body = Problem),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 502, description = "It can't be reached, or does not run.", body = Problem),
    )
)]
pub async fn lines(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Log>, Problem> {
    ask(&ui, &server, wanted).await.map(Json)
}

/// The same, as text to keep.
#[utoipa::path(
    get, path = "/api/servers/{server}/log.txt", tag = "log",
    params(("server" = String, Path, description = "Its name in the list."), Wanted),
    responses(
        (status = 200, description = "Time, level, sentence.", body = String, content_type = "text/plain"),
        (status = 400, description = "No filter that makes sense.", body = Problem),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 404, description = "There is none of this name.", body = Problem),
        (status = 502, description = "It can't be reached, or does not run.", body = Problem),
    )
)]
pub async fn text(
    State(ui): State<Arc<Ui>>,
    Path(server): Path<String>,
    Asked(wanted): Asked<Wanted>,
) -> Result<impl IntoResponse, Problem> {
    let mut text = String::new();
    for line in ask(&ui, &server, wanted).await?.lines {
        let microseconds = i64::try_from(line.at).unwrap_or(i64::MAX);
        let time = Timestamp::from_microsecond(microseconds).unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{time} {:>5} {}", line.level.to_string().to_uppercase(), line.text);
    }
    let header = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"ipfix-balancer.log\""),
    ];
    Ok((header, text))
}

async fn ask(ui: &Arc<Ui>, server: &str, wanted: Wanted) -> Result<Log, Problem> {
    let answer = ui.ask(server, Question::Log(wanted)).await;
    match answer.ok_or_else(|| Problem::no_server(server))? {
        Answer::Log(log) => Ok(log),
        other => Err(other.into()),
    }
}
