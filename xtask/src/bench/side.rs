//! What is compared: what stands between exporter and sinks.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Serialize, Serializer};

use super::case::Route;
use super::daemon::{self, Receiver};
use super::peer::Peer;
use super::{Mode, Plan, Protocol, cpu, value};
use crate::process::{Output, Process, wait_until};

/// How long a program may take until it listens.
const READY: Duration = Duration::from_secs(10);

/// What stands between exporter and sinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nothing: how much the load itself can do.
    Direct,
    /// The plainest program that passes bytes on.
    Relay,
    Peer(Peer),
    /// The balancer of another revision.
    Before(PathBuf),
    Balancer,
}

/// What a side has to do.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    pub route: &'a Route,
    /// Where it listens, with the first receiver if there are several.
    pub listen: SocketAddr,
    pub destinations: &'a [SocketAddr],
    /// For its files.
    pub directory: &'a Path,
}

impl Task<'_> {
    /// Where all receivers listen: on consecutive ports, as the balancer takes no port twice, of
    /// consecutive addresses, as all of 127.0.0.0/8 are this host's and the others' ports are free.
    pub fn receivers(&self) -> Vec<SocketAddr> {
        let SocketAddr::V4(first) = self.listen else { return vec![self.listen] };
        (first.ip().to_bits()..)
            .zip(first.port()..)
            .take(self.route.receivers as usize)
            .map(|(ip, port)| (Ipv4Addr::from_bits(ip), port).into())
            .collect()
    }
}

impl Side {
    /// All that can be compared on this route.
    pub fn all(plan: &Plan, route: &Route) -> Vec<Self> {
        let mut sides = vec![Self::Direct];
        if route.input == route.output {
            sides.push(Self::Relay);
        }
        let peers = plan.peers.iter().filter(|peer| peer.does(route));
        sides.extend(peers.cloned().map(Self::Peer));
        sides.extend(plan.balancer.is_some().then_some(Self::Balancer));
        sides
    }

    /// As in the table.
    pub fn name(&self) -> &str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Peer(peer) => &peer.name,
            Self::Before(_) => "before",
            Self::Balancer => "balancer",
        }
    }

    /// Whether it is the balancer, of any revision.
    pub fn is_balancer(&self) -> bool {
        matches!(self, Self::Balancer | Self::Before(_))
    }

    /// Destinations that it sends to on this route; the relay keeps a stream in one piece.
    pub fn destinations(&self, route: &Route) -> u32 {
        let single =
            *self == Self::Relay && (route.mode, route.output) == (Mode::RoundRobin, Protocol::Tcp);
        if single || *self == Self::Direct { 1 } else { route.destinations }
    }

    /// How often each message arrives.
    pub fn copies(&self, route: &Route) -> u32 {
        match route.mode {
            Mode::All => self.destinations(route),
            Mode::RoundRobin => 1,
        }
    }

    /// Starts it; it listens when this returns. `None`: there is nothing to start.
    pub fn start(&self, plan: &Plan, task: &Task<'_>) -> Result<Option<Process>> {
        let words = match self {
            Self::Direct => return Ok(None),
            Self::Before(program) => return balancer(program, plan, task).map(Some),
            Self::Balancer => {
                let program = plan.balancer.as_ref().context("the balancer was left out")?;
                return balancer(program, plan, task).map(Some);
            }
            Self::Relay => relay(plan, task),
            Self::Peer(peer) => peer.command(task)?,
        };
        self.listening(plan, task, words).map(Some)
    }

    fn listening(&self, plan: &Plan, task: &Task<'_>, words: Vec<OsString>) -> Result<Process> {
        let log = task.directory.join(format!("{}.log", self.name()));
        let output = Output::File(fs::File::create(&log)?);
        let mut words = words.into_iter();
        let program = PathBuf::from(words.next().context("no program")?);
        let placement = &plan.measured;
        let mut process = Process::start(self.name(), placement, &program, words, output)?;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        wait_until("it listens", READY, || {
            process.check_running()?;
            Ok(cpu::listens(process.id(), task.route.input, task.listen)?.then_some(()))
        })
        .with_context(|| said().lines().last().unwrap_or_default().to_owned())?;
        Ok(process)
    }
}

impl Serialize for Side {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

fn balancer(program: &Path, plan: &Plan, task: &Task<'_>) -> Result<Process> {
    let Route { input, output, mode, kernel, .. } = *task.route;
    let receiver = |listen| {
        let destinations = task.destinations.to_vec();
        Receiver { input, output, mode, listen, destinations, kernel }
    };
    let receivers: Vec<_> = task.receivers().into_iter().map(receiver).collect();
    daemon::start(program, &plan.measured, task.directory, &receivers)
}

fn relay(plan: &Plan, task: &Task<'_>) -> Vec<OsString> {
    let mut words = vec![plan.parts.clone().into(), "bench-part".into(), "relay".into()];
    let options = [
        format!("--protocol={}", value(task.route.input)),
        format!("--mode={}", value(task.route.mode)),
        format!("--listen={}", task.listen),
    ];
    let destinations = task.destinations.iter().map(|to| format!("--destination={to}"));
    words.extend(options.into_iter().chain(destinations).map(OsString::from));
    words
}

/// An address of loopback that nobody listens on at the moment.
pub fn free_address(protocol: Protocol) -> Result<SocketAddr> {
    let any = (Ipv4Addr::LOCALHOST, 0);
    let address = match protocol {
        Protocol::Tcp => TcpListener::bind(any)?.local_addr(),
        Protocol::Udp => UdpSocket::bind(any)?.local_addr(),
    };
    address.context("no free port")
}
