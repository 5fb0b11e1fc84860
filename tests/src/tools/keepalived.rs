//! keepalived, which moves an address between hosts (VRRP).

use std::process::Command;

use anyhow::Result;

use super::process::Process;
use super::program;

/// A running keepalived.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
}

impl Keepalived {
    /// Starts one with this configuration. In a lab: in the host's namespace.
    pub fn start(configuration: &str) -> Result<Self> {
        let process = Process::start(|folder| {
            let file = folder.join("keepalived.conf");
            std::fs::write(&file, configuration)?;
            let mut command = Command::new(program("keepalived", "keepalived")?);
            command.args(["--dont-fork", "--log-console", "--vrrp"]);
            command.arg("--use-file").arg(&file);
            command.arg("--pid").arg(folder.join("pid"));
            command.arg("--vrrp_pid").arg(folder.join("vrrp.pid"));
            Ok(command)
        })?;
        Ok(Self { process })
    }

    /// Waits until it has the address.
    pub fn wait_until_master(&mut self) -> Result<()> {
        self.process.wait_for_output("Entering MASTER STATE")
    }
}
