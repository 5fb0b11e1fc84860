//! `chromedriver` of Chromium.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::process::Process;
use super::program;
use crate::net::{V4, free_address};

/// A running `chromedriver`. Dropped, it ends with its browsers.
#[derive(Debug)]
pub struct Chromedriver {
    _process: Process,
    address: SocketAddr,
}

impl Chromedriver {
    /// Starts it on a free port.
    pub fn start() -> Result<Self> {
        let address = free_address(V4)?;
        let mut process = Process::start(|folder| {
            let mut command = Command::new(program("chromedriver", "chromium-driver")?);
            command.arg(format!("--port={}", address.port()));
            // What a browser leaves behind goes with the folder.
            command.env("TMPDIR", folder).env("HOME", folder);
            Ok(command)
        })?;
        process.wait_for_output("was started successfully")?;
        Ok(Self { _process: process, address })
    }

    /// Where it takes commands.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
