//! The balancer under measurement: its configuration.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::{Mode, Protocol, value};
use crate::daemon;
use crate::process::{Placement, Process};

/// One of its receivers.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub input: Protocol,
    pub output: Protocol,
    pub mode: Mode,
    pub listen: SocketAddr,
    pub destinations: Vec<SocketAddr>,
    /// Whether the kernel path may be used.
    pub kernel: bool,
}

/// Starts the balancer.
pub fn start(
    program: &Path,
    placement: &Placement,
    directory: &Path,
    receivers: &[Receiver],
) -> Result<Process> {
    let mut configuration = String::new();
    for (index, receiver) in receivers.iter().enumerate() {
        configuration += &receiver.configuration(index, &placement.cpus)?;
    }
    daemon::start(program, placement, directory, &configuration)
}

impl Receiver {
    fn configuration(&self, index: usize, cpus: &[usize]) -> Result<String> {
        let list: Vec<String> =
            self.destinations.iter().map(|to| format!("{}/{}", to.ip(), to.port())).collect();
        let mut text = String::new();
        for (key, value) in [
            ("PORT_TYPE", value(self.input).as_str()),
            ("PORT", &self.listen.port().to_string()),
            ("BIND", &self.listen.ip().to_string()),
            ("BALANCER", &value(self.mode)),
            ("BALANCER_SUB", &list.join(",")),
            ("BALANCER_SUB_PROTO", &value(self.output)),
            ("ACCEL", if self.kernel { "auto" } else { "off" }),
        ] {
            writeln!(text, "IPFIX_FULLFLOW_{key}[{index}]={value}")?;
        }
        // A handler leaves the CPUs it was started on, unless it is told otherwise. With the kernel
        // path the key says where the programs run, too.
        if !self.kernel {
            let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
            writeln!(text, "IPFIX_FULLFLOW_TASKSET[{index}]={}", cpus.join(","))?;
        }
        Ok(text)
    }
}
