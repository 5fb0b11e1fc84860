//! The HTTP API. The pages use it and nothing else; `docs/openapi.json` describes it.

mod audit;
mod configuration;
mod error;
mod guard;
mod log;
mod servers;
mod session;
mod state;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::get,
};
use tokio::time::timeout;
use utoipa::{OpenApi, openapi::OpenApi as Document};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Ui, assets};
use error::Problem;

/// The longest body of a request, in bytes: changes to every parameter of many receivers.
const MAX_BODY: usize = 256 << 10;
/// How long a request may take, its body included: longer than a balancer may take to answer.
const LONGEST: Duration = Duration::from_secs(75);

/// Pages load nothing from elsewhere, and are shown in no other page.
static SAFETY: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[derive(OpenApi)]
#[openapi(info(
    title = "ipfix-balancer",
    description = "What the pages of the web interface use. Sign in by `POST /api/session`: the cookie \
                   it sets is needed by every other request, and its `csrf` as header `X-CSRF-Token` by \
                   those that are not GET, which take an account of the role admin."
))]
struct Api;

/// Answers everything.
pub fn router(ui: Arc<Ui>) -> Router {
    let document = Arc::new(document());
    let openapi = get(move || async move { Json(document.as_ref().clone()) });
    let (guarded, open) = (guarded().split_for_parts().0, open().split_for_parts().0);
    guarded
        .route("/api/openapi.json", openapi)
        .route_layer(from_fn_with_state(ui.clone(), guard::guard))
        .merge(open)
        .route("/api", get(Problem::nothing_here))
        .route("/api/{*rest}", axum::routing::any(Problem::nothing_here))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .fallback(assets::file)
        .layer(from_fn(finish))
        .with_state(ui)
}

/// The description of the API.
fn document() -> Document {
    let mut document = guarded().split_for_parts().1;
    document.merge(open().split_for_parts().1);
    document
}

/// For who is signed in.
fn guarded() -> OpenApiRouter<Arc<Ui>> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(session::sign_out))
        .routes(routes!(servers::list, servers::add))
        .routes(routes!(servers::edit, servers::remove))
        .routes(routes!(servers::test))
        .routes(routes!(state::status))
        .routes(routes!(state::history))
        .routes(routes!(configuration::read))
        .routes(routes!(configuration::blank))
        .routes(routes!(configuration::preview))
        .routes(routes!(configuration::previous))
        .routes(routes!(configuration::apply))
        .routes(routes!(configuration::undo))
        .routes(routes!(log::lines))
        .routes(routes!(log::text))
        .routes(routes!(audit::trail))
}

/// For everyone: how to become somebody.
fn open() -> OpenApiRouter<Arc<Ui>> {
    OpenApiRouter::new().routes(routes!(session::sign_in, session::who))
}

/// Bounds every answer in time, and has browsers be careful with it.
async fn finish(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api");
    let mut response = match timeout(LONGEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::late(),
    };
    let headers = response.headers_mut();
    for (name, value) in &SAFETY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    #[test]
    fn docs_have_the_description() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let text = serde_json::to_string_pretty(&super::document()).unwrap() + "\n";
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let documented = fs::read_to_string(path).unwrap();
        assert!(documented == text, "run UPDATE_DOCS=1 cargo test -p ipfix-balancer docs");
    }
}
