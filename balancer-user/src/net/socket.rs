//! Opening and tuning sockets.

use std::{
    io,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    time::Duration,
};

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use thiserror::Error;

use super::mmsg::{ipv6_mtu, tcp_info, unsent};
use crate::config::Protocol;

/// Bytes of kernel buffer asked for on every UDP input and output. At 1 Gbit/s this rides out
/// 130 ms in which the handler does not run.
pub const UDP_BUFFER: usize = 16 << 20;
/// The same for every exporter over TCP. Half a message that waits there for its other half keeps whole
/// packets in memory, up to 300 KiB on loopback, and where less is left free than such a packet takes,
/// the kernel closes the window (RFC 9293 section 3.8.6.2.2): the other half would never come.
pub const TCP_BUFFER: usize = 1 << 20;
/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// How long a collector may leave what it was sent unacknowledged (TCP_USER_TIMEOUT).
pub const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(10);
/// After so much silence a collector is asked whether it is still there ...
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// ... and again, until it answers or [`COLLECTOR_TIMEOUT`] is over.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const UDP_HEADER: usize = 8;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// A socket that could not be opened.
#[derive(Debug, Error)]
#[error("can't listen on {protocol} {address}: {source}; {hint}")]
pub struct ListenError {
    protocol: Protocol,
    address: SocketAddr,
    source: io::Error,
    hint: &'static str,
}

/// A receiver's listening socket, and what the kernel granted it.
#[derive(Debug)]
pub struct Listening {
    /// The socket, non-blocking.
    pub socket: Socket,
    /// Where it listens.
    pub address: SocketAddr,
    /// Receive buffer in bytes where the system's limit cut it short of what was asked for.
    pub capped_buffer: Option<usize>,
}

/// Listens on `port` of `bind`, or of all addresses, IPv4 and IPv6 in one socket.
pub fn listen(
    protocol: Protocol,
    bind: Option<IpAddr>,
    port: u16,
) -> Result<Listening, ListenError> {
    let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let address = SocketAddr::new(bind.unwrap_or(everywhere), port);
    match open_listening(protocol, address) {
        // A kernel without IPv6.
        Err(error)
            if bind.is_none()
                && matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                ) =>
        {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            open_listening(protocol, address).map_err(|source| refuse(protocol, address, source))
        }
        result => result.map_err(|source| refuse(protocol, address, source)),
    }
}

fn refuse(protocol: Protocol, address: SocketAddr, source: io::Error) -> ListenError {
    let hint = match source.raw_os_error() {
        Some(libc::EADDRINUSE) => "another program has the port: `ss -lntup` shows which",
        Some(libc::EADDRNOTAVAIL) => "BIND is no address of this host",
        Some(libc::EACCES) => "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        Some(libc::EMFILE | libc::ENFILE) => "too many open files: raise the limit (LimitNOFILE)",
        _ => "check PORT and BIND",
    };
    ListenError { protocol, address, source, hint }
}

fn open_listening(protocol: Protocol, address: SocketAddr) -> io::Result<Listening> {
    let socket = Socket::new(Domain::for_address(address), socket_type(protocol), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_nonblocking(true)?;
    let mut capped_buffer = None;
    match protocol {
        Protocol::Tcp => {
            socket.set_reuse_address(true)?;
            // Connections inherit it; theirs would not open the window any more. What an ordinary
            // host grants without privileges is enough.
            let _ = enlarge_receive_buffer(&socket, TCP_BUFFER);
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
        }
        Protocol::Udp => {
            capped_buffer = enlarge_receive_buffer(&socket, UDP_BUFFER);
            setsockopt(&socket, sockopt::RxqOvfl, &1)?;
            // Without GRO (before Linux 5.0) datagrams come one by one.
            let _ = join_datagrams(&socket, true);
            tell_local_address(&socket, address)?;
            socket.bind(&address.into())?;
        }
    }
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Listening { socket, address, capped_buffer })
}

/// Notices within two minutes that a peer has vanished without closing its connection.
pub fn keep_alive(stream: &impl AsFd) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// Notices within [`COLLECTOR_TIMEOUT`] that what was sent to a collector is not acknowledged any
/// more, and soon after that that it is gone while there is nothing to send.
pub fn watch_collector(stream: &impl AsFd) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    // With a user time-out the kernel goes by that, and not by the number of probes.
    SockRef::from(stream).set_tcp_keepalive(&probes)?;
    limit_silence(stream, true)
}

/// Whether a connection is given up after [`COLLECTOR_TIMEOUT`] without an acknowledgement. The
/// kernel counts a window that stays shut as well, as if nobody had answered: a collector that
/// takes nothing at present is to be spared.
pub fn limit_silence(stream: &impl AsFd, limit: bool) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(limit.then_some(COLLECTOR_TIMEOUT))
}

