//! Interfaces, routes, neighbours, ports and collectors.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};

use procfs::net::{ARPFlags, arp};

use super::{Check, Finding, Need};
use crate::{
    config::{Destination, Host, Protocol, Receiver},
    net::socket::listen,
};

/// How long a collector may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// Looks at the network. What a running daemon has in use is known to work, or told by its status:
/// ports and collectors are tried only without one.
pub fn look(receivers: &[&Receiver], need: Need, runs: bool) -> Vec<Finding> {
    let mut findings = interfaces(need);
    let mut destinations: Vec<&Destination> = receivers.iter().flat_map(|r| r.outputs()).collect();
    destinations.sort_by_key(|destination| destination.to_string());
    destinations.dedup();
    let resolved: Vec<_> =
        destinations.iter().map(|destination| (*destination, resolve(destination))).collect();
    let addresses = resolved.iter().filter_map(|(_, address)| address.as_ref().ok());
    findings.extend(neighbours(
        &silent_neighbours(),
        &addresses.map(SocketAddr::ip).collect::<Vec<_>>(),
    ));
    for (destination, address) in &resolved {
        findings.push(route(destination, address.as_ref().map_err(ToString::to_string), connected));
    }
    if !runs {
        findings.extend(receivers.iter().map(|receiver| port(receiver, try_port(receiver))));
        let tcp = resolved.iter().filter(|(destination, _)| destination.protocol == Protocol::Tcp);
        for (destination, address) in
            tcp.filter_map(|(d, address)| Some((d, address.as_ref().ok()?)))
        {
            findings.push(collector(
                destination,
                TcpStream::connect_timeout(address, CONNECT).map(drop),
            ));
        }
    }
    findings
}

#[cfg(feature = "kernel")]
fn interfaces(need: Need) -> Vec<Finding> {
    match (need, crate::route::interfaces()) {
        (Need::None, _) => Vec::new(),
        (_, Ok(interfaces)) => interfaces.iter().filter_map(interface).collect(),
        (_, Err(error)) => {
            let advice = "Run doctor where the daemon runs.";
            vec![Finding::warn(
                Check::Interface,
                format!("interfaces can't be looked at: {error}"),
                advice,
            )]
        }
    }
}

#[cfg(not(feature = "kernel"))]
fn interfaces(_: Need) -> Vec<Finding> {
    Vec::new()
}

/// What the kernel path can do at an interface; nothing to say of loopback and those that are off.
#[cfg(feature = "kernel")]
pub(super) fn interface(interface: &crate::route::Interface) -> Option<Finding> {
    const CHECK: Check = Check::Interface;
    let name = &interface.name;
    if interface.kind.as_deref() == Some("loopback") || !interface.up {
        return None;
    }
    if interface.mac.is_none() {
        let advice = "Have exporters and collectors on Ethernet where it has to be fast.";
        return Some(Finding::warn(
            CHECK,
            format!("{name}: no Ethernet, so no kernel path"),
            advice,
        ));
    }
    Some(match interface.xdp {
        Some(xdp) if xdp.native && xdp.redirect => {
            Finding::ok(CHECK, format!("{name}: native XDP"))
        }
        Some(_) => Finding::warn(
            CHECK,
            format!("{name}: its driver has no XDP with redirection, so programs run at TC"),
            "It works, with about three times the CPU time a message; a network card whose driver has \
             native XDP is better.",
        ),
        None => Finding::ok(
            CHECK,
            format!("{name}: this kernel (before 6.3) does not tell whether it has XDP"),
        ),
    })
}

fn resolve(destination: &Destination) -> io::Result<SocketAddr> {
    let port = destination.port;
    match &destination.host {
        Host::Ip(ip) => Ok(SocketAddr::new(*ip, port)),
        Host::Name(name) => {
            let first = (name.as_str(), port).to_socket_addrs()?.next();
            first.ok_or_else(|| io::Error::other("the name has no address"))
        }
    }
}

/// IPv4 neighbours that have been asked for their Ethernet address and have not answered.
fn silent_neighbours() -> Vec<IpAddr> {
    let silent =
        arp().unwrap_or_default().into_iter().filter(|entry| !entry.flags.contains(ARPFlags::COM));
    silent.map(|entry| entry.ip_address.into()).collect()
}

pub(super) fn neighbours(silent: &[IpAddr], wanted: &[IpAddr]) -> Vec<Finding> {
    let silent = wanted.iter().filter(|ip| silent.contains(ip));
    let fail = |ip: &IpAddr| {
        let found = format!("{ip} does not answer ARP");
        Finding::fail(
            Check::Neighbour,
            found,
            "Look at the collector's host, its address, cable and VLAN.",
        )
    };
    silent.map(fail).collect()
}

/// Asks the kernel for a route, without sending anything.
fn connected(address: SocketAddr) -> io::Result<SocketAddr> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.local_addr()
}

pub(super) fn route(
    destination: &Destination,
    address: Result<&SocketAddr, String>,
    source_for: impl Fn(SocketAddr) -> io::Result<SocketAddr>,
) -> Finding {
    const CHECK: Check = Check::Route;
    match address.map(|address| source_for(*address)) {
        Err(error) => Finding::fail(
            CHECK,
            format!("{destination}: the name can't be resolved: {error}"),
            "Look at /etc/hosts and the name server, or write the address.",
        ),
        Ok(Err(error)) => Finding::fail(
            CHECK,
            format!("{destination}: {error}"),
            "Add a route to it (`ip route`), or correct the address.",
        ),
        Ok(Ok(source)) => {
            Finding::ok(CHECK, format!("{destination} is reached from {}", source.ip()))
        }
    }
}

fn try_port(receiver: &Receiver) -> Result<(), String> {
    let listening = listen(receiver.protocol, receiver.bind, receiver.port);
    listening.map(drop).map_err(|error| error.to_string())
}

pub(super) fn port(receiver: &Receiver, outcome: Result<(), String>) -> Finding {
    const CHECK: Check = Check::Port;
    let Receiver { id, port, protocol, .. } = receiver;
    match outcome {
        Ok(()) => Finding::ok(CHECK, format!("{id}: {port}/{protocol} is free")),
        Err(error) => Finding::fail(
            CHECK,
            format!("{id}: {error}"),
            format!(
                "`ss -lntup 'sport = {port}'` says who has it; stop that, or choose another PORT."
            ),
        ),
    }
}

pub(super) fn collector(destination: &Destination, outcome: io::Result<()>) -> Finding {
    const CHECK: Check = Check::Collector;
    match outcome {
        Ok(()) => Finding::ok(CHECK, format!("{destination} accepts connections")),
        Err(error) => Finding::warn(
            CHECK,
            format!("{destination}: {error}"),
            "Start the collector, and look at firewalls on the way.",
        ),
    }
}
