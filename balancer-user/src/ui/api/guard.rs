//! The one place where it is decided who may do what.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, header::COOKIE, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;

use super::error::Problem;
use crate::{
    http::Peer,
    ui::{
        Ui,
        accounts::Role,
        audit::{Action, Entry},
        sessions::Session,
    },
};

/// Brings along the token of the session; another site's page can't.
pub const CSRF: &str = "x-csrf-token";
/// Says that the page asks by itself, and nobody has touched it.
const WATCHING: &str = "x-watching";

/// Who is signed in and sends a request.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub account: String,
    pub role: Role,
    pub csrf: String,
    pub cookie: String,
    pub peer: Peer,
}

impl Visitor {
    /// For the audit trail.
    pub fn entry(&self, action: Action, server: Option<&str>, done: bool, detail: String) -> Entry {
        Entry {
            time: Timestamp::now(),
            account: self.account.clone(),
            address: self.peer.0.ip(),
            action,
            done,
            server: server.map(str::to_owned),
            detail,
        }
    }
}

/// Lets those pass who are signed in: with a GET everyone, with anything else who has the session's
/// token and the role admin. Signing out is for everyone, too.
pub async fn guard(State(ui): State<Arc<Ui>>, mut request: Request, next: Next) -> Response {
    match visitor(&ui, &request).and_then(|visitor| admit(&request, visitor)) {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who sends a request.
pub fn visitor(ui: &Ui, request: &Request) -> Result<Visitor, Problem> {
    let nobody = || Problem::new(StatusCode::UNAUTHORIZED, "sign in first");
    let headers = request.headers();
    let cookie = cookie(headers, &ui.cookie_name()).ok_or_else(nobody)?;
    let session = ui.sessions.find(cookie, headers.contains_key(WATCHING)).ok_or_else(nobody)?;
    let Session { account, hash, csrf, .. } = session;
    // Who was removed or has another password since is out.
    let known =
        ui.accounts.find(&account)?.filter(|known| known.hash == hash).ok_or_else(nobody)?;
    let peer = request.extensions().get::<Peer>().copied().ok_or_else(nobody)?;
    Ok(Visitor { account, role: known.role, csrf, cookie: cookie.to_owned(), peer })
}

fn admit(request: &Request, visitor: Visitor) -> Result<Visitor, Problem> {
    if *request.method() == Method::GET {
        return Ok(visitor);
    }
    if request.headers().get(CSRF).is_none_or(|token| token.as_bytes() != visitor.csrf.as_bytes()) {
        let why = "the header X-CSRF-Token must be that of the session: load the page again";
        return Err(Problem::new(StatusCode::FORBIDDEN, why));
    }
    let signs_out = request.uri().path() == "/api/session";
    if visitor.role != Role::Admin && !signs_out {
        return Err(Problem::new(StatusCode::FORBIDDEN, "this account may look on only"));
    }
    Ok(visitor)
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|cookie| {
        let (key, value) = cookie.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

impl Ui {
    /// Cookies do not tell ports apart, and there may be several interfaces on a host.
    pub fn cookie_name(&self) -> String {
        let prefix = if self.secure { "__Host-" } else { "" };
        format!("{prefix}ipfix-balancer-{}", self.address.port())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        visitor.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "sign in first"))
    }
}
