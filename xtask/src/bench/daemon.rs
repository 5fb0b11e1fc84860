//! The balancer as a process: its configuration, start and end.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::case::Route;
use super::{Mode, Protocol};
use crate::process::{Output, Placement, Process, wait_until};

/// How long the balancer may take until it is ready.
const READY: Duration = Duration::from_secs(10);

/// Starts the balancer with one receiver; where it listens.
pub fn start(
    program: &Path,
    placement: &Placement,
    directory: &Path,
    route: &Route,
    destinations: &[SocketAddr],
) -> Result<(Process, SocketAddr)> {
    let port = free_port(route.protocol)?;
    let config = directory.join("balancer.env");
    fs::write(&config, configuration(route, port, destinations)?)?;
    let arguments = ["run".into(), "--config".into(), config.clone().into_os_string()];
    let arguments: [OsString; 3] = arguments;
    let log = directory.join("balancer.log");
    let output = Output::File(fs::File::create(&log)?);
    let mut process = Process::start("ipfix-balancer", placement, program, arguments, output)?;
    wait_until("the balancer is ready", READY, || {
        process.check_running()?;
        Ok(is_ready(program, &config).then_some(()))
    })
    .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
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
        ("ACCEL", "off"),
    ] {
        writeln!(text, "IPFIX_FULLFLOW_{key}[0]={value}")?;
    }
    Ok(text)
}

fn is_ready(program: &Path, config: &PathBuf) -> bool {
    let mut command = Command::new(program);
    command.args(["status", "--json", "--config"]).arg(config);
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
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
