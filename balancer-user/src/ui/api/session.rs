//! Signing in and out.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{RETRY_AFTER, SET_COOKIE},
    },
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    error::{Body, Problem},
    guard::{self, Visitor},
};
use crate::{
    http::Peer,
    ui::{
        Ui,
        accounts::{Account, MAX_PASSWORD, Role},
        audit::{Action, Entry},
    },
};

/// The longest name that is looked for, in bytes.
const MAX_NAME: usize = 256;

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
pub struct Credentials {
    /// The account's name.
    name: String,
    /// Its password.
    password: String,
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
pub struct SignedIn {
    /// The account's name.
    account: String,
    /// What it may do.
    role: Role,
    /// What requests that change something bring along, as header `X-CSRF-Token`.
    csrf: String,
}

/// Sign in.
#[utoipa::path(
    post, path = "/api/session", tag = "session",
    responses(
        (status = 200, description = "Signed in; the cookie is set.", body = SignedIn),
        (status = 401, description = "No such account and password.", body = Problem),
        (status = 429, description = "Too many attempts; `Retry-After` says how long to wait.", body = Problem),
    )
)]
pub async fn sign_in(
    State(ui): State<Arc<Ui>>,
    Extension(peer): Extension<Peer>,
    Body(credentials): Body<Credentials>,
) -> Result<Response, Problem> {
    let Credentials { name, password } = credentials;
    let wrong = || Problem::new(StatusCode::UNAUTHORIZED, "name or password is wrong");
    if name.len() > MAX_NAME || password.len() > MAX_PASSWORD {
        return Err(wrong());
    }
    let note = |done, detail: &str| {
        ui.audit.write(Entry {
            time: Timestamp::now(),
            account: name.clone(),
            address: peer.0.ip(),
            action: Action::SignIn,
            done,
            server: None,
            detail: detail.to_owned(),
        });
    };
    if let Err(wait) = ui.attempts.begin(peer.0.ip(), &name) {
        note(false, "too many attempts");
        let why = format!("too many attempts: wait {} s", wait.as_secs());
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, why);
        return Ok(([(RETRY_AFTER, wait.as_secs().to_string())], problem).into_response());
    }
    let Some(Account { role, hash }) = check(&ui, name.clone(), password).await? else {
        note(false, "wrong name or password");
        return Err(wrong());
    };
    ui.attempts.succeeded(peer.0.ip(), &name);
    let (cookie, csrf) = ui.sessions.begin(&name, &hash)?;
    note(true, "");
    Ok((set_cookie(&ui, &cookie, ""), Json(SignedIn { account: name, role, csrf })).into_response())
}

async fn check(ui: &Arc<Ui>, name: String, password: String) -> Result<Option<Account>, Problem> {
    // Whoever waits here waits for others' passwords, and no longer than a request may take.
    let turn = ui.hashing.acquire().await.map_err(anyhow::Error::from)?;
    let accounts = ui.accounts.clone();
    let checked = tokio::task::spawn_blocking(move || accounts.check(&name, &password)).await;
    drop(turn);
    Ok(checked.map_err(anyhow::Error::from)??)
}

/// Who am I?
#[utoipa::path(
    get, path = "/api/session", tag = "session",
    responses(
        (status = 200, description = "Signed in.", body = SignedIn),
        (status = 204, description = "Not signed in."),
    )
)]
pub async fn who(State(ui): State<Arc<Ui>>, request: Request) -> Response {
    match guard::visitor(&ui, &request) {
        Ok(Visitor { account, role, csrf, .. }) => {
            Json(SignedIn { account, role, csrf }).into_response()
        }
        Err(_) => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Sign out.
#[utoipa::path(
    delete, path = "/api/session", tag = "session",
    responses(
        (status = 204, description = "Signed out."),
        (status = 401, description = "Not signed in.", body = Problem),
        (status = 403, description = "Without the session's token.", body = Problem),
    )
)]
pub async fn sign_out(State(ui): State<Arc<Ui>>, visitor: Visitor) -> Response {
    ui.sessions.end(&visitor.cookie);
    ui.audit.write(visitor.entry(Action::SignOut, None, true, String::new()));
    (StatusCode::NO_CONTENT, set_cookie(&ui, "", "; Max-Age=0")).into_response()
}

/// No script sees it, and no other site's page sends it.
fn set_cookie(ui: &Ui, value: &str, more: &str) -> HeaderMap {
    let secure = if ui.secure { "; Secure" } else { "" };
    let name = ui.cookie_name();
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}");
    // Tokens are hexadecimal: it is one.
    HeaderValue::from_str(&cookie).map(|cookie| (SET_COOKIE, cookie)).into_iter().collect()
}
