//! The ways to a receiver's destinations: looked up, and written where the programs find them.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use common::maps::{Destination, FROM_HOST, FROM_TC, FROM_XDP, MAX_INTERFACES, place};

use super::{
    address::{address, mac, port},
    maps::Maps,
};
use crate::route::{Interface, NextHop, Routes, Unresolved};

/// A destination, and what is known of the way to it.
#[derive(Debug)]
pub struct Way {
    /// The collector.
    pub collector: SocketAddr,
    /// What programs are told.
    written: Option<Destination>,
    /// Why there is no way, or not from everywhere, or not the fastest.
    pub obstacle: Option<String>,
    /// The neighbour on the way does not answer.
    pub unanswered: bool,
}

impl Way {
    /// A way that has not been looked for.
    pub fn new(collector: SocketAddr) -> Way {
        Way { collector, written: None, obstacle: None, unanswered: false }
    }

    /// Goes on with what a daemon before this one has written.
    pub fn resume(&mut self, maps: &Maps, (receiver, destination): (u32, u32)) {
        let places = maps.receivers.load(receiver).map_or(0, |row| row.places);
        let bit = places.checked_shr(destination).unwrap_or(0) & 1;
        self.written = maps.destinations.load(place(receiver, destination, bit));
    }

    /// Whether redirected frames can be sent this way, or no program that takes packets in can send
    /// anything: then XDP is as good as TC.
    pub fn takes_xdp(&self) -> bool {
        self.written.is_none_or(|way| way.reach & FROM_XDP != 0 || way.reach & FROM_TC == 0)
    }

    /// The interface that copies leave by at present.
    pub fn device(&self) -> Option<u32> {
        self.written.as_ref().and_then(device)
    }

    /// Sends everything for this destination up, until the way is known again.
    pub fn close(&mut self, maps: &Maps, (receiver, destination): (u32, u32)) {
        let entry = self.written.unwrap_or_else(|| self.nowhere());
        self.follow(Destination { reach: 0, ..entry }, maps, (receiver, destination));
    }

    /// Lets programs know of a change, all of it at once.
    pub fn follow(&mut self, entry: Destination, maps: &Maps, (receiver, destination): (u32, u32)) {
        if self.written != Some(entry) {
            write(maps, receiver, destination, &entry);
            self.written = Some(entry);
        }
    }

    fn nowhere(&self) -> Destination {
        Destination {
            address: address(self.collector.ip()),
            port: port(self.collector.port()),
            ..Destination::default()
        }
    }

    /// Looks for the way anew. Without one, or not from everywhere, or not the fastest, there is an
    /// obstacle.
    pub fn look(&mut self, routes: &mut Routes, interfaces: &[Interface]) -> Destination {
        let (entry, obstacle) = self.search(routes, interfaces);
        self.obstacle = obstacle;
        entry
    }

    fn search(
        &mut self,
        routes: &mut Routes,
        interfaces: &[Interface],
    ) -> (Destination, Option<String>) {
        let mut entry = self.nowhere();
        self.unanswered = false;
        let hop = match source_towards(self.collector) {
            Ok(source) => routes.resolve(self.collector.ip(), source).map_err(|error| {
                self.unanswered = matches!(error, Unresolved::NeighbourFailed);
                error.to_string()
            }),
            Err(error) => Err(error.to_string()),
        };
        let hop = match hop {
            Ok(hop) => hop,
            Err(obstacle) => return (entry, Some(format!("not in the kernel: {obstacle}"))),
        };
        let (reach, obstacle) = reach(&hop, interfaces);
        entry.next_hop = mac(hop.destination_mac);
        entry.interface_mac = mac(hop.source_mac);
        entry.interface = hop.interface;
        entry.mtu = hop.mtu;
        entry.local = hop.local.into();
        entry.reach = reach;
        (entry, obstacle)
    }
}

/// The interface that copies leave by, where there is a way for them.
pub fn device(way: &Destination) -> Option<u32> {
    (way.reach & FROM_XDP != 0).then_some(way.interface)
}

/// From where a packet can take this way.
fn reach(hop: &NextHop, interfaces: &[Interface]) -> (u32, Option<String>) {
    if hop.local {
        let obstacle = "in the kernel for exporters on this host alone, as it is here itself";
        return (FROM_HOST, Some(obstacle.to_owned()));
    }
    let interface = interfaces.iter().find(|interface| interface.index == hop.interface);
    let takes_xdp = interface.and_then(|i| i.xdp).is_none_or(|features| features.transmit);
    let name = interface.map_or("its interface", |interface| &interface.name);
    let why = match hop.interface as usize {
        MAX_INTERFACES.. => format!("{name} has a number above {}", MAX_INTERFACES - 1),
        _ if takes_xdp => return (FROM_XDP | FROM_TC | FROM_HOST, None),
        _ => format!("the driver of {name} sends no redirected XDP frames"),
    };
    let obstacle = format!("at TC instead of XDP: {why}");
    (FROM_TC | FROM_HOST, Some(obstacle))
}

/// Writes an entry into the place that is not in use, and then puts that one to use.
fn write(maps: &Maps, receiver: u32, destination: u32, entry: &Destination) {
    let Some(mut row) = maps.receivers.load(receiver) else { return };
    let mask = 1_u32.checked_shl(destination).unwrap_or(0);
    row.places ^= mask;
    let bit = u32::from(row.places & mask != 0);
    maps.destinations.store(place(receiver, destination, bit), entry);
    maps.receivers.store(receiver, &row);
}

/// The address that the kernel gives a socket towards `collector`.
fn source_towards(collector: SocketAddr) -> std::io::Result<IpAddr> {
    let any = match collector {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(collector)?;
    Ok(socket.local_addr()?.ip())
}
