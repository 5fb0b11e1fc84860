//! Collectors and decoders of other projects, from Debian's packages, as child processes.
//!
//! | tool | package | what it tells |
//! | --- | --- | --- |
//! | [`Nfcapd`] (UDP) | nfdump | flows, packets, octets, sequence errors; sets without a template it drops in silence |
//! | [`Nfacctd`] (UDP) | pmacct | flows, packets, octets; complaints in its log |
//! | [`PythonCollector`] (TCP) | python3-ipfix | records, sets without a template; refuses messages without sets |
//! | [`ipfix_dump`], [`ipfix_dump_records`] (a TCP stream as file) | libfixbuf-tools | records with names and values, templates, complaints |
//! | [`bpf_map`] | bpftool | what is in a pinned map |
//! | [`promtool`] | prometheus | whether metrics and alert rules are as Prometheus wants them |
//! | [`tshark`] (any messages) | tshark | records, sets without a template |
//! | [`to_pcapng`] (a capture) | wireshark-common | nothing: it converts |
//!
//! [`Keepalived`] (keepalived), [`Chromedriver`] (chromium-driver) and [`Sshd`] (openssh-server) are none of these:
//! they move addresses between hosts, look at pages, and stand for other hosts.
//!
//! A tool that is not there is an error that says how to get it, never a reason to skip a test.

mod bpftool;
mod chromedriver;
mod fixbuf;
mod keepalived;
mod nfdump;
mod pmacct;
mod process;
mod prometheus;
mod python;
mod sshd;
mod wireshark;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use bpftool::bpf_map;
pub use chromedriver::Chromedriver;
pub use fixbuf::{Dump, DumpedField, ipfix_dump, ipfix_dump_records};
pub use keepalived::Keepalived;
pub use nfdump::Nfcapd;
pub use pmacct::Nfacctd;
pub use prometheus::promtool;
pub use python::{PythonCollector, PythonSession};
pub use sshd::Sshd;
pub use wireshark::{Dissection, to_pcapng, tshark};

/// What a flow collector has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flow records.
    pub flows: u64,
    /// Sum of their packets.
    pub packets: u64,
    /// Sum of their octets.
    pub octets: u64,
    /// What it complained of.
    pub complaints: Vec<String>,
}

/// Where Debian puts programs, in this order; `PATH` may put others before them.
const FOLDERS: [&str; 2] = ["/usr/bin", "/usr/sbin"];

fn program(name: &str, package: &str) -> Result<PathBuf> {
    let candidates = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    candidates.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("{name} is not installed: run `cargo xtask setup`, or install {package}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_says_how_to_get_it() {
        let error = program("no-such-tool", "no-package").unwrap_err().to_string();
        assert!(error.contains("cargo xtask setup") && error.contains("no-package"), "{error}");
    }
}
