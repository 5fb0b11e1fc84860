//! What stands in the maps before the first packet, and who is who.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use balancer_user::config::Mode;
use common::handover::Handover;
use common::maps::{ANY_CPU, FROM_HOST, FROM_TC, FROM_XDP, MARK_LEN, MAX_DESTINATIONS};
use common::sequence::{FIRST, Sequence};
use ipfix_balancer_tests::frame::{Frame, Mac};
use ipfix_balancer_tests::lab::Family;

/// The session's observation domain.
pub const DOMAIN: u32 = 7;
/// The id of its flow data.
pub const FLOW: u16 = 256;
/// The longest way that a destination has, if a case says nothing else.
const MTU: u32 = 1500;
/// Number of the first destination's interface. No machine has it: nothing can leave by it.
const INTERFACES: u32 = 1_000_000;

/// Where a packet meets a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// At the driver.
    Xdp,
    /// Traffic control, coming in.
    Ingress,
    /// Traffic control, going out by `lo`.
    Host,
}

impl Hook {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Xdp, Self::Ingress, Self::Host];
    /// Those of the program for traffic control.
    pub const TC: &[Self] = &[Self::Ingress, Self::Host];
}

/// What a program may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub turn: u32,
    pub line: Sequence,
    pub outgoing: [u32; MAX_DESTINATIONS],
    pub forwarded: u32,
    pub handover: Handover<u32>,
    pub mark: [u8; MARK_LEN],
}

/// Configuration of one receiver with one session of one observation domain.
#[derive(Clone, Debug)]
pub struct World {
    pub family: Family,
    pub mode: Mode,
    pub destinations: usize,
    /// Destinations that take turns, one bit each, as are the next ones.
    pub takers: u32,
    /// Those that miss templates.
    pub unsynced: u32,
    /// Those with their way in the second of the two places.
    pub second_place: u32,
    /// From where there is a way to the destinations.
    pub reach: u32,
    /// The longest IP packet to the first destination.
    pub mtu: u32,
    /// Whether the collectors are on this host.
    pub local: bool,
    /// Ids of options templates.
    pub options: Vec<u16>,
    /// Whether the session is in the maps.
    pub known: bool,
    /// Address that the receiver is bound to; for all addresses otherwise.
    pub bound: bool,
    pub shut: bool,
    pub cpu: u32,
    pub state: State,
}

impl World {
    /// RoundRobin in the middle of a session that the program may forward. The last destination had
    /// the last message, and it is the first one's turn.
    pub fn round_robin(destinations: usize) -> Self {
        let mut outgoing = [0; MAX_DESTINATIONS];
        for (number, outgoing) in (0..).zip(outgoing.iter_mut().take(destinations)) {
            *outgoing = 100 * (number + 1);
        }
        let holder = u32::try_from(destinations).unwrap_or(FIRST).wrapping_sub(1);
        Self::new(Mode::RoundRobin, destinations, Sequence { credited: 5000, holder }, outgoing)
    }

    /// RoundRobin before the first message of flow data, whose number will be 5000 if nothing is lost.
    pub fn fresh(destinations: usize) -> Self {
        let line = Sequence::starting_at(5000);
        Self::new(Mode::RoundRobin, destinations, line, [0; MAX_DESTINATIONS])
    }

    /// All.
    pub fn everyone(destinations: usize) -> Self {
        let line = Sequence::starting_at(0);
        Self::new(Mode::All, destinations, line, [0; MAX_DESTINATIONS])
    }

    fn new(
        mode: Mode,
        destinations: usize,
        line: Sequence,
        outgoing: [u32; MAX_DESTINATIONS],
    ) -> Self {
        let handover =
            Handover { lock: 0, passed: 41, marked: 3, mark_number: 17, handled: 41, wanted: 3 };
        let state =
            State { turn: 0, line, outgoing, forwarded: 9, handover, mark: [0xee; MARK_LEN] };
        Self {
            family: Family::V4,
            mode,
            destinations,
            takers: u32::MAX >> 32_usize.saturating_sub(destinations),
            unsynced: 0,
            second_place: 0b1010,
            reach: FROM_XDP | FROM_TC | FROM_HOST,
            mtu: MTU,
            local: false,
            options: vec![400],
            known: true,
            bound: false,
            shut: false,
            cpu: ANY_CPU,
            state,
        }
    }

    /// The same over IPv6.
    pub fn v6(mut self) -> Self {
        self.family = Family::V6;
        self
    }

    /// The same with something changed.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The exporter.
    pub fn exporter(&self) -> SocketAddr {
        (self.ip(1, 2), 40_000).into()
    }

    /// The receiver.
    pub fn receiver(&self) -> SocketAddr {
        (self.ip(1, 1), 4739).into()
    }

    /// A collector.
    pub fn collector(&self, destination: usize) -> SocketAddr {
        (self.ip(2, 10 + small(destination)), 5000 + u16::from(small(destination))).into()
    }

    /// The session's socket to a collector.
    pub fn source(&self, destination: usize) -> SocketAddr {
        (self.ip(3, 1), 20_000 + u16::from(small(destination))).into()
    }

    /// A frame from the exporter to the receiver.
    pub fn frame(&self, datagram: &[u8]) -> Frame {
        Frame::udp(self.exporter(), self.receiver(), datagram).ttl(61).tos(0xb8)
    }

    /// Bytes of the IP and UDP headers.
    pub fn headers(&self) -> usize {
        match self.family {
            Family::V4 => 28,
            Family::V6 => 48,
        }
    }

    fn ip(&self, network: u8, host: u8) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(10, network, 0, host).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, network.into(), 0, 0, 0, 0, 0, host.into()).into(),
        }
    }
}

/// Interface that packets to a collector leave by: two have one in common.
pub fn interface(destination: usize) -> u32 {
    INTERFACES + u32::from(small(destination) / 2)
}

/// Ethernet address of that interface.
pub fn interface_mac(destination: usize) -> Mac {
    [2, 0xaa, 0, 0, 0, small(destination)]
}

/// Ethernet address of the collector.
pub fn next_hop(destination: usize) -> Mac {
    [2, 0xbb, 0, 0, 0, small(destination)]
}

fn small(destination: usize) -> u8 {
    u8::try_from(destination).unwrap_or(u8::MAX)
}
