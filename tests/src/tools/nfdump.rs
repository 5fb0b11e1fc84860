//! `nfcapd` of nfdump.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::process::Process;
use super::{Counts, program};
use crate::net::{V4, free_address};

/// A running `nfcapd`. It tells exporters apart by address and observation domain, not by port:
/// one session each, or its sequence errors mean nothing.
#[derive(Debug)]
pub struct Nfcapd {
    process: Process,
    address: SocketAddr,
}

impl Nfcapd {
    /// Starts it on a free port of loopback.
    pub fn start() -> Result<Self> {
        Self::start_on(V4)
    }

    /// Starts it on a free port of an IPv4 address.
    pub fn start_on(ip: IpAddr) -> Result<Self> {
        let address = free_address(ip)?;
        let process = Process::start(|folder| {
            let mut command = Command::new(program("nfcapd", "nfdump")?);
            command.args(["-b", &address.ip().to_string(), "-p", &address.port().to_string()]);
            // One file for the whole run.
            command.args(["-t", "3600", "-S", "0", "-B", "8000000", "-w"]).arg(folder);
            Ok(command)
        })?;
        process.wait_until_bound(address)?;
        Ok(Self { process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it once it has read what has arrived, and gives its counts. Sequence errors and bad
    /// packets are among the complaints.
    pub fn finish(mut self) -> Result<Counts> {
        self.process.wait_until_read(self.address)?;
        self.process.end(Signal::SIGTERM)?;
        let output = self.process.output();
        Counts::of_nfcapd(&output)
    }
}

impl Counts {
    /// Of what `nfcapd` has printed by its end.
    pub fn of_nfcapd(output: &str) -> Result<Self> {
        counts(output).with_context(|| format!("nfcapd's output:\n{output}"))
    }
}

/// From `Ident: 'none' Flows: 1, Packets: 2, Bytes: 3, Sequence Errors: 0, Bad Packets: 0`.
fn counts(output: &str) -> Option<Counts> {
    let line = output.lines().rev().find(|line| line.contains("Sequence Errors:"))?;
    let number = |name: &str| -> Option<u64> {
        let (_, rest) = line.split_once(name)?;
        rest.split(',').next()?.trim().parse().ok()
    };
    let complaint = |name: &str| number(name).map(|count| (count > 0).then(|| line.to_owned()));
    let complaints = [complaint("Sequence Errors:")?, complaint("Bad Packets:")?];
    Some(Counts {
        flows: number("Flows:")?,
        packets: number("Packets:")?,
        octets: number("Bytes:")?,
        complaints: complaints.into_iter().flatten().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_understood() {
        let line =
            "Ident: 'none' Flows: 7, Packets: 8, Bytes: 9, Sequence Errors: 1, Bad Packets: 0";
        let counts = counts(&format!("Startup nfcapd.\n{line}\nTerminating nfcapd.\n")).unwrap();
        assert_eq!((counts.flows, counts.packets, counts.octets), (7, 8, 9));
        assert_eq!(counts.complaints, [line]);
    }
}
