//! Namespaces joined by veth, and what stands in the balancer's: the balancer, or a program that it
//! is compared with.
//!
//! ```text
//! exporter (generator, load's CPUs) --- exp  balancer  col0 --- collector (sink, load's CPUs)
//!                                       measured CPU
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipfix_balancer_tests::lab::{Family, Interface, Lab, Site};

use super::case::{Case, Side};
use super::poller::{self, Poller};
use super::programs::{Object, Sink, attach_bare};
use super::stand::{Program, Routing, Stand};
use crate::bench::Plan;

/// The receiver's port; the destinations' follow.
const PORT: u16 = 4739;
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

    /// Gives the exporter's programs a way to the collector, which the generator's frames need not.
    pub fn give_route(&self) -> Result<()> {
        let balancer = self.lab.balancer_ip(Family::V4);
        let route = format!("route replace default via {balancer}");
        self.exporter().namespace.ip(&route).map(drop)
    }

    /// Puts a side to its place; it forwards when this returns.
    pub fn stand(&self, plan: &Plan, object: &Object, case: &Case, side: &Side) -> Result<Stand> {
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
                Stand::balancer(self, plan, case, *side == Side::Kernel)
            }
            Side::Peer(peer) => Stand::peer(self, plan, case, peer),
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

    /// How many messages with a time stamp were on their way for so many microseconds.
    pub fn times(&self) -> Result<Vec<u64>> {
        self.sink.times()
    }

    /// A destination behind the balancer.
    pub fn destination(&self) -> Result<SocketAddr> {
        self.destinations(1)?.first().copied().context("no destination")
    }

    fn way_out(&self) -> Result<&Interface> {
        Ok(&self.lab.collector(0)?.peer)
    }

    /// Where the balancer listens.
    pub fn receiver(&self) -> SocketAddr {
        SocketAddr::new(self.lab.balancer_ip(Family::V4), PORT)
    }

    /// So many destinations, all at the collector.
    pub fn destinations(&self, count: u16) -> Result<Vec<SocketAddr>> {
        let ip = self.lab.collector(0)?.ip(Family::V4);
        Ok((PORT + 1..).take(count.into()).map(|port| SocketAddr::new(ip, port)).collect())
    }
}
