//! Everything that a run takes place in: hosts, collectors, exporters, the daemon, a small disk.

mod happen;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipfix_balancer_tests::collector::{self, Collector, Manners};
use ipfix_balancer_tests::daemon::{Daemon, Receiver, ReceiverStatus, Status};
use ipfix_balancer_tests::dump::{self, DumpFile};
use ipfix_balancer_tests::lab::{Counters, Family, Lab, Site, mount_small};
use ipfix_balancer_tests::net::free_address;
use ipfix_balancer_tests::poll;
use tempfile::TempDir;

use crate::ledger::Session;
use crate::malformed::Faulty;
use crate::plan::Regime;
use crate::traffic::{Task, Traffic};
use crate::wiring::{EXPORTERS, RECEIVERS, SITES, SPARE, Wiring};

/// Files are rotated after so many records: several times a run.
const RECORDS_OF_A_FILE: u32 = 4000;
/// How long everything may take to arrive after the last fault is mended.
const DRAIN: Duration = Duration::from_secs(45);
/// Silence at all collectors that means that nothing more comes.
const QUIET: Duration = Duration::from_millis(500);

/// The daemon goes first, the hosts last.
pub struct World {
    pub begin: Instant,
    seed: u64,
    daemon: Daemon,
    receivers: Vec<Receiver>,
    /// Receivers that have the spare destination.
    extended: Vec<bool>,
    /// By receiver, then by site.
    collectors: Vec<Vec<Collector>>,
    traffic: Vec<Traffic>,
    faulty: Vec<Faulty>,
    /// New MAC addresses so far.
    macs: u8,
    disk: TempDir,
    lab: Lab,
}

impl World {
    /// Builds it. The calling thread gets a file system of its own.
    pub fn new(seed: u64) -> Result<Self> {
        let disk = tempfile::tempdir()?;
        mount_small(disk.path(), "size=24m")?;
        let lab = Lab::new(SITES)?;
        for site in lab.collectors() {
            // A collector may be started while its host has lost its address.
            site.namespace.set("ipv4/ip_nonlocal_bind", "1")?;
        }
        let collectors: Vec<_> =
            RECEIVERS.iter().map(|wiring| collectors(&lab, wiring)).collect::<Result<_>>()?;
        let dumps = disk.path().join("dump");
        let receivers: Vec<_> = (0..RECEIVERS.len())
            .map(|index| receiver(&lab, index, &dumps))
            .collect::<Result<_>>()?;
        let served: Vec<_> = receivers
            .iter()
            .zip(&collectors)
            .map(|(receiver, collectors)| with_destinations(receiver, collectors, false))
            .collect();
        let daemon = lab.balancer().run(|| match Regime::of(seed) {
            Regime::Managed => Daemon::start_managed(&served),
            Regime::Alone | Regime::Steady => Daemon::start(&served),
        })?;
        let mut world = Self {
            begin: Instant::now(),
            seed,
            daemon,
            extended: vec![false; receivers.len()],
            receivers,
            collectors,
            traffic: Vec::new(),
            faulty: Vec::new(),
            macs: 0,
            disk,
            lab,
        };
        world.start_exporters()?;
        world.wait_for_traffic()?;
        Ok(world)
    }

    fn start_exporters(&mut self) -> Result<()> {
        for receiver in 0..RECEIVERS.len() {
            for _ in 0..EXPORTERS {
                let task = self.task(receiver)?;
                let traffic = self.lab.exporter().run(|| Ok(Traffic::start(task)))?;
                self.traffic.push(traffic);
            }
        }
        Ok(())
    }

    fn task(&self, receiver: usize) -> Result<Task> {
        let number = 1 + u32::try_from(self.traffic.len() + self.faulty.len())?;
        let (protocol, to) = (RECEIVERS[receiver].input, self.receivers[receiver].address());
        Ok(Task { receiver, number, protocol, to, seed: self.seed, begin: self.begin })
    }

    /// Every receiver is at work, and every session is where it belongs.
    fn wait_for_traffic(&self) -> Result<()> {
        for (receiver, wiring) in self.receivers.iter().zip(&RECEIVERS) {
            self.daemon.wait_for(&receiver.name(), "it is at work", |now| {
                let forwarded = wiring.accel == "off" || now.kernel_messages() > 0;
                forwarded && now.messages() > 0 && now.all_destinations_are("up")
            })?;
        }
        Ok(())
    }

    /// Lets the exporters end; everything that was sent.
    pub fn end_exporters(&mut self) -> Result<Vec<Session>> {
        let mut sessions = Vec::new();
        for traffic in self.traffic.drain(..) {
            sessions.extend(traffic.end()?);
        }
        for faulty in self.faulty.drain(..) {
            sessions.push(faulty.end()?);
        }
        Ok(sessions)
    }

    /// Waits until every destination is back.
    pub fn wait_until_up(&self) -> Result<()> {
        for receiver in &self.receivers {
            let up = |now: &ReceiverStatus| now.all_destinations_are("up");
            self.daemon.wait_for(&receiver.name(), "every destination is back", up)?;
        }
        Ok(())
    }