/// How far a TCP connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpProgress {
    /// Bytes written that the other end's TCP has not acknowledged.
    pub unacknowledged: usize,
    /// Bytes that the other end has room for; 0 also on kernels before 5.4, which do not tell.
    pub window: usize,
    /// Whether something is to be sent, and nothing under way: the window does not let it.
    pub is_shut: bool,
}

/// Asks how far a TCP connection has got; of one that is over, how far it had.
pub fn tcp_progress(stream: &impl AsFd) -> io::Result<TcpProgress> {
    // First: the window may then be newer than the acknowledgement, never older.
    let unacknowledged = unsent(stream.as_fd())?;
    let info = tcp_info(stream.as_fd())?;
    Ok(TcpProgress {
        unacknowledged,
        window: usize::try_from(info.tcpi_snd_wnd).unwrap_or(usize::MAX),
        is_shut: unacknowledged > 0 && info.tcpi_unacked == 0,
    })
}

/// Opens a UDP socket to `destination`, from `source` if that is free, else from a source port of its
/// own.
pub fn connect_udp(destination: SocketAddr, source: Option<SocketAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(destination), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if setsockopt(&socket, sockopt::SndBufForce, &UDP_BUFFER).is_err() {
        socket.set_send_buffer_size(UDP_BUFFER)?;
    }
    if let Some(source) = source {
        let _ = socket.bind(&source.into());
    }
    // Without it the kernel keeps to itself that a host or a network can't be reached.
    match destination {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    socket.connect(&destination.into())?;
    Ok(socket)
}

/// Takes the error that has come for a UDP socket, if any, and what the kernel has kept of the datagrams
/// that brought it, of which there may be many.
pub fn take_errors(socket: &impl AsFd) -> io::Result<Option<io::Error>> {
    let socket = SockRef::from(socket);
    let error = socket.take_error()?;
    while socket.recv_with_flags(&mut [MaybeUninit::uninit(); 1], libc::MSG_ERRQUEUE).is_ok() {}
    // Each one that was kept has become the socket's error in its turn.
    socket.take_error()?;
    Ok(error)
}

/// Whether a datagram of a UDP socket has not left this host yet: it waits for a neighbour's address, or
/// for the interface.
pub fn is_sending(socket: &impl AsFd) -> io::Result<bool> {
    Ok(unsent(socket.as_fd())? > 0)
}

/// Lets a connected UDP socket look for its route anew; its own address and port stay.
pub fn reconnect_udp(socket: &impl AsFd, destination: SocketAddr) -> io::Result<()> {
    SockRef::from(socket).connect(&destination.into())
}

/// The longest payload that a connected UDP socket can send without IP fragmentation.
pub fn datagram_limit(socket: &impl AsFd, destination: SocketAddr) -> io::Result<usize> {
    let (mtu, headers) = match destination {
        SocketAddr::V4(_) => (getsockopt(socket, sockopt::IpMtu)?, IPV4_HEADER + UDP_HEADER),
        SocketAddr::V6(_) => (ipv6_mtu(socket.as_fd())?, IPV6_HEADER + UDP_HEADER),
    };
    let payload = usize::try_from(mtu).unwrap_or(0).saturating_sub(headers);
    Ok(payload.min(usize::from(u16::MAX) - headers))
}

/// Lets the kernel join datagrams of equal length on their way to the socket, or not.
pub fn join_datagrams(socket: &Socket, join: bool) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::UdpGroSegment, &join)?)
}

/// Asks for our address that each datagram was sent to. An IPv6 socket tells it of IPv4 as well.
fn tell_local_address(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// Asks for a large buffer, and reads back what there is: the kernel says nothing when it gives
/// less. It reports twice the bytes asked for, because it counts its own book-keeping.
fn enlarge_receive_buffer(socket: &Socket, bytes: usize) -> Option<usize> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        let _ = socket.set_recv_buffer_size(bytes);
    }
    let granted = socket.recv_buffer_size().unwrap_or(0) / 2;
    (granted < bytes).then_some(granted)
}

fn socket_type(protocol: Protocol) -> Type {
    match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_means_both_families() {
        let listening = listen(Protocol::Tcp, None, 0).unwrap();
        let port = listening.address.port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if listening.address.is_ipv6() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_port_in_use_is_refused_with_a_hint() {
        let bind = Some(Ipv4Addr::LOCALHOST.into());
        let first = listen(Protocol::Udp, bind, 0).unwrap();
        let error = listen(Protocol::Udp, bind, first.address.port()).unwrap_err();
        assert!(error.to_string().contains("another program has the port"), "{error}");
    }

    #[test]
    fn datagrams_on_loopback_may_be_as_long_as_udp_allows() {
        for destination in ["127.0.0.1:9", "[::1]:9"] {
            let destination = destination.parse().unwrap();
            let Ok(socket) = connect_udp(destination, None) else { continue };
            let limit = datagram_limit(&socket, destination).unwrap();
            assert!(limit > 60_000, "{limit}");
        }
    }
}
