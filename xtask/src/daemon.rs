//! The balancer as a process: start, readiness, log.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Output, Placement, Process, wait_until};

/// How long the balancer may take until it is ready.
const READY: Duration = Duration::from_secs(10);

/// Starts the balancer with this configuration; it is ready when this returns. Configuration and
/// log stay in the directory.
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
    let mut process = Process::start("ipfix-balancer", placement, program, arguments, output)?;
    wait_until("the balancer is ready", READY, || {
        process.check_running()?;
        Ok(is_ready(program, &config).then_some(()))
    })
    .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    Ok(process)
}

fn is_ready(program: &Path, config: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(["status", "--json", "--config"]).arg(config);
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
