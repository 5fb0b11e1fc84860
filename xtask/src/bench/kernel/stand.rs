//! What stands in the balancer's place: a program of the kernel, the balancer, or a peer.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::Ebpf;
use ipfix_balancer_tests::lab::{Family, Namespace};
use tempfile::TempDir;

use super::case::Case;
use super::generator::Session;
use super::poller;
use super::programs::Sink;
use super::scene::Scene;
use crate::bench::daemon::{self, Receiver};
use crate::bench::message::{Batch, Sizes, template};
use crate::bench::peer::Peer;
use crate::bench::side::{self, Task};
use crate::bench::{Plan, Protocol};
use crate::process::{Placement, Process, family, wait_until};

/// How long it may take until a session is forwarded.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two messages of a session that is to become known.
const PACE: Duration = Duration::from_millis(5);
/// Messages of a session that must have got to every collector where nothing else can be asked.
const SOME: u64 = 3;

/// A side in its place. Dropping it takes it away.
pub struct Stand {
    pub program: Program,
    pub session: Session,
    socket: UdpSocket,
}

/// What it is.
pub enum Program {
    Sink(Sink),
    Bare(#[expect(dead_code, reason = "what is attached lives as long")] Ebpf),
    Routing(#[expect(dead_code, reason = "it is on as long")] Routing),
    Balancer(Balancer),
    /// With the directory of its files.
    Peer(Process, #[expect(dead_code, reason = "it is there as long")] TempDir),
}

/// A namespace that forwards, while this lives.
pub struct Routing(Arc<Namespace>);

impl Routing {
    const SETTING: &str = "ipv4/ip_forward";

    /// Switches it on.
    pub fn switch_on(namespace: &Arc<Namespace>) -> Result<Self> {
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

/// The balancer, and where it is told about.
pub struct Balancer {
    // In the order in which they end.
    process: Process,
    directory: TempDir,
    program: PathBuf,
}

impl Stand {
    /// What needs no process.
    pub fn program(scene: &Scene, program: Program) -> Result<Self> {
        let socket = exporter(scene)?;
        let session =
            Session { exporter: socket.local_addr()?, receiver: scene.receiver(), sequence: 0 };
        Ok(Self { program, session, socket })
    }

    /// The balancer, with its kernel path or without.
    pub fn balancer(scene: &Scene, plan: &Plan, case: &Case, kernel: bool) -> Result<Self> {
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

    /// A peer.
    pub fn peer(scene: &Scene, plan: &Plan, case: &Case, peer: &Peer) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("ipfix-bench-").tempdir()?;
        let destinations = scene.destinations(case.destinations)?;
        let task = Task {
            route: &case.route(),
            listen: scene.receiver(),
            destinations: &destinations,
            directory: directory.path(),
        };
        let side = side::Side::Peer(peer.clone());
        let process = side.start(&plan.inside(scene.network()), &task)?.context("no process")?;
        let mut stand = Self::program(scene, Program::Peer(process, directory))?;
        stand.introduce(scene, case, false)?;
        stand.give_priority()?;
        Ok(stand)
    }

    /// Sends the template, and then data until it is forwarded as it is to be.
    fn introduce(&mut self, scene: &Scene, case: &Case, kernel: bool) -> Result<()> {
        let before = scene.delivered()?;
        self.socket.send(&template(Sizes::FULL))?;
        let mut batch = Batch::new(1, Sizes::FULL);
        let all = u64::from(case.destinations) * (1 + SOME);
        wait_until("the session is forwarded", LIMIT, || {
            self.check_running()?;
            self.socket.send(batch.prepare(1, &mut self.session.sequence, 0))?;
            std::thread::sleep(PACE);
            let arrived = scene.delivered()? >= before + all;
            let there = arrived && (!kernel || self.forwarded()? > 0);
            Ok(there.then_some(()))
        })
        .with_context(|| self.account())
    }

    fn check_running(&mut self) -> Result<()> {
        match &mut self.program {
            Program::Balancer(Balancer { process, .. }) | Program::Peer(process, _) => {
                process.check_running()
            }
            Program::Sink(_) | Program::Bare(_) | Program::Routing(_) => Ok(()),
        }
    }

    /// The processes of what stands here.
    fn family(&self) -> Result<Vec<u32>> {
        match &self.program {
            Program::Balancer(Balancer { process, .. }) | Program::Peer(process, _) => {
                family(process.id())
            }
            Program::Sink(_) | Program::Bare(_) | Program::Routing(_) => Ok(Vec::new()),
        }
    }

    /// Once it has its threads.
    fn give_priority(&self) -> Result<()> {
        self.family()?.into_iter().try_for_each(poller::equal)
    }

    /// Messages that the kernel path has forwarded.
    pub fn forwarded(&self) -> Result<u64> {
        match &self.program {
            Program::Balancer(balancer) => balancer.forwarded(),
            _ => Ok(0),
        }
    }

    /// CPU time of its processes so far.
    pub fn daemon_time(&self) -> Result<Duration> {
        self.family()?.into_iter().map(poller::time_of).sum()
    }

    fn account(&self) -> String {
        match &self.program {
            Program::Balancer(balancer) => balancer.account(),
            _ => String::new(),
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