    /// Waits until nothing is on its way any more, and dump files have their names.
    pub fn drain(&self) -> Result<()> {
        let what = "nothing waits in the balancer";
        let waits = || -> Result<bool> {
            let status = self.daemon.status()?;
            let mut waits = false;
            for receiver in &self.receivers {
                let now = status.receiver(&receiver.name())?;
                let queued = now.destinations().iter().any(|one| one.queued() > 0);
                waits |= queued || now.waiting() > 0 || now.recorded("waiting_bytes") > 0;
            }
            Ok(waits)
        };
        poll::until(DRAIN, what, || waits().is_ok_and(|waits| !waits).then_some(()))
            .map_err(|error| error.context(format!("{:?}", self.daemon.status())))?;
        poll::settled(QUIET, || self.arrived())?;
        let parts = || dump::ending_with(&self.dumps(), ".part").is_empty();
        poll::wait("dump files are finished", parts)
    }

    fn arrived(&self) -> Vec<usize> {
        self.collectors.iter().flatten().map(Collector::messages).collect()
    }

    fn dumps(&self) -> PathBuf {
        self.disk.path().join("dump")
    }

    /// What collectors have received, by receiver and site.
    pub fn received(&self) -> Vec<Vec<Vec<collector::Session>>> {
        let of = |collectors: &Vec<Collector>| collectors.iter().map(Collector::sessions).collect();
        self.collectors.iter().map(of).collect()
    }

    /// The finished dump files.
    pub fn files(&self) -> Result<Vec<DumpFile>> {
        dump::finished(&self.dumps())
    }

    /// Frames that the balancer's interfaces towards collectors have dropped: those of sockets, and those
    /// of the kernel path.
    pub fn refused(&self) -> Result<u64> {
        let status = self.daemon.status()?;
        let refused = |site: &Site| -> Result<u64> {
            // The kernel path may not send by it at XDP.
            let egress = status.dropped_at(site.peer.name(), "egress").unwrap_or(0);
            Ok(site.peer.counters()?.send_drops + egress)
        };
        self.lab.collectors().iter().map(refused).sum()
    }

    /// What the network has counted, for whoever looks for a message.
    pub fn network(&self) -> Result<String> {
        let mut told = String::new();
        for site in self.lab.collectors().iter().chain([self.lab.exporter()]) {
            let (near, far) = (site.peer.counters()?, site.interface.counters()?);
            told.push_str(&format!("{}: {near:?}\n  {far:?}\n", site.peer.name()));
            told.push_str(&format!("  {}\n", udp(&site.namespace.counters()?)?));
        }
        told.push_str(&format!("balancer: {}\n", udp(&self.lab.balancer().counters()?)?));
        Ok(told)
    }

    /// What the daemon says.
    pub fn status(&self) -> Result<Status> {
        self.daemon.status()
    }

    /// What the daemons have logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

/// Where the numbers of faulty exporters begin, which are their observation domains: below those of
/// the others.
const FAULTY: u32 = 100;

/// What does not count to 0 of what can explain a datagram that has not arrived.
fn udp(counters: &Counters) -> Result<String> {
    const NAMES: [&str; 9] = [
        "IpInHdrErrors",
        "IpInAddrErrors",
        "IpInDiscards",
        "IpExtInNoRoutes",
        "IpExtInCsumErrors",
        "UdpNoPorts",
        "UdpInErrors",
        "UdpRcvbufErrors",
        "UdpInCsumErrors",
    ];
    let mut told = String::new();
    for name in NAMES {
        let count = counters.count(name)?;
        if count > 0 {
            told.push_str(&format!("{name} {count}, "));
        }
    }
    Ok(told)
}

fn collectors(lab: &Lab, wiring: &Wiring) -> Result<Vec<Collector>> {
    if wiring.mode.is_none() {
        return Ok(Vec::new());
    }
    let start = |site: &Site| {
        site.run(|| Collector::with_manners(wiring.output, site.ip(Family::V4), Manners::default()))
    };
    lab.collectors().iter().map(start).collect()
}

/// A receiver without destinations.
fn receiver(lab: &Lab, index: usize, dumps: &Path) -> Result<Receiver> {
    let wiring = RECEIVERS.get(index).context("no such receiver")?;
    let listen = lab.balancer().run(|| free_address(lab.balancer_ip(Family::V4)))?;
    let receiver = match wiring.mode {
        Some(mode) => Receiver::new(mode, wiring.input, listen),
        None => Receiver::recording(wiring.input, listen, dumps)
            .set("ROTATE_MINUTES", 0)
            .set("FW_MAX_QUEUE_SIZE", RECORDS_OF_A_FILE),
    };
    let receiver = receiver.named("FULLFLOW", index).set("RECONNECT_SECONDS", 1);
    Ok(receiver.set("ACCEL", wiring.accel))
}

fn with_destinations(receiver: &Receiver, collectors: &[Collector], extended: bool) -> Receiver {
    let receiver = receiver.clone();
    if collectors.is_empty() {
        return receiver;
    }
    receiver.to(&collectors[..if extended { SPARE + 1 } else { SPARE }])
}
