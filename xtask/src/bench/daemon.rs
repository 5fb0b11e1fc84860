//! The balancer under measurement: its configuration.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result};

use super::case::Route;
use super::{Mode, Protocol};
use crate::daemon;
use crate::process::{Placement, Process};

/// Starts the balancer with one receiver; where it listens.
pub fn start(
    program: &Path,
    placement: &Placement,
    directory: &Path,
    route: &Route,
    destinations: &[SocketAddr],
) -> Result<(Process, SocketAddr)> {
    let port = free_port(route.protocol)?;
    let configuration = configuration(route, port, destinations)?;
    let process = daemon::start(program, placement, directory, &configuration)?;
    Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

fn configuration(route: &Route, port: u16, destinations: &[SocketAddr]) -> Result<String> {
    let protocol = match route.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let mode = match route.mode {
        Mode::All => "All",
        Mode::RoundRobin => "RoundRobin",
    };
    let list: Vec<String> =
        destinations.iter().map(|to| format!("{}/{}", to.ip(), to.port())).collect();
    let mut text = String::new();
    for (key, value) in [
        ("PORT_TYPE", protocol),
        ("PORT", &port.to_string()),
        ("BIND", "127.0.0.1"),
        ("BALANCER", mode),
        ("BALANCER_SUB", &list.join(",")),
        ("BALANCER_SUB_PROTO", protocol),
        // What is compared with a relay is the userspace path.
        ("ACCEL", "off"),
        ("ACCEL", "off"),
    ] {
        writeln!(text, "IPFIX_FULLFLOW_{key}[0]={value}")?;
    }
    Ok(text)
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
