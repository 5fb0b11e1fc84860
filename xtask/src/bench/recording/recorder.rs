//! The programs that record: where they are started, and what they have recorded.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::tools::Counts;
use serde::Serialize;

use crate::bench::message::{Batch, OVERHEAD, Sizes, TEMPLATE_ID};
use crate::bench::side::free_address;
use crate::bench::{Plan, Protocol, cpu, peer, value};
use crate::daemon;
use crate::process::{Output, Placement, Process, wait_until};

/// How long a program may take to meet its exporter.
const MEET: Duration = Duration::from_secs(20);
/// How long it may take to finish its files: the balancer waits until the disk has them.
const FINISH: Duration = Duration::from_secs(120);

/// A program that records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Balancer,
    /// `cat`, with the connection as its input and a file as its output.
    Cat,
    Nfcapd,
}

/// One of them, running.
pub struct Recorder {
    side: Side,
    process: Process,
    address: SocketAddr,
    /// Where its files are.
    files: PathBuf,
    /// What it prints.
    log: PathBuf,
}

impl Recorder {
    /// Starts a program that records below `directory`, and by `export` the exporter that sends to
    /// it.
    pub fn start(
        side: Side,
        plan: &Plan,
        protocol: Protocol,
        directory: &Path,
        export: impl FnOnce(SocketAddr) -> Result<Process>,
    ) -> Result<(Self, Process)> {
        let (files, log) = (directory.join("files"), directory.join("log"));
        fs::create_dir(&files)?;
        let started = |process, address| Self {
            side,
            process,
            address,
            files: files.clone(),
            log: log.clone(),
        };
        if side == Side::Cat {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            let exporter = export(address)?;
            return Ok((started(cat(plan, &listener, &files)?, address), exporter));
        }
        let address = free_address(protocol)?;
        let process = match side {
            Side::Nfcapd => nfcapd(plan, address, &files, &log)?,
            _ => balancer(plan, protocol, address, directory, &files)?,
        };
        Ok((started(process, address), export(address)?))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Messages recorded so far, of this many that were sent.
    pub fn recorded(&mut self, sent: u64) -> Result<u64> {
        if self.side == Side::Nfcapd {
            // Its file doesn't say; what it was too slow for, the kernel has dropped one by one.
            self.process.check_running()?;
            return Ok(sent.saturating_sub(cpu::udp_drops(self.address)?));
        }
        let mut bytes = 0;
        for file in paths(&self.files)? {
            // It may just have got another name; the next look finds it.
            bytes += fs::metadata(file).map_or(0, |metadata| metadata.len());
        }
        Ok(bytes / message_len())
    }

    /// Ends the program; all the messages that it has recorded.
    pub fn finish(mut self) -> Result<u64> {
        self.process.stop(FINISH)?;
        if self.side == Side::Nfcapd {
            let records: u32 = Batch::new(1, Sizes::FULL).records().iter().sum();
            let counts = Counts::of_nfcapd(&fs::read_to_string(&self.log)?)?;
            return Ok(counts.flows / u64::from(records));
        }
        paths(&self.files)?.iter().map(|file| data_messages(file)).sum()
    }
}

fn balancer(
    plan: &Plan,
    protocol: Protocol,
    address: SocketAddr,
    directory: &Path,
    files: &Path,
) -> Result<Process> {
    let program = plan.balancer.as_ref().context("the balancer was left out")?;
    let cpus: Vec<String> = plan.measured.cpus.iter().map(usize::to_string).collect();
    let mut configuration = String::new();
    for (key, value) in [
        ("PORT_TYPE", value(protocol).as_str()),
        ("PORT", &address.port().to_string()),
        ("BIND", &address.ip().to_string()),
        ("BALANCER", "Disabled"),
        ("DUMP_DIR", &files.display().to_string()),
        // One file for the whole run.
        ("ROTATE_MINUTES", "0"),
        // The thread that receives stays there, as the others' do; those that write go anywhere.
        ("TASKSET", &cpus.join(",")),
    ] {
        writeln!(configuration, "IPFIX_FULLFLOW_{key}[0]={value}")?;
    }
    daemon::start(program, &Placement::default(), directory, &configuration)
}

/// Takes the first connection.
fn cat(plan: &Plan, listener: &TcpListener, files: &Path) -> Result<Process> {
    listener.set_nonblocking(true)?;
    let (stream, _) = wait_until("the exporter connects", MEET, || match listener.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        accepted => Ok(Some(accepted?)),
    })?;
    stream.set_nonblocking(false)?;
    let output = Output::File(File::create(files.join("cat"))?);
    let input = Stdio::from(OwnedFd::from(stream));
    Process::reading("cat", &plan.measured, Path::new("cat"), [], input, output)
}

fn nfcapd(plan: &Plan, address: SocketAddr, files: &Path, log: &Path) -> Result<Process> {
    let words = peer::nfcapd::collector(address, files);
    let (program, arguments) = words.split_first().context("no program")?;
    let output = Output::File(File::create(log)?);
    let arguments = arguments.to_vec();
    let program = Path::new(program);
    let mut process = Process::start("nfcapd", &plan.measured, program, arguments, output)?;
    wait_until("nfcapd listens", MEET, || {
        process.check_running()?;
        Ok(cpu::listens(process.id(), Protocol::Udp, address)?.then_some(()))
    })?;
    Ok(process)
}

fn paths(directory: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

/// The exporter's data messages in a file; that of the balancer has some of its own.
fn data_messages(path: &Path) -> Result<u64> {
    let mut input = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut count = 0;
    let mut head = [0; OVERHEAD];
    while !input.fill_buf()?.is_empty() {
        input.read_exact(&mut head)?;
        let field = |at| head.get(at..).and_then(<[u8]>::first_chunk).copied();
        let [version, length, set] = [0, 2, 16].map(|at| field(at).map_or(0, u16::from_be_bytes));
        ensure!(version == 10, "{}: no IPFIX", path.display());
        count += u64::from(set == TEMPLATE_ID);
        input.seek_relative(i64::from(length) - i64::try_from(OVERHEAD)?)?;
    }
    Ok(count)
}

/// Bytes of each of the exporter's data messages.
fn message_len() -> u64 {
    u64::try_from(Batch::new(1, Sizes::FULL).first_len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::message::template;

    #[test]
    fn data_messages_are_counted_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let data = Batch::new(3, Sizes::Varied).prepare(3, &mut 0, 0).to_vec();
        fs::write(&path, [template(Sizes::Varied), data].concat()).unwrap();
        assert_eq!(data_messages(&path).unwrap(), 3);
        fs::write(&path, "cat: read error: Connection reset by peer").unwrap();
        assert!(data_messages(&path).is_err());
    }
}
