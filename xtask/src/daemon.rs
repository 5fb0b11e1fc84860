//! The balancer as a process: start, readiness, log.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Output, Placement, Process, silent, wait_until};

/// How long the balancer may take until it is ready.
const READY: Duration = Duration::from_secs(10);

/// Starts the balancer with this configuration; it is ready when this returns. Configuration and
/// log stay in the directory; nothing stays in the kernel.
pub fn start(
    program: &Path,
    placement: &Placement,
    directory: &Path,
    configuration: &str,
) -> Result<Process> {
    let config = directory.join("balancer.env");
    fs::write(&config, configuration)?;
    let arguments: [OsString; 3] = ["run".into(), "--config".into(), config.clone().into()];
    let log = directory.join("balancer.log");
    let output = Output::File(fs::File::create(&log)?);
    let mut process = Process::start("ipfix-balancer", placement, program, arguments, output)?
        .afterwards(client(program, &config, &["stop", "--purge"]));
    wait_until("the balancer is ready", READY, || {
        process.check_running()?;
        Ok(is_ready(program, &config).then_some(()))
    })
    .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    Ok(process)
}

/// What `status --json` says of the receivers of a balancer with its configuration there.
pub fn status(program: &Path, directory: &Path) -> Result<Vec<serde_json::Value>> {
    let config = directory.join("balancer.env");
    let output = client(program, &config, &["status", "--json"]).output()?;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let receivers = status.get("receivers").and_then(serde_json::Value::as_array);
    Ok(receivers.context("a status without receivers")?.clone())
}

fn is_ready(program: &Path, config: &Path) -> bool {
    let status = silent(&mut client(program, config, &["status", "--json"]));
    status.is_ok_and(|status| status.success())
}

fn client(program: &Path, config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg("--config").arg(config);
    command
}
