//! `tshark` and `editcap` of Wireshark.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::program;
use crate::daemon::outcome;
use crate::pcap;

/// IPFIX's registered port, which the capture is written with.
const PORT: u16 = 4739;

/// What `tshark` says of the messages of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dissection {
    /// Data and options records.
    pub records: usize,
    /// Templates and options templates.
    pub templates: usize,
    /// Sets without a template.
    pub without_template: usize,
    /// Packets that it calls malformed.
    pub malformed: usize,
}

/// Has `tshark` dissect messages, each as a datagram of one session.
pub fn tshark(messages: &[Vec<u8>]) -> Result<Dissection> {
    let folder = tempfile::Builder::new().prefix("ipfix-tshark-").tempdir()?;
    let file = folder.path().join("messages.pcap");
    std::fs::write(&file, pcap::from_udp_payloads(messages, PORT)?)?;
    let mut command = Command::new(program("tshark", "tshark")?);
    // No configuration of whoever runs the test; and no common place, which two that run at the
    // same time would both want to make.
    command.env("WIRESHARK_CONFIG_DIR", folder.path());
    // No name resolution.
    command.args(["-n", "-C", "Default", "-d", &format!("udp.port=={PORT},cflow"), "-V", "-r"]);
    let outcome = outcome(command.arg(&file))?;
    ensure!(outcome.code == 0, "tshark: {}", outcome.stderr);
    Ok(count(&outcome.stdout))
}

/// Has `editcap` write the capture `from` anew, as pcapng.
pub fn to_pcapng(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new(program("editcap", "wireshark-common")?);
    let outcome = outcome(command.args(["-F", "pcapng"]).args([from, to]))?;
    ensure!(outcome.code == 0, "editcap: {}", outcome.stderr);
    Ok(())
}

fn count(text: &str) -> Dissection {
    let mut found = Dissection::default();
    for line in text.lines().map(str::trim_start) {
        let numbered = line.strip_prefix("Flow ").is_some_and(starts_with_digit);
        let template =
            line.starts_with("Template (Id = ") || line.starts_with("Options Template (Id = ");
        found.records += usize::from(numbered);
        found.templates += usize::from(template);
        found.without_template +=
            usize::from(line.starts_with("Data (") && line.ends_with("no template found"));
        found.malformed += usize::from(line.starts_with("[Malformed Packet"));
    }
    found
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}
