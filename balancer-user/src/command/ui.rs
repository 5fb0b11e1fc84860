//! `ipfix-balancer ui`: the web interface, without a daemon.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::fail;
use crate::{config, log, ui};

/// Where it is served unless something else is said.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub fn ui(config: &Path, listen: Option<SocketAddr>, log_format: log::Format) -> ExitCode {
    log::start(log_format);
    match serve(config, listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn serve(config: &Path, listen: Option<SocketAddr>) -> anyhow::Result<()> {
    let settings = config::ui(config).with_context(|| config.display().to_string())?;
    let address = listen.or(settings.listen).unwrap_or(ADDRESS);
    let running = ui::start(config, &settings, address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        anyhow::Ok(())
    })?;
    drop(running);
    Ok(())
}
