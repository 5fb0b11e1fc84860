//! Namespaces joined by veth, and what stands in the balancer's: the balancer, or a program that it
//! is compared with.
//!
//! ```text
//! exporter (generator, load's CPUs) --- exp  balancer  col0 --- collector (sink, load's CPUs)
//!                                       measured CPU
//! ```

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::Ebpf;
use ipfix_balancer_tests::lab::{Family, Interface, Lab, Namespace, Site};
use tempfile::TempDir;

use super::case::{Case, Side};
use super::generator::Session;
use super::poller::{self, Poller};
use super::programs::{Object, Sink, attach_bare};
use crate::bench::daemon::{self, Receiver};
use crate::bench::message::{Batch, Sizes, template};
use crate::bench::{Plan, Protocol};
use crate::process::{Placement, Process, wait_until};

/// The receiver's port; the destinations' follow.
const PORT: u16 = 4739;
/// How long it may take until a session is forwarded.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two messages of a session that is to become known.
const PACE: Duration = Duration::from_millis(5);
/// Messages of a session that must have got to every collector where nothing else can be asked.
const SOME: u64 = 3;

/// What all sides have in common.
pub struct Scene {
    lab: Lab,
    sink: Sink,
    /// What is measured.
    poller: Poller,
    _collector: Poller,
}

/// Counts and CPU time, at an instant.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub time: Instant,
    /// Packets that came in at the balancer, and those that got to the sink.
    pub handled: u64,
    pub delivered: u64,
    /// Time of the thread that took them in, and of the balancer.
    pub poller: Duration,
    pub daemon: Duration,
}

impl Scene {
    /// Builds it.
    pub fn new(plan: &Plan, object: &Object) -> Result<Self> {
        let lab = Lab::new(1)?;
        let poller = Poller::start(&lab.exporter().peer, &plan.measured.cpus, poller::PRIORITY)?;
        let collector = &lab.collector(0)?.interface;
        let collector_poller = Poller::start(collector, &plan.load.cpus, poller::PRIORITY)?;
        let sink = Sink::attach(object, collector)?;
        Ok(Self { lab, sink, poller, _collector: collector_poller })
    }

    /// Where the generator sends from.
    pub fn exporter(&self) -> &Site {
        self.lab.exporter()
    }

    /// Puts a side to its place; it forwards when this returns.
    pub fn stand(&self, plan: &Plan, object: &Object, case: &Case, side: Side) -> Result<Stand> {
        let (way_in, way_out) = (&self.exporter().peer, self.way_out()?);
        match side {
            Side::Drop => Ok(Stand::program(self, Program::Sink(Sink::attach(object, way_in)?))?),
            Side::Bare => {
                let program = attach_bare(object, way_in, way_out, case.copies())?;
                Stand::program(self, Program::Bare(program))
            }
            Side::Forward => {
                let routing = Routing::switch_on(self.lab.balancer())?;
                let mut stand = Stand::program(self, Program::Routing(routing))?;
                stand.session.receiver = self.destination()?;
                Ok(stand)
            }
            Side::Kernel | Side::Userspace => {
                Stand::balancer(self, plan, case, side == Side::Kernel)
            }
        }
    }

    /// Reads every count.
    pub fn read(&self, stand: &Stand) -> Result<Reading> {
        let (delivered, handled) = match &stand.program {
            Program::Sink(sink) => (sink.arrived()?, None),
            _ => (self.sink.arrived()?, Some(self.exporter().peer.counters()?.received)),
        };
        Ok(Reading {
            time: Instant::now(),
            handled: handled.unwrap_or(delivered),
            delivered,
            poller: self.poller.time()?,
            daemon: stand.daemon_time()?,
        })
    }

    /// The balancer's namespace.
    pub fn network(&self) -> PathBuf {
        self.lab.balancer().path().into()
    }

    /// Datagrams that have got to the collector.
    pub fn delivered(&self) -> Result<u64> {
        self.sink.arrived()
    }

    /// A destination behind the balancer.
    pub fn destination(&self) -> Result<SocketAddr> {
        self.destinations(1)?.first().copied().context("no destination")
    }

    fn way_out(&self) -> Result<&Interface> {
        Ok(&self.lab.collector(0)?.peer)
    }

    fn receiver(&self) -> SocketAddr {
        SocketAddr::new(self.lab.balancer_ip(Family::V4), PORT)
    }

    fn destinations(&self, count: u16) -> Result<Vec<SocketAddr>> {
        let ip = self.lab.collector(0)?.ip(Family::V4);
        Ok((PORT + 1..).take(count.into()).map(|port| SocketAddr::new(ip, port)).collect())
    }
}

/// A side in its place. Dropping it takes it away.
pub struct Stand {
    program: Program,
    pub session: Session,
    socket: UdpSocket,
}

