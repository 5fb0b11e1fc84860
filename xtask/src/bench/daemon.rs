//! The balancer under measurement: its configuration.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result};

use super::case::Route;
use super::{Mode, Protocol};
use crate::daemon;
use crate::process::{Placement, Process};

/// Its one receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub protocol: Protocol,
    pub mode: Mode,
    pub listen: SocketAddr,
    pub destinations: Vec<SocketAddr>,
    /// Whether the kernel path may be used.
    pub kernel: bool,
}

/// Starts the balancer on loopback; where it listens.
pub fn start(
    program: &Path,
    placement: &Placement,
    directory: &Path,
    route: &Route,
    destinations: &[SocketAddr],
) -> Result<(Process, SocketAddr)> {
    let Route { protocol, mode, kernel, .. } = *route;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(protocol)?));
    let destinations = destinations.to_vec();
    let receiver = Receiver { protocol, mode, listen, destinations, kernel };
    Ok((receiver.start(program, placement, directory)?, listen))
}

impl Receiver {
    /// Starts the balancer.
    pub fn start(
        &self,
        program: &Path,
        placement: &Placement,
        directory: &Path,
    ) -> Result<Process> {
        daemon::start(program, placement, directory, &self.configuration()?)
    }

    fn configuration(&self) -> Result<String> {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let mode = match self.mode {
            Mode::All => "All",
            Mode::RoundRobin => "RoundRobin",
        };
        let list: Vec<String> =
            self.destinations.iter().map(|to| format!("{}/{}", to.ip(), to.port())).collect();
        let mut text = String::new();
        for (key, value) in [
            ("PORT_TYPE", protocol),
            ("PORT", &self.listen.port().to_string()),
            ("BIND", &self.listen.ip().to_string()),
            ("BALANCER", mode),
            ("BALANCER_SUB", &list.join(",")),
            ("BALANCER_SUB_PROTO", protocol),
            ("ACCEL", if self.kernel { "auto" } else { "off" }),
        ] {
            writeln!(text, "IPFIX_FULLFLOW_{key}[0]={value}")?;
        }
        Ok(text)
    }
}

/// A port that nobody listens on at the moment.
fn free_port(protocol: Protocol) -> Result<u16> {
    let any = (Ipv4Addr::LOCALHOST, 0);
    let address = match protocol {
        Protocol::Tcp => TcpListener::bind(any)?.local_addr(),
        Protocol::Udp => UdpSocket::bind(any)?.local_addr(),
    };
    Ok(address.context("no free port")?.port())
}
