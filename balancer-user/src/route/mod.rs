//! What the kernel path must know of the network: by which interface, and to which Ethernet
//! address, a message to a collector leaves.
//!
//! All of it comes from the kernel by netlink. The balancer does not keep a copy of routing
//! tables: it looks every destination up, and does it again after each tick of [`Changes`].

mod changes;
mod interface;
mod lookup;
mod neighbours;
mod netlink;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};
use thiserror::Error;

pub use self::{
    changes::Changes,
    interface::{Interface, XdpFeatures},
    netlink::NetlinkError,
};
use self::{
    interface::Link,
    lookup::Route,
    neighbours::{Key, Neighbours},
    netlink::Client,
};

/// How a packet to a destination leaves this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// The interface's index.
    pub interface: u32,
    /// The longest packet that may be sent: the smallest of the route's MTU and the interface's.
    pub mtu: u32,
    /// The interface's Ethernet address.
    pub source_mac: [u8; 6],
    /// The Ethernet address of the collector, or of the router on the way to it.
    pub destination_mac: [u8; 6],
    /// The collector is on this host. Ethernet addresses are zero then.
    pub local: bool,
}

/// Why there is no [`NextHop`].
#[derive(Debug, Error)]
pub enum Unresolved {
    /// A route of type `blackhole`.
    #[error("the route to it is a black hole")]
    Blackhole,
    /// A tunnel without an interface of its own: MPLS, segment routing, ...
    #[error("the route to it encapsulates packets")]
    Encapsulated,
    /// The source is no address of this host, or of the other address family.
    #[error("the source is no address of this host")]
    ForeignSource,
    /// The interface is switched off, or has no carrier.
    #[error("interface {0} is down")]
    InterfaceDown(String),
    /// Addresses like `fe80::1` are on every interface.
    #[error("a link-local address does not say which interface it is on")]
    LinkLocal,
    /// The neighbour does not answer.
    #[error("the neighbour does not answer")]
    NeighbourFailed,
    /// The neighbour has been asked for its address.
    #[error("the neighbour has not answered yet")]
    NeighbourIncomplete,
    /// The kernel does not know the neighbour.
    #[error("the neighbour is not known")]
    NeighbourMissing,
    /// Netlink does not work as it should.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A tunnel, or another interface whose packets have no Ethernet header.
    #[error("interface {0} has no Ethernet addresses")]
    NoEthernet(String),
    /// No route leads there.
    #[error("there is no route to it")]
    NoRoute,
    /// A broadcast, multicast or anycast address.
    #[error("it is a broadcast, multicast or anycast address")]
    NotUnicast,
    /// A route of type `prohibit`.
    #[error("the route to it is prohibited")]
    Prohibited,
    /// A route of type `unreachable`.
    #[error("the route to it says that it is unreachable")]
    Unreachable,
}

impl Unresolved {
    /// The reason in a word or two, for `status`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole route",
            Self::Encapsulated => "encapsulating route",
            Self::ForeignSource => "foreign source address",
            Self::InterfaceDown(_) => "interface down",
            Self::LinkLocal => "link-local address",
            Self::NeighbourFailed => "neighbour does not answer",
            Self::NeighbourIncomplete => "neighbour being resolved",
            Self::NeighbourMissing => "neighbour unknown",
            Self::Netlink(_) => "netlink error",
            Self::NoEthernet(_) => "no ethernet",
            Self::NoRoute => "no route",
            Self::NotUnicast => "not unicast",
            Self::Prohibited => "prohibited route",
            Self::Unreachable => "unreachable route",
        }
    }
}

/// The routes of a network namespace, and the neighbours on them, which are kept alive.
///
/// Neighbours are released when this is dropped.
#[derive(Debug)]
pub struct Routes {
    route: Client,
    generic: Client,
    neighbours: Neighbours,
}

impl Routes {
    /// The routes of the calling thread's network namespace.
    pub fn new() -> Result<Self, NetlinkError> {
        let mut route = Client::open(NETLINK_ROUTE)?;
        let generic = Client::open(NETLINK_GENERIC)?;
        let neighbours = Neighbours::adopt(&mut route)?;
        Ok(Self { route, generic, neighbours })
    }

    /// The way from `source` to `destination`, as a connected socket takes it. With several next
    /// hops of equal cost it is the one for this pair of addresses.
    ///
    /// The neighbour on the way is kept alive until it has not been asked for in a round; on
    /// kernels before 5.16 this needs a call in every tick of [`Changes`].
    pub fn resolve(&mut self, destination: IpAddr, source: IpAddr) -> Result<NextHop, Unresolved> {
        let (destination, source) = (destination.to_canonical(), source.to_canonical());
        let route = lookup::route(&mut self.route, destination, source)?;
        let link = Link::find(&mut self.route, route.interface)?;
        let mut next_hop = NextHop {
            interface: link.index,
            mtu: mtu(&route, &link, destination),
            source_mac: [0; 6],
            destination_mac: [0; 6],
            local: route.local || link.loopback,
        };
        if next_hop.local {
            return Ok(next_hop);
        }
        next_hop.source_mac = link.mac.ok_or_else(|| Unresolved::NoEthernet(link.name.clone()))?;
        if !link.up {
            return Err(Unresolved::InterfaceDown(link.name));
        }
        let key = Key { interface: link.index, address: route.gateway.unwrap_or(destination) };
        next_hop.destination_mac = self.neighbours.resolve(&mut self.route, key)?;
        Ok(next_hop)
    }

    /// Ends a round: neighbours that no [`Routes::resolve`] has come to since the last call are
    /// not kept alive any longer.
    pub fn release_unused(&mut self) {
        self.neighbours.release_unused(&mut self.route);
    }

    /// Every interface.
    pub fn interfaces(&mut self) -> Result<Vec<Interface>, NetlinkError> {
        interface::list(&mut self.route, &mut self.generic)
    }
}

/// Every interface, for somebody who looks once and keeps no neighbours alive.
pub fn interfaces() -> Result<Vec<Interface>, NetlinkError> {
    interface::list(&mut Client::open(NETLINK_ROUTE)?, &mut Client::open(NETLINK_GENERIC)?)
}

impl Drop for Routes {
    fn drop(&mut self) {
        self.neighbours.release_all(&mut self.route);
    }
}

fn mtu(route: &Route, link: &Link, destination: IpAddr) -> u32 {
    let ipv6 = link.ipv6_mtu.filter(|_| destination.is_ipv6());
    [route.mtu, ipv6].into_iter().flatten().fold(link.mtu, u32::min)
}
