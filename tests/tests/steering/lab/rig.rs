//! Programs attached to real interfaces, between an exporter and collectors.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use aya::programs::{TcAttachType, XdpMode};
use common::maps::{FROM_HOST, FROM_TC, FROM_XDP};
use ipfix_balancer_tests::collector::{Collector, Protocol, total};
use ipfix_balancer_tests::lab::{Family, Lab, RawExporter};
use ipfix_balancer_tests::poll;
use nix::net::if_::if_nametoindex;

use super::super::kernel::encode::{self, Way};
use super::super::kernel::{Counters, Kernel, RECEIVER, SESSION};
use super::super::moved::open_cpu;
use super::super::world::{DOMAIN, World};

/// Port that exporters send from, and receivers listen on.
pub const EXPORTER_PORT: u16 = 40_000;
pub const RECEIVER_PORT: u16 = 4739;
/// The interface towards the exporter.
const EXPORTERS: &str = "exp";
/// How long nothing more must come.
const QUIET: std::time::Duration = std::time::Duration::from_millis(150);

/// Where the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the driver of the interface towards the exporter.
    Xdp,
    /// The same, and the work is done on this CPU.
    Cpu(u32),
    /// Traffic control of that interface.
    Ingress,
    /// Traffic control of `lo`.
    Loopback,
}

/// A collector, and the way to it.
struct Destination {
    collector: Collector,
    way: Way,
    source: SocketAddr,
}

/// A session in the maps, with destinations that are there.
pub struct Rig<'a> {
    lab: &'a Lab,
    family: Family,
    pub kernel: Kernel,
    destinations: Vec<Destination>,
}

impl<'a> Rig<'a> {
    /// So many collectors in each of the lab's sites.
    pub fn new(lab: &'a Lab, family: Family, each: usize) -> Result<Self> {
        let kernel = lab.balancer().run(Kernel::load)?;
        let mut rig = Self { lab, family, kernel, destinations: Vec::new() };
        for _ in 0..each {
            for site in 0..lab.collectors().len() {
                rig.add(site)?;
            }
        }
        Ok(rig)
    }

    fn add(&mut self, site: usize) -> Result<()> {
        let site = self.lab.collector(site)?;
        let ip = site.ip(self.family);
        let collector = site.run(|| Collector::start(Protocol::Udp, ip))?;
        let way = Way {
            collector: collector.address(),
            next_hop: site.interface.mac(),
            interface_mac: site.peer.mac(),
            interface: self.lab.balancer().run(|| Ok(if_nametoindex(site.peer.name())?))?,
            mtu: 1500,
            reach: FROM_XDP | FROM_TC | FROM_HOST,
            local: false,
        };
        self.push(collector, way, site.peer.ip(self.family));
        Ok(())
    }

    /// Adds a collector in the balancer's namespace.
    pub fn add_local(&mut self, ip: IpAddr) -> Result<()> {
        let collector = self.lab.balancer().run(|| Collector::start(Protocol::Udp, ip))?;
        let way = Way {
            collector: collector.address(),
            next_hop: [0; 6],
            interface_mac: [0; 6],
            interface: 1,
            mtu: 65_536,
            reach: FROM_HOST,
            local: true,
        };
        self.push(collector, way, ip);
        Ok(())
    }

    fn push(&mut self, collector: Collector, way: Way, source: IpAddr) {
        let port = 20_000 + u16::try_from(self.destinations.len()).unwrap_or_default();
        self.destinations.push(Destination { collector, way, source: (source, port).into() });
    }

    /// Destinations.
    pub fn count(&self) -> usize {
        self.destinations.len()
    }

    /// The receiver's address for exporters of the lab.
    pub fn receiver(&self) -> SocketAddr {
        (self.lab.balancer_ip(self.family), RECEIVER_PORT).into()
    }

    /// Installs the session of an exporter, and attaches the program.
    pub fn start(
        &mut self,
        world: &World,
        (exporter, receiver): (IpAddr, IpAddr),
        place: Place,
    ) -> Result<()> {
        let lab = self.lab;
        lab.balancer().run(|| {
            self.kernel.enter(world)?;
            self.install(world, exporter, receiver)?;
            self.install_copies()?;
            self.attach(place).with_context(|| format!("{place:?}"))
        })
    }

