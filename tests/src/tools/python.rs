//! python3-ipfix as TCP collector.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::process::Process;
use super::program;
use crate::net::{V4, free_address};
use crate::poll;

const SERVER: &str = include_str!("collector.py");

/// A running TCP collector that decodes with python3-ipfix.
#[derive(Debug)]
pub struct PythonCollector {
    process: Process,
    address: SocketAddr,
}

/// What one connection brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PythonSession {
    /// Records with an `octetDeltaCount`.
    pub flows: u64,
    /// Records with an `interfaceName`.
    pub options: u64,
    /// Sum of `octetDeltaCount`.
    pub octets: u64,
    /// Sets without a template, sequence numbers that jump, what could not be decoded.
    pub complaints: Vec<String>,
}

impl PythonCollector {
    /// Starts it on a free port.
    pub fn start() -> Result<Self> {
        let address = free_address(V4)?;
        // The package is the system's: another python3 in PATH does not have it.
        let python = program("python3", "python3-ipfix")?;
        let mut process = Process::start(|_| {
            let mut command = Command::new(python);
            command.args(["-u", "-c", SERVER, &address.port().to_string()]);
            Ok(command)
        })?;
        process
            .wait_for_output("listening")
            .context("is python3-ipfix installed? run `cargo xtask setup`")?;
        Ok(Self { process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until `count` connections have ended, and tells what each brought.
    pub fn ended_sessions(&self, count: usize) -> Result<Vec<PythonSession>> {
        let report = |line: &str| serde_json::from_str::<Value>(line).ok().map(|it| session(&it));
        poll::until(poll::PATIENCE, &format!("{count} sessions ended"), || {
            let reports: Vec<_> = self.process.output().lines().filter_map(report).collect();
            (reports.len() >= count).then_some(reports)
        })
        .map_err(|error| error.context(self.process.output()))
    }
}

fn session(report: &Value) -> PythonSession {
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or(0);
    let complaints = report.get("complaints").and_then(Value::as_array);
    PythonSession {
        flows: number("flows"),
        options: number("options"),
        octets: number("octets"),
        complaints: complaints.into_iter().flatten().map(Value::to_string).collect(),
    }
}
