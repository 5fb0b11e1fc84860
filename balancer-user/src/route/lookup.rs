//! Looking up routes, as the kernel does it for a connected socket.

use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia},
};

use super::{
    Unresolved, interface,
    netlink::{Client, NetlinkError},
};

/// The way to a destination.
#[derive(Debug)]
pub(super) struct Route {
    /// The interface it leaves by.
    pub interface: u32,
    /// The router, where the destination is not on the link.
    pub gateway: Option<IpAddr>,
    /// The route's own MTU, or one that a router on the way has asked for.
    pub mtu: Option<u32>,
    /// Whether the destination is this host.
    pub local: bool,
}

/// The way from `source` to `destination`. An unspecified source leaves the choice to the kernel.
pub(super) fn route(
    client: &mut Client,
    destination: IpAddr,
    source: IpAddr,
) -> Result<Route, Unresolved> {
    if destination.is_ipv4() != source.is_ipv4() {
        return Err(Unresolved::ForeignSource);
    }
    if let IpAddr::V6(address) = destination
        && address.is_unicast_link_local()
    {
        return Err(Unresolved::LinkLocal);
    }
    match client.ask_one(RouteNetlinkMessage::GetRoute(request(destination, source))) {
        Ok(answer) => read(&RouteMessage::parse(&*answer).map_err(NetlinkError::Answer)?),
        Err(error) => Err(refused(client, source, error)),
    }
}

fn request(destination: IpAddr, source: IpAddr) -> RouteMessage {
    let (family, bits) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(destination)));
    if !source.is_unspecified() {
        message.header.source_prefix_length = bits;
        message.attributes.push(RouteAttribute::Source(RouteAddress::from(source)));
    }
    message
}

fn read(message: &RouteMessage) -> Result<Route, Unresolved> {
    let local = match message.header.kind {
        RouteType::Local => true,
        RouteType::Unicast => false,
        RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast => {
            return Err(Unresolved::NotUnicast);
        }
        RouteType::Unreachable => return Err(Unresolved::Unreachable),
        RouteType::Prohibit => return Err(Unresolved::Prohibited),
        RouteType::BlackHole => return Err(Unresolved::Blackhole),
        _ => return Err(Unresolved::NoRoute),
    };
    let mut interface = None;
    let mut route = Route { interface: 0, gateway: None, mtu: None, local };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway))
            | RouteAttribute::Via(RouteVia::Inet(gateway)) => {
                route.gateway = Some(IpAddr::V4(*gateway));
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway))
            | RouteAttribute::Via(RouteVia::Inet6(gateway)) => {
                route.gateway = Some(IpAddr::V6(*gateway));
            }
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            // What leaves by this route is packed into other packets first.
            RouteAttribute::EncapType(_) | RouteAttribute::Encap(_) => {
                return Err(Unresolved::Encapsulated);
            }
            _ => {}
        }
    }
    route.interface = interface.ok_or(Unresolved::NoRoute)?;
    Ok(route)
}

/// What an error says of the route. The kernel has the same numbers for a source that is no
/// address of this host.
fn refused(client: &mut Client, source: IpAddr, error: NetlinkError) -> Unresolved {
    let reason = match error.refusal() {
        Some(libc::ENETUNREACH | libc::ESRCH) => Unresolved::NoRoute,
        Some(libc::EHOSTUNREACH) => Unresolved::Unreachable,
        Some(libc::EACCES) => Unresolved::Prohibited,
        Some(libc::EINVAL) => Unresolved::Blackhole,
        _ => return Unresolved::Netlink(error),
    };
    let own = |addresses: Vec<(u32, IpAddr)>| addresses.iter().any(|(_, own)| *own == source);
    match interface::addresses(client).map(own) {
        Ok(false) if !source.is_unspecified() && !source.is_loopback() => Unresolved::ForeignSource,
        _ => reason,
    }
}
