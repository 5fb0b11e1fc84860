//! The corpus: IPFIX of many vendors, and some that is broken on purpose (`tests/corpus`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{pcap, wire};

/// What the balancer must do with a file's messages (SPEC section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Every message reaches the destinations.
    PassedOn,
    /// The message is dropped and counted, TCP connection and UDP session are kept.
    Dropped,
    /// TCP: no (further) message begins here, the connection is closed. UDP: dropped and counted.
    FramingLost,
    /// TCP: the header promises more than there is, so the message never becomes whole. UDP:
    /// dropped and counted.
    Unfinished,
}

/// One file of the corpus.
#[derive(Clone, Debug)]
pub struct File {
    /// Path inside the corpus folder.
    pub path: String,
    /// What the balancer must do with it.
    pub expect: Expect,
    /// The messages, in order. What is not IPFIX is one "message" as a UDP exporter would send it.
    pub messages: Vec<Vec<u8>>,
    /// Template records, as the manifest counts them.
    pub templates: usize,
    /// Options template records, likewise.
    pub options_templates: usize,
    /// Data and options data records whose template is in the file, likewise.
    pub data_records: usize,
    /// Data sets without a template in the file, likewise.
    pub sets_without_template: usize,
    /// Observation domains, likewise.
    pub domains: usize,
}

impl File {
    /// All bytes, one message after another, as a TCP exporter sends them.
    pub fn stream(&self) -> Vec<u8> {
        self.messages.concat()
    }

    /// True if the balancer passes every message on.
    pub fn is_valid(&self) -> bool {
        self.expect == Expect::PassedOn
    }
}

/// Where the corpus lies.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Reads the whole corpus in the manifest's order.
pub fn load() -> Result<Vec<File>> {
    let manifest = std::fs::read_to_string(folder().join("MANIFEST.tsv"))
        .with_context(|| format!("corpus in {}", folder().display()))?;
    let mut rows = manifest.lines();
    let names: Vec<&str> = rows.next().context("empty manifest")?.split('\t').collect();
    rows.map(|row| file(&Row { names: &names, cells: row.split('\t').collect() })).collect()
}

/// The files whose every message is passed on.
pub fn valid() -> Result<Vec<File>> {
    Ok(load()?.into_iter().filter(File::is_valid).collect())
}

/// One file by its path inside the corpus folder.
pub fn file_named(path: &str) -> Result<File> {
    let found = load()?.into_iter().find(|file| file.path == path);
    found.with_context(|| format!("no {path} in the corpus"))
}

struct Row<'a> {
    names: &'a [&'a str],
    cells: Vec<&'a str>,
}

impl Row<'_> {
    fn cell(&self, name: &str) -> Result<&str> {
        let column = self.names.iter().position(|known| *known == name);
        let cell = column.and_then(|column| self.cells.get(column)).copied();
        cell.with_context(|| format!("no {name} in a manifest row"))
    }

    fn number(&self, name: &str) -> Result<usize> {
        self.cell(name)?.parse().with_context(|| format!("{name} is no number"))
    }
}

fn file(row: &Row) -> Result<File> {
    let path = row.cell("path")?;
    let bytes = std::fs::read(folder().join(path)).with_context(|| path.to_owned())?;
    let messages = messages(row.cell("container")?, &bytes).with_context(|| path.to_owned())?;
    if messages.len() != row.number("messages")? {
        bail!("{path}: {} messages, the manifest says {}", messages.len(), row.cell("messages")?);
    }
    Ok(File {
        path: path.to_owned(),
        expect: expect(&messages),
        messages,
        templates: row.number("templates")?,
        options_templates: row.number("options_templates")?,
        data_records: row.number("data_records")?,
        sets_without_template: row.number("data_sets_without_template")?,
        domains: row.number("domains")?,
    })
}

fn messages(container: &str, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    match container {
        "raw" => Ok(vec![bytes.to_vec()]),
        "pcap:udp" => pcap::udp_payloads(bytes),
        "ipfix-file" => {
            let (whole, used) = wire::cut(bytes);
            let mut messages: Vec<_> = whole.into_iter().map(<[u8]>::to_vec).collect();
            let rest = bytes.get(used..).unwrap_or_default();
            match messages.last_mut() {
                // Trailing bytes belong to the datagram that the capture was.
                Some(last) => last.extend(rest),
                None => messages.push(rest.to_vec()),
            }
            Ok(messages)
        }
        other => bail!("unknown container {other}"),
    }
}

fn expect(messages: &[Vec<u8>]) -> Expect {
    let faults = messages.iter().map(|message| judge(message));
    faults.max_by_key(|expect| *expect as u8).unwrap_or(Expect::PassedOn)
}

fn judge(message: &[u8]) -> Expect {
    if !wire::is_framed(message) {
        return Expect::FramingLost;
    }
    match wire::length(message).map(|length| length.cmp(&message.len())) {
        Some(std::cmp::Ordering::Greater) => Expect::Unfinished,
        Some(std::cmp::Ordering::Less) => Expect::FramingLost,
        _ if wire::sets(message).is_err() => Expect::Dropped,
        _ => Expect::PassedOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_loads_and_has_its_verdict() {
        let files = load().unwrap();
        assert_eq!(files.len(), 30);
        let broken: Vec<_> = files
            .iter()
            .filter(|file| !file.is_valid())
            .map(|file| (file.path.as_str(), file.expect))
            .collect();
        assert_eq!(
            broken,
            [
                ("ipfixcol/bad-length-in-set.ipfix", Expect::Unfinished),
                ("ipfixcol/header-and-zeros.ipfix", Expect::Dropped),
                ("telegraf/issue_14370__message.bin", Expect::FramingLost),
                ("logstash-codec-netflow/netflow9_cisco_asr1001x_tpl259.dat", Expect::FramingLost),
                ("logstash-codec-netflow/netflow5_test_juniper_mx80.dat", Expect::FramingLost),
            ]
        );
    }

    #[test]
    fn the_capture_gives_one_message_a_packet() {
        let file = file_named("netgauze/srv6__srv6.pcap").unwrap();
        assert_eq!(file.messages.len(), 170);
        assert_eq!(file.stream().len(), 28_936);
    }
}
