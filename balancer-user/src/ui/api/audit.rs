//! Who has done what.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::error::Problem;
use crate::ui::{Ui, audit::Entry};

/// Entries that are shown.
const SHOWN: usize = 500;

/// The last entries of the audit trail.
#[utoipa::path(
    get, path = "/api/audit", tag = "audit",
    responses(
        (status = 200, description = "The newest first.", body = [Entry]),
        (status = 401, description = "Not signed in.", body = Problem),
    )
)]
pub async fn trail(State(ui): State<Arc<Ui>>) -> Result<Json<Vec<Entry>>, Problem> {
    let read = tokio::task::spawn_blocking(move || ui.audit.newest(SHOWN)).await;
    Ok(Json(read.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?))
}
