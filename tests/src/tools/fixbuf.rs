//! `ipfixDump` of libfixbuf.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::program;
use crate::daemon::outcome;

/// What `ipfixDump --stats` says of a stream of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Messages; those without sets are not counted.
    pub messages: u64,
    /// Data and options records.
    pub records: u64,
    /// Template and options template records.
    pub templates: u64,
    /// Warnings: sequence numbers, sets without a template.
    pub complaints: Vec<String>,
}

/// Has `ipfixDump` read a stream of messages as an IPFIX file.
pub fn ipfix_dump(stream: &[u8]) -> Result<Dump> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), stream)?;
    let mut command = Command::new(program("ipfixDump", "libfixbuf-tools")?);
    command.args(["--yaf", "--stats", "--in"]).arg(file.path());
    let outcome = outcome(&mut command)?;
    ensure!(outcome.code == 0, "ipfixDump: {}{}", outcome.stdout, outcome.stderr);
    let complaints = outcome.stderr.lines().filter(|line| line.contains("WARNING"));
    let complaints = complaints.map(str::to_owned).collect();
    let counts = counts(&outcome.stdout).with_context(|| outcome.stdout.clone())?;
    Ok(Dump { complaints, ..counts })
}

/// One value of a record, as `ipfixDump` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedField {
    /// Element id, behind enterprise number and slash if it has one.
    pub id: String,
    /// The element's name; [`DumpedField::UNKNOWN`] where libfixbuf knows none.
    pub name: String,
    /// The value.
    pub value: String,
}

impl DumpedField {
    /// The name of elements that libfixbuf does not know.
    pub const UNKNOWN: &str = "_alienInformationElement";

    /// From `(1)    octetDeltaCount : 44`; scope fields have an `(S)` before their name.
    fn parse(line: &str) -> Option<Self> {
        let (left, value) = line.split_once(" :")?;
        let (id, name) = left.trim_start().strip_prefix('(')?.split_once(')')?;
        let name = name.trim_start().trim_start_matches("(S)").trim();
        Some(Self { id: id.to_owned(), name: name.to_owned(), value: value.trim().to_owned() })
    }
}

/// Has `ipfixDump` write all records of a stream of messages, octets in hexadecimal.
pub fn ipfix_dump_records(stream: &[u8]) -> Result<Vec<Vec<DumpedField>>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), stream)?;
    let mut command = Command::new(program("ipfixDump", "libfixbuf-tools")?);
    command.args(["--data", "--hexdump=65535", "--in"]).arg(file.path());
    let outcome = outcome(&mut command)?;
    ensure!(outcome.code == 0, "ipfixDump: {}{}", outcome.stdout, outcome.stderr);
    let mut records: Vec<Vec<DumpedField>> = Vec::new();
    for line in outcome.stdout.lines() {
        if line.starts_with("--- ") && line.contains("data record") {
            records.push(Vec::new());
        } else if let (Some(field), Some(record)) = (DumpedField::parse(line), records.last_mut()) {
            record.push(field);
        }
    }
    Ok(records)
}

/// From `*** File Stats: 67 Messages, 3979 Data Records, 8 Template Records ***`.
fn counts(output: &str) -> Option<Dump> {
    let line = output.lines().find_map(|line| line.split_once("File Stats:"))?.1;
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    Some(Dump {
        messages: numbers.next()?,
        records: numbers.next()?,
        templates: numbers.next()?,
        complaints: Vec::new(),
    })
}
