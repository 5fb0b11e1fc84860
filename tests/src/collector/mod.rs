//! Receives IPFIX, and keeps what every transport session brought, in order.
//!
//! A [`Collector`] listens until it is stopped or dropped; it can be started again on the same
//! port. It can also behave badly: never read, read slowly, talk back ([`Manners`]), stall, reset its
//! connections, be killed.

mod orders;
mod store;
mod tcp;
mod udp;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use orders::Orders;
pub use store::Session;
use store::Store;

use crate::{net, poll};

/// How long a thread waits for data before it looks whether it shall end.
const TICK: Duration = Duration::from_millis(20);

/// A transport protocol, spelled as the configuration spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Transmission control protocol.
    Tcp,
    /// User datagram protocol.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// How a collector reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// As fast as it can.
    #[default]
    Normal,
    /// Accepts, and never reads. Its receive buffer is as small as the system allows.
    Never,
    /// Reads at least so many octets of each connection as fast as it can, and then no more. Its
    /// receive buffer is as large as the system lets it become.
    Stalling {
        /// Octets.
        after: usize,
    },
    /// At most `octets` (TCP) or one datagram (UDP), then nothing for `pause`.
    Slow {
        /// Octets a read.
        octets: usize,
        /// Between two reads.
        pause: Duration,
    },
}

/// How a collector behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    /// How it reads.
    pub reading: Reading,
    /// Sends bytes to the exporter's side after each read, which no collector does.
    pub talks_back: bool,
    /// Counts messages and octets, and keeps nothing: for measurements.
    pub counts_only: bool,
}

/// A listening collector.
#[derive(Debug)]
pub struct Collector {
    protocol: Protocol,
    address: SocketAddr,
    manners: Manners,
    store: Arc<Store>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
}

impl Collector {
    /// Listens on a free port of `ip`.
    pub fn start(protocol: Protocol, ip: IpAddr) -> Result<Self> {
        Self::with_manners(protocol, ip, Manners::default())
    }

    /// Listens on a free port of `ip` and behaves as told.
    pub fn with_manners(protocol: Protocol, ip: IpAddr, manners: Manners) -> Result<Self> {
        let mut collector = Self::absent(protocol, ip, manners)?;
        collector.resume()?;
        Ok(collector)
    }

    /// `count` collectors on free ports of `ip`.
    pub fn several(count: usize, protocol: Protocol, ip: IpAddr) -> Result<Vec<Self>> {
        (0..count).map(|_| Self::start(protocol, ip)).collect()
    }

    /// Has an address, and does not listen before [`Collector::resume`].
    pub fn absent(protocol: Protocol, ip: IpAddr, manners: Manners) -> Result<Self> {
        let address = net::free_address(ip)?;
        Ok(Self { protocol, address, manners, store: Arc::default(), running: None })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it listens with.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Closes the port and every connection. What was received stays.
    pub fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.orders.stop();
        // A thread that panicked has received nothing more; what it had received stays.
        drop(running.thread.join());
    }

    /// Ends it as a crash does: connections are reset. What this host has acknowledged until then was
    /// received, so that a sender knows by TCP what was lost; of datagrams, what `UdpInErrors` and
    /// `UdpNoPorts` do not count.
    pub fn kill(&mut self) {
        if let Some(running) = &self.running {
            running.orders.kill();
        }
        self.stop();
    }

    /// Resets every TCP connection, and goes on listening. Likewise: what was acknowledged was received.
    pub fn reset(&self) {
        if let Some(running) = &self.running {
            running.orders.reset();
        }
    }

    /// Reads nothing until [`Collector::read_on`].
    pub fn stall(&self) {
        if let Some(running) = &self.running {
            running.orders.stall(true);
        }
    }

    /// Reads again.
    pub fn read_on(&self) {
        if let Some(running) = &self.running {
            running.orders.stall(false);
        }
    }

