//! The usual scene of a test: one receiver, its collectors, and exporters on demand.

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::collector::{Collector, Manners, Protocol, Session};
use crate::daemon::{Daemon, Mode, Receiver};
use crate::exporter::{Exporter, TcpExporter, UdpExporter};
use crate::lab::{Family, Lab, Site};
use crate::net::{V4, free_address};

/// A daemon with one receiver, `FULLFLOW[0]`, and its collectors.
#[derive(Debug)]
pub struct Setup {
    /// The daemon.
    pub daemon: Daemon,
    /// Its receiver, as configured.
    pub receiver: Receiver,
    /// The receiver's destinations, in order.
    pub collectors: Vec<Collector>,
    input: Protocol,
}

impl Setup {
    /// `count` well-behaved collectors, all on IPv4.
    pub fn new(mode: Mode, input: Protocol, output: Protocol, count: usize) -> Result<Self> {
        Self::with(mode, (input, V4), Collector::several(count, output, V4)?)
    }

    /// One collector for each of `manners`, all on IPv4.
    pub fn mannered(
        mode: Mode,
        input: Protocol,
        output: Protocol,
        manners: &[Manners],
    ) -> Result<Self> {
        let start = |manners: &Manners| Collector::with_manners(output, V4, *manners);
        Self::with(mode, (input, V4), manners.iter().map(start).collect::<Result<_>>()?)
    }

    /// These collectors, and a receiver on a free port of an address.
    pub fn with(mode: Mode, input: (Protocol, IpAddr), collectors: Vec<Collector>) -> Result<Self> {
        Self::serving(Receiver::new(mode, input.0, free_address(input.1)?), collectors)
    }

    /// This receiver, which sends to these collectors.
    pub fn serving(receiver: Receiver, collectors: Vec<Collector>) -> Result<Self> {
        let receiver = receiver.to(&collectors);
        let daemon = Daemon::start(std::slice::from_ref(&receiver))?;
        let input = receiver.protocol();
        Ok(Self { daemon, receiver, collectors, input })
    }

    /// In a lab: the daemon in the balancer's namespace, and a collector in each collector's.
    /// Exporters are opened in a call of [`Namespace::run`](crate::lab::Namespace::run).
    pub fn in_lab(
        lab: &Lab,
        mode: Mode,
        (input, output): (Protocol, Protocol),
        family: Family,
    ) -> Result<Self> {
        let start = |site: &Site| site.run(|| Collector::start(output, site.ip(family)));
        let collectors = lab.collectors().iter().map(start).collect::<Result<_>>()?;
        let input = (input, lab.balancer_ip(family));
        lab.balancer().run(|| Self::with(mode, input, collectors))
    }

    /// Opens an exporter session.
    pub fn exporter(&self) -> Result<Exporter> {
        Exporter::connect(self.input, self.receiver.address())
    }

    /// Opens an exporter session over TCP.
    pub fn tcp(&self) -> Result<TcpExporter> {
        TcpExporter::connect(self.receiver.address())
    }

    /// Opens an exporter session over UDP.
    pub fn udp(&self) -> Result<UdpExporter> {
        UdpExporter::connect(self.receiver.address())
    }

    /// Waits until every destination is connected, so that each has its turns from the first
    /// message on.
    pub fn wait_until_up(&self) -> Result<()> {
        self.daemon.wait_for(&self.receiver.name(), "every destination is up", |receiver| {
            receiver.all_destinations_are("up")
        })
    }

    /// Waits until the receiver has counted at least `count` for `reason`.
    pub fn wait_for_drops(&self, reason: &str, count: u64) -> Result<()> {
        let what = format!("{count} dropped: {reason}");
        self.daemon.wait_for(&self.receiver.name(), &what, |now| now.dropped(reason) >= count)
    }

    /// What the receiver has dropped so far, for any reason.
    pub fn dropped(&self) -> Result<u64> {
        Ok(self.daemon.status()?.receiver(&self.receiver.name())?.dropped_in_all())
    }

    /// The first session of the first collector.
    pub fn first_session(&self) -> Result<Session> {
        let session = self.collectors.first().and_then(|first| first.sessions().into_iter().next());
        session.context("the first collector has no session")
    }

    /// Each collector's only session, in the collectors' order.
    pub fn only_sessions(&self) -> Result<Vec<Session>> {
        self.collectors.iter().map(only_session).collect()
    }
}

fn only_session(collector: &Collector) -> Result<Session> {
    let mut sessions = collector.sessions();
    let count = sessions.len();
    anyhow::ensure!(count == 1, "{count} sessions at {} instead of one", collector.address());
    sessions.pop().context("no session")
}
