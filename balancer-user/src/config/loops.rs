//! Loops: destinations that are the receiver itself, or lead back to it through another one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Destination, Environment, Host, Mode, Reason, Receiver,
    fault::{Findings, Place},
    params::{BALANCER_SUB, BALANCER_SUB_PROTO, BIND, DUMP_INSERT_PROCESSES},
    receivers::Candidate,
};

/// Names that every machine gives itself. Names below `localhost` are its own, too (RFC 6761).
const LOOPBACK_NAMES: [&str; 4] =
    ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];

/// Reports every destination that messages come back from.
pub(super) fn check(candidates: &[Candidate], environment: &Environment, findings: &mut Findings) {
    let sound = |candidate: &&Candidate| {
        let known = [BIND, BALANCER_SUB_PROTO].into_iter().all(|name| candidate.sound(name));
        known && candidate.has_port()
    };
    let candidates: Vec<&Candidate> = candidates.iter().filter(sound).collect();
    let receivers: Vec<&Receiver> = candidates.iter().map(|c| c.receiver()).collect();
    for candidate in &candidates {
        let own = candidate.receiver();
        for (name, destination) in outputs(own) {
            let hit = |receiver: &&&Receiver| listens_at(receiver, destination, environment);
            let mut next = receivers.iter().filter(hit);
            let Some(via) = next.find(|next| leads_to(next, own, &receivers, environment)) else {
                continue;
            };
            let via = (via.id != own.id).then_some(via.id);
            let text = destination.address();
            findings.fault(Place { text, ..candidate.place(name) }, Reason::Loop(via));
        }
    }
}

/// Everything that a receiver, or a subreceiver that it launches, sends to, with the parameter that
/// says so.
fn outputs(receiver: &Receiver) -> impl Iterator<Item = (&'static str, &Destination)> {
    let balances = receiver.mode != Mode::Disabled;
    let copies = if receiver.records() { receiver.record.copies.as_slice() } else { &[] };
    let subreceivers = if balances { receiver.destinations.as_slice() } else { &[] };
    let subreceivers = subreceivers.iter().map(|output| (BALANCER_SUB, output));
    subreceivers.chain(copies.iter().map(|output| (DUMP_INSERT_PROCESSES, output)))
}

/// Whether messages that `from` gets can reach `to`.
fn leads_to(
    from: &Receiver,
    to: &Receiver,
    receivers: &[&Receiver],
    environment: &Environment,
) -> bool {
    let mut reached = vec![from.id];
    let mut pending = vec![from];
    while let Some(receiver) = pending.pop() {
        if receiver.id == to.id {
            return true;
        }
        for next in receivers {
            let hit = outputs(receiver).any(|(_, output)| listens_at(next, output, environment));
            if hit && !reached.contains(&next.id) {
                reached.push(next.id);
                pending.push(next);
            }
        }
    }
    false
}

/// Whether what is sent to the destination arrives at the receiver.
pub(super) fn listens_at(
    receiver: &Receiver,
    destination: &Destination,
    environment: &Environment,
) -> bool {
    if (receiver.protocol, receiver.port) != (destination.protocol, destination.port) {
        return false;
    }
    let addresses = addresses(&destination.host, environment);
    addresses.into_iter().any(|ip| match receiver.bind.map(|bind| bind.to_canonical()) {
        None => true,
        Some(IpAddr::V4(bind)) if bind.is_unspecified() => ip.is_ipv4(),
        // IPv4 arrives at :: as well.
        Some(IpAddr::V6(bind)) if bind.is_unspecified() => true,
        Some(bind) => ip == bind,
    })
}

/// The addresses of this machine that a host stands for; none when it is another machine.
pub(super) fn addresses(host: &Host, environment: &Environment) -> Vec<IpAddr> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    match host {
        Host::Ip(ip) => {
            Some(connected(*ip)).filter(|ip| is_local(*ip, environment)).into_iter().collect()
        }
        Host::Name(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let own = |own: &String| own.eq_ignore_ascii_case(&name);
            if LOOPBACK_NAMES.contains(&name.as_str()) || name.ends_with(".localhost") {
                loopback.to_vec()
            } else if environment.local_names.iter().any(own) {
                environment.local_addresses.iter().copied().chain(loopback).collect()
            } else {
                Vec::new()
            }
        }
    }
}

/// Who is reached: the unspecified address stands for this machine's loopback.
fn connected(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Whether an address is one of this machine's.
pub(super) fn is_local(ip: IpAddr, environment: &Environment) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified() || environment.local_addresses.contains(&ip)
}

/// Whether a destination is certainly on another machine. What a name stands for is not known.
pub(super) fn is_elsewhere(destination: &Destination, environment: &Environment) -> bool {
    match destination.host {
        Host::Ip(ip) => !is_local(ip, environment),
        Host::Name(_) => false,
    }
}
