//! The pages: static files, which hold nothing that is secret.

use axum::{
    http::{
        HeaderMap, StatusCode, Uri,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

/// Name, type, content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("index.html", HTML, include_bytes!("pages/index.html")),
    ("style.css", CSS, include_bytes!("pages/style.css")),
    ("icon.svg", SVG, include_bytes!("pages/icon.svg")),
    ("main.js", JS, include_bytes!("pages/main.js")),
    ("api.js", JS, include_bytes!("pages/api.js")),
    ("audit.js", JS, include_bytes!("pages/audit.js")),
    ("charts.js", JS, include_bytes!("pages/charts.js")),
    ("configuration.js", JS, include_bytes!("pages/configuration.js")),
    ("dom.js", JS, include_bytes!("pages/dom.js")),
    ("equipment.js", JS, include_bytes!("pages/equipment.js")),
    ("form.js", JS, include_bytes!("pages/form.js")),
    ("logs.js", JS, include_bytes!("pages/logs.js")),
    ("overview.js", JS, include_bytes!("pages/overview.js")),
    ("signin.js", JS, include_bytes!("pages/signin.js")),
    ("texts/en.json", JSON, include_bytes!("pages/texts/en.json")),
    ("uplot/uPlot.js", JS, include_bytes!("pages/uplot/uPlot.esm.js")),
    ("uplot/uPlot.css", CSS, include_bytes!("pages/uplot/uPlot.min.css")),
    ("uplot/LICENSE", TEXT, include_bytes!("pages/uplot/LICENSE")),
];

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers with the file of this path. Browsers ask whether it is still the one they have.
pub async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    let Some((_, kind, content)) = FILES.iter().find(|(name, ..)| *name == path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let known = headers.get(IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    let header = [(ETAG, tag.as_str()), (CACHE_CONTROL, "no-cache"), (CONTENT_TYPE, kind)];
    if known {
        return (StatusCode::NOT_MODIFIED, header).into_response();
    }
    (header, *content).into_response()
}