    fn install(&mut self, world: &World, exporter: IpAddr, receiver: IpAddr) -> Result<()> {
        let exporter = SocketAddr::new(exporter, EXPORTER_PORT);
        let receiver = SocketAddr::new(receiver, RECEIVER_PORT);
        let flow = encode::flow(exporter, receiver, DOMAIN);
        let mut flows = self.kernel.hash::<encode::FlowBytes, u32>("FLOWS")?;
        flows.insert(flow, super::super::kernel::DOMAIN_PLACE, 0)?;
        for (number, destination) in self.destinations.iter().enumerate() {
            let bit = world.second_place >> number & 1;
            self.kernel.set_way(number, bit, &destination.way)?;
        }
        let sources: Vec<_> = self.destinations.iter().map(|to| to.source).collect();
        let session = encode::session(world, &world.state, &sources);
        self.kernel.set("SESSIONS", SESSION, session)
    }

    /// Each destination is an entry: so many copies leave by its interface.
    fn install_copies(&mut self) -> Result<()> {
        let program = self.kernel.xdp("ipfix_copy")?.fd()?.try_clone()?;
        let mut devices = self.kernel.broadcast()?;
        for (number, destination) in (0..).zip(&self.destinations) {
            let interface = destination.way.interface;
            if !destination.way.local {
                devices.set(number, interface, Some(&program), 0)?;
            }
        }
        Ok(())
    }

    fn attach(&mut self, place: Place) -> Result<()> {
        match place {
            Place::Xdp => self.attach_xdp()?,
            Place::Cpu(cpu) => {
                open_cpu(&mut self.kernel, cpu)?;
                self.attach_xdp()?;
            }
            Place::Ingress => {
                self.kernel.tc()?.attach(EXPORTERS, TcAttachType::Ingress)?;
            }
            Place::Loopback => {
                self.kernel.tc()?.attach("lo", TcAttachType::Egress)?;
            }
        }
        Ok(())
    }

    fn attach_xdp(&mut self) -> Result<()> {
        self.kernel.xdp("ipfix_xdp")?.attach(EXPORTERS, XdpMode::Driver)?;
        Ok(())
    }

    /// Sends messages in frames that a raw exporter makes, one after the other: each is everywhere
    /// before the next one is sent, so that no queue overruns.
    pub fn send(&self, messages: &[Vec<u8>], tag: Option<u16>, copies: usize) -> Result<()> {
        let exporter = RawExporter::open(self.lab.exporter())?;
        for message in messages {
            let frame = exporter.frame(EXPORTER_PORT, self.receiver(), message);
            let frame = tag.into_iter().fold(frame, |frame, tag| frame.vlan(tag));
            let before = self.arrived();
            exporter.send(&frame.build()?)?;
            self.wait_for(before + copies)?;
        }
        Ok(())
    }

    /// Waits until so many messages have come to the collectors, all together.
    pub fn wait_for(&self, messages: usize) -> Result<()> {
        let what = format!("{messages} messages at the collectors");
        poll::wait(&what, || self.arrived() >= messages)
            .with_context(|| format!("{} have arrived", self.arrived()))
    }

    fn arrived(&self) -> usize {
        self.destinations.iter().map(|to| total(std::slice::from_ref(&to.collector))).sum()
    }

    /// Nothing else has come than these messages to each destination, in this order, and all from
    /// its session's source.
    pub fn check(&self, expected: &[Vec<Vec<u8>>]) -> Result<()> {
        poll::settled(QUIET, || self.arrived())?;
        for (number, (to, expected)) in self.destinations.iter().zip(expected).enumerate() {
            let sessions = to.collector.sessions();
            let [session] = &sessions[..] else {
                anyhow::bail!("destination {number}: {} sessions", sessions.len());
            };
            ensure!(session.peer == to.source, "destination {number}: from {}", session.peer);
            let got = &session.messages;
            ensure!(got == expected, "destination {number}: {got:?}\n  not {expected:?}");
        }
        Ok(())
    }

    /// The receiver's counters.
    pub fn counters(&mut self) -> Result<Counters> {
        Counters::read(&mut self.kernel)
    }

    /// Messages that were forwarded, by CPU.
    pub fn forwarded_by_cpu(&mut self) -> Result<Vec<u64>> {
        let counters =
            self.kernel.per_cpu::<[u64; Counters::RECEIVER_WORDS]>("RECEIVER_COUNTERS")?;
        let counters = counters.get(&RECEIVER, 0)?;
        Ok(counters.iter().filter_map(|words| words.first().copied()).collect())
    }
}
