//! Where Prometheus asks for the metrics: `IPFIX_METRICS_LISTEN`.

use std::{future::pending, net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tracing::info;

use super::control::{Asker, Reply, Request};
use crate::{http, metrics};

/// How long the daemon may take to tell its state: a reload keeps it busy.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The server for metrics; there is none while no address is configured.
pub struct MetricsServer {
    asker: Asker,
    running: Option<(SocketAddr, JoinHandle<()>)>,
}

/// A port that has been opened for metrics, or what needs no new one.
pub enum Opened {
    Same,
    Off,
    At(SocketAddr, TcpListener),
}

impl MetricsServer {
    /// None is running yet.
    pub fn new(asker: Asker) -> MetricsServer {
        MetricsServer { asker, running: None }
    }

    /// Opens the configured port; nothing changes before [`MetricsServer::apply`].
    pub async fn open(&self, wanted: Option<SocketAddr>) -> anyhow::Result<Opened> {
        let current = self.running.as_ref().map(|(address, _)| *address);
        match wanted {
            same if same == current => Ok(Opened::Same),
            None => Ok(Opened::Off),
            Some(address) => {
                let listener = http::listen(address).await.with_context(|| {
                    format!(
                        "IPFIX_METRICS_LISTEN={address}: can't listen there; is the port taken?"
                    )
                })?;
                Ok(Opened::At(address, listener))
            }
        }
    }

    /// Serves the opened port from now on, in place of the one before.
    pub fn apply(&mut self, opened: Opened) {
        match opened {
            Opened::Same => {}
            Opened::Off => self.stop(),
            Opened::At(address, listener) => {
                self.stop();
                let router =
                    Router::new().route("/metrics", get(scrape)).with_state(self.asker.clone());
                let server = tokio::spawn(async {
                    http::serve(listener, None, router, pending()).await;
                });
                info!(%address, "metrics for Prometheus are served at /metrics");
                self.running = Some((address, server));
            }
        }
    }

    fn stop(&mut self) {
        if let Some((_, server)) = self.running.take() {
            server.abort();
        }
    }
}

async fn scrape(State(asker): State<Asker>) -> Response {
    match timeout(REPLY_TIMEOUT, asker.ask(Request::Status)).await {
        Ok(Some(Reply::Status(status))) => {
            ([(CONTENT_TYPE, metrics::TEXT_FORMAT)], metrics::text(&status)).into_response()
        }
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