enum Program {
    Sink(Sink),
    Bare(#[expect(dead_code, reason = "what is attached lives as long")] Ebpf),
    Routing(#[expect(dead_code, reason = "it is on as long")] Routing),
    Balancer(Balancer),
}

/// A namespace that forwards, while this lives.
struct Routing(Arc<Namespace>);

impl Routing {
    const SETTING: &str = "ipv4/ip_forward";

    fn switch_on(namespace: &Arc<Namespace>) -> Result<Self> {
        namespace.set(Self::SETTING, "1")?;
        Ok(Self(Arc::clone(namespace)))
    }
}

impl Drop for Routing {
    fn drop(&mut self) {
        if let Err(error) = self.0.set(Self::SETTING, "0") {
            eprintln!("forwarding stays on: {error:#}");
        }
    }
}

struct Balancer {
    // In the order in which they end.
    process: Process,
    directory: TempDir,
    program: PathBuf,
}

impl Stand {
    fn program(scene: &Scene, program: Program) -> Result<Self> {
        let socket = exporter(scene)?;
        let session =
            Session { exporter: socket.local_addr()?, receiver: scene.receiver(), sequence: 0 };
        Ok(Self { program, session, socket })
    }

    fn balancer(scene: &Scene, plan: &Plan, case: &Case, kernel: bool) -> Result<Self> {
        let program = plan.balancer.clone().context("the balancer was left out")?;
        let directory = tempfile::Builder::new().prefix("ipfix-bench-").tempdir()?;
        let network = Some(scene.network());
        let placement = Placement { network, ..plan.measured.clone() };
        let receiver = Receiver {
            input: Protocol::Udp,
            output: Protocol::Udp,
            mode: case.mode,
            listen: scene.receiver(),
            destinations: scene.destinations(case.destinations)?,
            kernel,
        };
        let process = daemon::start(&program, &placement, directory.path(), &[receiver])?;
        let balancer = Balancer { process, directory, program };
        let mut stand = Self::program(scene, Program::Balancer(balancer))?;
        stand.introduce(scene, case, kernel)?;
        stand.give_priority()?;
        Ok(stand)
    }

    /// Sends the template, and then data until it is forwarded as it is to be.
    fn introduce(&mut self, scene: &Scene, case: &Case, kernel: bool) -> Result<()> {
        let Program::Balancer(balancer) = &mut self.program else { return Ok(()) };
        let before = scene.sink.arrived()?;
        self.socket.send(&template(Sizes::FULL))?;
        let mut batch = Batch::new(1, Sizes::FULL);
        let all = u64::from(case.destinations) * (1 + SOME);
        wait_until("the session is forwarded", LIMIT, || {
            balancer.process.check_running()?;
            self.socket.send(batch.prepare(1, &mut self.session.sequence, 0))?;
            std::thread::sleep(PACE);
            let arrived = scene.sink.arrived()? >= before + all;
            let there = arrived && (!kernel || balancer.forwarded()? > 0);
            Ok(there.then_some(()))
        })
        .with_context(|| balancer.account())
    }

    /// Once it has its threads.
    fn give_priority(&self) -> Result<()> {
        match &self.program {
            Program::Balancer(balancer) => poller::equal(balancer.process.id()),
            Program::Sink(_) | Program::Bare(_) | Program::Routing(_) => Ok(()),
        }
    }

    /// Messages that the kernel path has forwarded.
    pub fn forwarded(&self) -> Result<u64> {
        match &self.program {
            Program::Balancer(balancer) => balancer.forwarded(),
            Program::Sink(_) | Program::Bare(_) | Program::Routing(_) => Ok(0),
        }
    }

    /// CPU time of the balancer so far.
    pub fn daemon_time(&self) -> Result<Duration> {
        match &self.program {
            Program::Balancer(balancer) => poller::time_of(balancer.process.id()),
            Program::Sink(_) | Program::Bare(_) | Program::Routing(_) => Ok(Duration::ZERO),
        }
    }
}

impl Balancer {
    /// Messages that its kernel path has forwarded.
    fn forwarded(&self) -> Result<u64> {
        let receivers = crate::daemon::status(&self.program, self.directory.path())?;
        let count = receivers.first().and_then(|receiver| receiver.get("kernel_messages"));
        Ok(count.and_then(serde_json::Value::as_u64).unwrap_or(0))
    }

    fn account(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("balancer.log"));
        let status = crate::daemon::status(&self.program, self.directory.path());
        format!("{}\n{:?}", log.unwrap_or_default(), status)
    }
}

/// The session's own socket: it has the port, and sends the first messages.
fn exporter(scene: &Scene) -> Result<UdpSocket> {
    let site = scene.exporter();
    site.run(|| {
        let socket = UdpSocket::bind((site.ip(Family::V4), 0))?;
        socket.connect(scene.receiver())?;
        Ok(socket)
    })
}
