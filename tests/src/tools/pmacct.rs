//! `nfacctd` of pmacct.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::process::Process;
use super::{Counts, program};
use crate::net::{V4, free_address};
use crate::poll;

/// A running `nfacctd` that prints flows as JSON.
#[derive(Debug)]
pub struct Nfacctd {
    process: Process,
    address: SocketAddr,
}

impl Nfacctd {
    /// Starts it on a free port.
    pub fn start() -> Result<Self> {
        let address = free_address(V4)?;
        let mut process = Process::start(|folder| {
            let config = folder.join("nfacctd.conf");
            std::fs::write(&config, configuration(address, &flows_in(folder)))?;
            let mut command = Command::new(program("nfacctd", "pmacct")?);
            command.arg("-f").arg(config);
            Ok(command)
        })?;
        // Two processes, each with its own beginning.
        process.wait_for_output("waiting for NetFlow/IPFIX data")?;
        process.wait_for_output("setting object handlers")?;
        Ok(Self { process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has printed so far. It prints once a second.
    pub fn counts(&self) -> Result<Counts> {
        let printed = std::fs::read_to_string(flows_in(self.process.folder())).unwrap_or_default();
        let mut counts = Counts::default();
        // The last line may still be in the making.
        for line in printed.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let flow: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let number = |name: &str| flow.get(name).and_then(Value::as_u64).unwrap_or(0);
            counts.flows += 1;
            counts.packets += number("packets");
            counts.octets += number("bytes");
        }
        counts.complaints = complaints(&self.process.output());
        Ok(counts)
    }

    /// Ends it once it has printed `flows`, and gives its counts.
    pub fn finish(mut self, flows: u64) -> Result<Counts> {
        self.process.wait_until_read(self.address)?;
        let printed = || self.counts().is_ok_and(|counts| counts.flows >= flows);
        // Too few: the counts show it.
        drop(poll::wait("nfacctd printed the flows", printed));
        self.process.end(Signal::SIGINT)?;
        self.counts()
    }
}

fn flows_in(folder: &Path) -> PathBuf {
    folder.join("flows.json")
}

/// Flows with different start times or ports stay apart; nothing is aggregated in these tests.
fn configuration(address: SocketAddr, flows: &Path) -> String {
    format!(
        "daemonize: false\n\
         nfacctd_ip: {}\n\
         nfacctd_port: {}\n\
         nfacctd_pipe_size: 8000000\n\
         nfacctd_disable_checks: false\n\
         plugins: print[flows]\n\
         plugin_pipe_size[flows]: 40960000\n\
         aggregate[flows]: src_host, dst_host, src_port, dst_port, proto, timestamp_start, timestamp_end\n\
         print_output[flows]: json\n\
         print_output_file[flows]: {}\n\
         print_output_file_append[flows]: true\n\
         print_refresh_time[flows]: 1\n",
        address.ip(),
        address.port(),
        flows.display()
    )
}

/// Lines about what arrived: unreadable sets, sequence numbers, sets without a template.
fn complaints(output: &str) -> Vec<String> {
    let words = ["unable to read", "expecting", "discarded", "unknown template", "missing data"];
    let complains = |line: &&str| words.iter().any(|word| line.contains(word));
    output.lines().filter(complains).map(str::to_owned).collect()
}
