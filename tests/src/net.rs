//! Free ports on loopback, each given out once.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{lab, poll};

/// IPv4 loopback.
pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// IPv6 loopback.
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Below the range that the kernel takes outgoing ports from, so that no connection of a test
/// that runs at the same time can sit on the port.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// How long a started process may keep copies of this one's sockets, see [`bind`].
const LINGER: Duration = Duration::from_secs(5);

/// One abstract unix socket a port: a reservation that other test processes see, and that the
/// kernel gives back when this process ends, however it ends.
static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port that nobody listens on, TCP or UDP, and that no other caller gets while this process
/// lives.
pub fn free_port(ip: IpAddr) -> Result<u16> {
    let first = starting_point();
    let ports = RANGE.cycle_from(first);
    for port in ports {
        // Before it is looked at: looking binds it for a moment, which must not meet its owner.
        let Ok(reservation) = reserve(port) else { continue };
        let mut reserved = RESERVED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reserved.push(reservation);
        drop(reserved);
        if is_free(SocketAddr::new(ip, port))? {
            return Ok(port);
        }
    }
    bail!("no free port in {RANGE:?} on {ip}");
}

/// A free address on `ip`; see [`free_port`].
pub fn free_address(ip: IpAddr) -> Result<SocketAddr> {
    Ok(SocketAddr::new(ip, free_port(ip)?))
}

/// Binds to a port that is free. A process that is being started elsewhere in this one has copies of
/// all sockets for a moment, also of those by which [`free_port`] looked: they are waited for.
pub(crate) fn bind<T>(mut attempt: impl FnMut() -> io::Result<T>) -> Result<T> {
    let bound = poll::until(LINGER, "nobody has the port", || match attempt() {
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        result => Some(result),
    });
    Ok(bound??)
}

trait CycleFrom {
    fn cycle_from(&self, first: u16) -> impl Iterator<Item = u16>;
}

impl CycleFrom for std::ops::Range<u16> {
    fn cycle_from(&self, first: u16) -> impl Iterator<Item = u16> {
        (first..self.end).chain(self.start..first)
    }
}

/// Different processes start to look at different places, to find a free port at once.
fn starting_point() -> u16 {
    let spread = u32::from(RANGE.end - RANGE.start);
    let offset = std::process::id().wrapping_mul(977) % spread;
    RANGE.start + u16::try_from(offset).unwrap_or(0)
}

/// Fails where no port is free because there is no such address.
fn is_free(address: SocketAddr) -> Result<bool> {
    let bound = TcpListener::bind(address).and_then(|_| UdpSocket::bind(address));
    match bound {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error).with_context(|| address.to_string()),
    }
}

fn reserve(port: u16) -> Result<UnixListener> {
    let name = format!("ipfix-balancer-tests-port-{port}");
    let address = UnixAddr::from_abstract_name(name)?;
    // Such a name is known in one network namespace only, and its socket keeps that alive.
    Ok(lab::at_home(|| UnixListener::bind_addr(&address))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_out_once() {
        let ports: std::collections::BTreeSet<_> =
            (0..20).map(|_| free_port(V4).unwrap()).collect();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }

    #[test]
    fn a_taken_port_is_not_free() {
        let holder = UdpSocket::bind((V6, 0)).unwrap();
        assert!(!is_free(holder.local_addr().unwrap()).unwrap());
    }

    #[test]
    fn an_address_of_somebody_else_has_no_ports() {
        let error = free_port(IpAddr::from([192, 0, 2, 1])).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }
}
