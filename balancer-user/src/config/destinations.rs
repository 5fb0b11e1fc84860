//! Lists of destinations: `ip/port, ...` and `ip/port/proto, ...`.

use std::{collections::HashSet, net::IpAddr};

use super::{
    Destination, Host, Protocol, Reason,
    params::{Bad, MAX_COPIES, MAX_DESTINATIONS, list},
};

/// A host name is no longer, RFC 1035 section 2.3.4.
const MAX_NAME: usize = 253;
/// Nor is a part of it.
const MAX_LABEL: usize = 63;

/// `BALANCER_SUB`. Their protocol is another parameter's matter: TCP until that is known.
pub(super) fn subreceivers(text: &str) -> (Vec<Destination>, Vec<Bad>) {
    let list = list(text, |element| match *parts(element) {
        [host, port] => destination(element, host, port, Protocol::Tcp),
        [host, port, protocol] if protocol.parse::<Protocol>().is_ok() => {
            let nearest = Some(format!("{host}/{port}"));
            Err(bad(element, "the protocol goes into BALANCER_SUB_PROTO", nearest))
        }
        _ => Err(bad(element, "not ip/port", with_slash(element))),
    });
    checked(list, MAX_DESTINATIONS)
}

/// `DUMP_INSERT_PROCESSES`.
pub(super) fn copies(text: &str) -> (Vec<Destination>, Vec<Bad>) {
    let list = list(text, |element| match *parts(element) {
        [host, port, protocol] => match protocol.parse() {
            Ok(protocol) => destination(element, host, port, protocol),
            Err(_) => Err(bad(element, "the protocol is neither tcp nor udp", None)),
        },
        [host, port] => {
            let nearest = Some(format!("{host}/{port}/{}", Protocol::Tcp));
            Err(bad(element, "the protocol is missing", nearest))
        }
        _ => Err(bad(element, "not ip/port/proto", None)),
    });
    checked(list, MAX_COPIES)
}

/// As in `BALANCER_SUB`.
pub(super) fn show_subreceivers(destinations: &[Destination]) -> String {
    let texts = destinations.iter().map(Destination::address);
    texts.collect::<Vec<_>>().join(", ")
}

/// As in `DUMP_INSERT_PROCESSES`.
pub(super) fn show_copies(destinations: &[Destination]) -> String {
    destinations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn parts(element: &str) -> Vec<&str> {
    element.split('/').map(str::trim).collect()
}

fn bad(element: &str, why: &'static str, nearest: Option<String>) -> Bad {
    Bad { nearest, ..Bad::part(element, Reason::BadElement(why)) }
}

/// `ip:port` is a common slip. Not with IPv6, where a colon says nothing.
fn with_slash(element: &str) -> Option<String> {
    let (host, port) = element.rsplit_once(':')?;
    let right = port.parse::<u16>().is_ok() && (host.ends_with(']') || !host.contains(':'));
    right.then(|| format!("{host}/{port}"))
}

fn destination(
    element: &str,
    host: &str,
    port: &str,
    protocol: Protocol,
) -> Result<Destination, Bad> {
    let host =
        read_host(host).ok_or_else(|| bad(element, "not an IP address or host name", None))?;
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(element, "the port is not a number", None));
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(bad(element, "the port is not in 1 to 65535", None)),
        Ok(port) => Ok(Destination { host, port, protocol }),
    }
}

fn read_host(text: &str) -> Option<Host> {
    if let Some(inside) = text.strip_prefix('[') {
        let ip = inside.strip_suffix(']')?.parse().ok()?;
        return Some(Host::Ip(IpAddr::V6(ip)));
    }
    match text.parse() {
        Ok(ip) => Some(Host::Ip(ip)),
        Err(_) => is_name(text).then(|| Host::Name(text.to_owned())),
    }
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let hyphens = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && label.len() <= MAX_LABEL && !hyphens && label.bytes().all(good)
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or_default();
    // A name that ends in a number is a mistyped address.
    let number = last.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= MAX_NAME && !number && text.split('.').all(label)
}

fn checked(list: (Vec<Destination>, Vec<Bad>), most: usize) -> (Vec<Destination>, Vec<Bad>) {
    let (destinations, mut bad) = list;
    if destinations.len() > most {
        bad.push(Bad::whole(Reason::TooManyDestinations(destinations.len())));
    }
    let mut seen = HashSet::new();
    let twice = destinations.iter().filter(|d| !seen.insert(canonical(d)));
    let fault = |d: &Destination| Bad::part(&d.address(), Reason::DestinationTwice);
    bad.extend(twice.map(fault));
    (destinations, bad)
}

/// Equal for two spellings of the same destination.
fn canonical(destination: &Destination) -> (String, u16, Protocol) {
    let host = match &destination.host {
        Host::Ip(ip) => ip.to_canonical().to_string(),
        Host::Name(name) => name.trim_end_matches('.').to_ascii_lowercase(),
    };
    (host, destination.port, destination.protocol)
}