    /// Listens again on the same port.
    pub fn resume(&mut self) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let orders = Arc::new(Orders::default());
        let store = Arc::clone(&self.store);
        let thread = match self.protocol {
            Protocol::Tcp => tcp::listen(self.address, self.manners, store, Arc::clone(&orders))?,
            Protocol::Udp => udp::listen(self.address, self.manners, store, Arc::clone(&orders))?,
        };
        self.running = Some(Running { orders, thread });
        Ok(())
    }

    /// [`Collector::resume`], and from now on behaves as told.
    pub fn resume_with(&mut self, manners: Manners) -> Result<()> {
        self.manners = manners;
        self.resume()
    }

    /// Messages received so far, over all sessions.
    pub fn messages(&self) -> usize {
        self.store.messages()
    }

    /// Octets of these messages.
    pub fn octets(&self) -> usize {
        self.store.octets()
    }

    /// A copy of what each session (TCP connection, UDP source) brought, oldest session first.
    pub fn sessions(&self) -> Vec<Session> {
        self.store.sessions()
    }

    /// How many sessions there were.
    pub fn session_count(&self) -> usize {
        self.store.session_count()
    }

    /// How many TCP connections are open.
    pub fn open_sessions(&self) -> usize {
        self.store.open_sessions()
    }

    /// Waits until `count` TCP connections have come and all of them have ended. The balancer may
    /// have closed a connection before the collector accepts it: none is open then, either.
    pub fn wait_for_end_of(&self, count: usize) -> Result<()> {
        poll::wait(&format!("{count} sessions came to {} and ended", self.address), || {
            self.session_count() == count && self.open_sessions() == 0
        })
    }

    /// Waits until at least `count` messages are here.
    pub fn wait_for(&self, count: usize) -> Result<()> {
        let what = format!("{count} messages at {} {}", self.address, self.protocol);
        poll::wait(&what, || self.messages() >= count)
            .map_err(|error| error.context(format!("{} arrived", self.messages())))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Messages received so far by several collectors together.
pub fn total(collectors: &[Collector]) -> usize {
    collectors.iter().map(Collector::messages).sum()
}

/// Waits until several collectors together have at least `count` messages.
pub fn wait_for_total(collectors: &[Collector], count: usize) -> Result<()> {
    poll::wait(&format!("{count} messages at all collectors together"), || {
        total(collectors) >= count
    })
    .map_err(|error| error.context(format!("{} arrived", total(collectors))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::{Flows, Segments, TcpExporter, UdpExporter};
    use crate::net::{V4, V6};

    #[test]
    fn tcp_in_single_octets_arrives_whole() {
        let collector = Collector::start(Protocol::Tcp, V4).unwrap();
        let messages = Flows::new(1).session(5, 3);
        let mut exporter = TcpExporter::connect(collector.address()).unwrap();
        exporter.send_segmented(&messages.concat(), &Segments::Every(1)).unwrap();
        collector.wait_for(6).unwrap();
        let sessions = collector.sessions();
        assert_eq!(sessions[0].messages, messages);
        assert_eq!(sessions[0].peer, exporter.address().unwrap());
        assert!(sessions[0].open);
        drop(exporter);
        collector.wait_for_end_of(1).unwrap();
    }

    #[test]
    fn an_unfinished_message_is_not_a_message() {
        let collector = Collector::start(Protocol::Tcp, V6).unwrap();
        let mut exporter = TcpExporter::connect(collector.address()).unwrap();
        exporter.send(&Flows::new(1).data(2)[..30]).unwrap();
        exporter.finish().unwrap();
        collector.wait_for_end_of(1).unwrap();
        assert_eq!(collector.messages(), 0);
        assert_eq!(collector.sessions()[0].rest.len(), 30);
    }

    #[test]
    fn udp_sources_are_told_apart() {
        let collector = Collector::start(Protocol::Udp, V6).unwrap();
        let (mut one, mut two) = (Flows::new(1), Flows::new(1));
        let first = UdpExporter::connect(collector.address()).unwrap();
        let second = UdpExporter::connect(collector.address()).unwrap();
        first.send(&[one.data(1), one.data(1)].concat()).unwrap();
        second.send(&two.data(1)).unwrap();
        collector.wait_for(3).unwrap();
        let mut sizes: Vec<_> = collector.sessions().iter().map(|s| s.messages.len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 2]);
    }

    #[test]
    fn stop_closes_and_resume_listens_on_the_same_port() {
        let mut collector = Collector::start(Protocol::Tcp, V4).unwrap();
        let mut exporter = TcpExporter::connect(collector.address()).unwrap();
        exporter.send(&Flows::new(1).data(1)).unwrap();
        collector.wait_for(1).unwrap();
        collector.stop();
        assert!(exporter.is_closed_within(poll::PATIENCE).unwrap());
        assert!(TcpExporter::connect(collector.address()).is_err());
        collector.resume().unwrap();
        let mut again = TcpExporter::connect(collector.address()).unwrap();
        again.send(&Flows::new(1).data(1)).unwrap();
        collector.wait_for(2).unwrap();
        assert_eq!(collector.session_count(), 2);
    }

    #[test]
    fn what_was_acknowledged_before_a_reset_was_received() {
        let mut collector = Collector::start(Protocol::Tcp, V4).unwrap();
        let mut flows = Flows::new(1);
        for round in 0..4 {
            let mut exporter = TcpExporter::connect(collector.address()).unwrap();
            poll::wait("accepted", || collector.session_count() == round + 1).unwrap();
            collector.stall();
            // Less than a receive buffer: on loopback it is acknowledged before the call returns.
            let messages: Vec<_> = (0..30).map(|_| flows.data(20)).collect();
            exporter.send_all(&messages).unwrap();
            if round % 2 == 0 {
                collector.reset()
            } else {
                collector.kill()
            }
            assert!(exporter.is_closed_within(poll::PATIENCE).unwrap());
            collector.wait_for_end_of(round + 1).unwrap();
            assert_eq!(collector.sessions()[round].messages, messages);
            collector.read_on();
            collector.resume().unwrap();
        }
    }

    #[test]
    fn a_collector_that_never_reads_gets_nothing() {
        let manners = Manners { reading: Reading::Never, ..Manners::default() };
        let collector = Collector::with_manners(Protocol::Tcp, V4, manners).unwrap();
        let mut exporter = TcpExporter::connect(collector.address()).unwrap();
        exporter.send(&Flows::new(1).data(1)).unwrap();
        poll::wait("accepted", || collector.session_count() == 1).unwrap();
        assert_eq!(collector.messages(), 0);
    }
}
