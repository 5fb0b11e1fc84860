//! Many datagrams a system call: `recvmmsg` with GRO, `sendmmsg` with GSO; and what the kernel tells
//! of a socket: the path MTU, what a TCP connection has acknowledged.
//!
//! The one file of the data path with unsafe code. No library serves here: nix never restores the
//! capacity of address and control buffers that it reuses, quinn-udp has no `sendmmsg` and changes
//! the fragmentation policy, rustix has no `recvmmsg`; none has SIOCOUTQ or TCP_INFO.

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Datagrams, or trains of them that GRO has joined, that one call receives.
pub const RECEIVE_SLOTS: usize = 32;
/// Bytes for each: the longest that GRO or IP can deliver.
pub const SLOT_LEN: usize = 1 << 16;
/// Calls of `sendmsg` that one `sendmmsg` stands for.
const SEND_SLOTS: usize = 64;
/// Buffers that one `sendmmsg` gathers from.
const SEND_BUFFERS: usize = 512;
/// Datagrams that GSO cuts from one send (UDP_MAX_SEGMENTS of Linux before 6.9).
const MAX_SEGMENTS: usize = 64;
/// Bytes of payload in one GSO send: what an IPv6 datagram can hold.
const MAX_GSO_BYTES: usize = 65_487;

/// Room for two control messages of four bytes each and one of 20 (`in6_pktinfo`), aligned as
/// `cmsghdr` asks.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 96]);

/// A received datagram, or several of one sender that the kernel has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train {
    /// Where it begins in the slab.
    pub start: usize,
    /// Bytes of all its datagrams.
    pub len: usize,
    /// Bytes of each datagram but the last, which may be shorter.
    pub segment: usize,
    /// Who sent it; IPv4 senders on an IPv6 socket as IPv4.
    pub peer: SocketAddr,
    /// Our address that it was sent to, if the socket was asked to tell; IPv4 likewise.
    pub local: Option<IpAddr>,
}

/// Receives batches of datagrams into a slab of [`RECEIVE_SLOTS`] times [`SLOT_LEN`] bytes.
pub struct Receiver {
    addresses: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    buffers: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// What one call brought beside the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// What the kernel has dropped on this socket since it was opened, modulo 2^32. It counts a
    /// train as one (SO_RXQ_OVFL), and does not say how many datagrams it was.
    pub kernel_drops: Option<u32>,
}

impl Default for Receiver {
    fn default() -> Receiver {
        Receiver {
            addresses: vec![zeroed_address(); RECEIVE_SLOTS],
            controls: vec![Control([0; 96]); RECEIVE_SLOTS],
            buffers: Vec::with_capacity(RECEIVE_SLOTS),
            headers: Vec::with_capacity(RECEIVE_SLOTS),
        }
    }
}

impl Receiver {
    /// Receives what is there, into `trains`, without waiting; `WouldBlock` when nothing is.
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        slab: &mut [u8],
        trains: &mut Vec<Train>,
    ) -> io::Result<Received> {
        trains.clear();
        self.prepare(slab);
        let slots = libc::c_uint::try_from(self.headers.len()).unwrap_or(0);
        // SAFETY: the first `slots` headers are initialised by `prepare`; each points to an
        // address, a control buffer and an iovec that are owned by `self` and not moved until the
        // call returns, and the iovec to its own part of `slab`, which is borrowed for as long.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                slots,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let mut received = Received::default();
        for (slot, header) in self.headers.iter().take(count).enumerate() {
            let len = usize::try_from(header.msg_len).unwrap_or(0).min(SLOT_LEN);
            let control = read_control(&header.msg_hdr);
            received.kernel_drops = control.kernel_drops.or(received.kernel_drops);
            let Some(peer) = self.addresses.get(slot).and_then(peer_address) else { continue };
            let segment = control.segment.filter(|segment| *segment > 0).unwrap_or(len);
            let start = slot * SLOT_LEN;
            trains.push(Train { start, len, segment, peer, local: control.local });
        }
        Ok(received)
    }

    /// Sets every header anew: the kernel writes the lengths it found into them.
    fn prepare(&mut self, slab: &mut [u8]) {
        self.buffers.clear();
        self.headers.clear();
        for slot in slab.chunks_exact_mut(SLOT_LEN).take(RECEIVE_SLOTS) {
            self.buffers
                .push(libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT_LEN });
        }
        let slots = self.buffers.iter_mut().zip(&mut self.addresses).zip(&mut self.controls);
        for ((buffer, address), control) in slots {
            let mut header = empty_header();
            header.msg_name = ptr::from_mut(address).cast();
            header.msg_namelen = socklen(mem::size_of::<libc::sockaddr_storage>());
            header.msg_iov = buffer;
            header.msg_iovlen = 1;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = mem::size_of::<Control>();
            self.headers.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
    }
}

/// Sends batches of datagrams on connected sockets.
pub struct Sender {
    buffers: Vec<libc::iovec>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
    runs: Vec<Run>,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender {
            buffers: Vec::with_capacity(SEND_BUFFERS),
            controls: Vec::with_capacity(SEND_SLOTS),
            headers: Vec::with_capacity(SEND_SLOTS),
            runs: Vec::with_capacity(SEND_SLOTS),
        }
    }
}

impl Sender {
    /// Sends as many of `messages`, a datagram each, as one call takes; says how many.
    ///
    /// Runs of equal length, the last may be shorter, leave as one GSO send if `segment_limit`,
    /// the longest datagram that needs no fragmentation, is given. An error means that the first
    /// message was not sent.
    pub fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        messages: impl Iterator<Item = &'a [u8]>,
        segment_limit: Option<usize>,
    ) -> io::Result<usize> {
        self.gather(messages, segment_limit.unwrap_or(0));
        self.prepare();
        let slots = libc::c_uint::try_from(self.headers.len()).unwrap_or(0);
        // SAFETY: the `slots` headers are initialised by `prepare`; each points to iovecs and a
        // control buffer owned by `self` and not moved until the call returns, and the iovecs to
        // the messages, which are borrowed for 'a, longer than this call. The kernel only reads.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                slots,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.runs.iter().take(count).map(|run| run.messages).sum())
    }

    /// Collects the messages' buffers, and where one send ends and the next begins.
    fn gather<'a>(&mut self, messages: impl Iterator<Item = &'a [u8]>, segment_limit: usize) {
        self.buffers.clear();
        self.runs.clear();
        for message in messages.take(SEND_BUFFERS) {
            let full = self.runs.len() == SEND_SLOTS;
            match self.runs.last_mut() {
                Some(run) if run.takes(message.len(), segment_limit) => run.add(message.len()),
                _ if full => break,
                _ => self.runs.push(Run::of(message.len(), self.buffers.len())),
            }
            let base = message.as_ptr().cast_mut().cast();
            self.buffers.push(libc::iovec { iov_base: base, iov_len: message.len() });
        }
    }

    fn prepare(&mut self) {
        self.controls.clear();
        self.headers.clear();
        self.controls.extend(self.runs.iter().map(|run| segment_control(run.segment)));
        for (run, control) in self.runs.iter().zip(&mut self.controls) {
            let Some(buffers) = self.buffers.get_mut(run.first..run.first + run.messages) else {
                break;
            };
            let mut header = empty_header();
            header.msg_iov = buffers.as_mut_ptr();
            header.msg_iovlen = buffers.len();
            if run.messages > 1 {
                header.msg_control = ptr::from_mut(control).cast();
                header.msg_controllen = SEGMENT_CONTROL_LEN;
            }
            self.headers.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
    }
}

/// Messages that leave in one send.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    messages: usize,
    segment: usize,
    bytes: usize,
    last: usize,
}

impl Run {
    fn of(len: usize, first: usize) -> Run {
        Run { first, messages: 1, segment: len, bytes: len, last: len }
    }

    fn takes(&self, len: usize, segment_limit: usize) -> bool {
        self.last == self.segment
            && self.segment <= segment_limit
            && 0 < len
            && len <= self.segment
            && self.messages < MAX_SEGMENTS
            && self.bytes + len <= MAX_GSO_BYTES
    }

    fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len;
        self.last = len;
    }
}

/// `CMSG_SPACE(sizeof(u16))`: a 16-byte header, the value, padding to 8 bytes.
const SEGMENT_CONTROL_LEN: usize = 24;
const CMSG_HEADER_LEN: usize = 16;

/// The control message that asks for GSO with this segment length.
fn segment_control(segment: usize) -> Control {
    let mut control = Control([0; 96]);
    let len = CMSG_HEADER_LEN + mem::size_of::<u16>();
    let segment = u16::try_from(segment).unwrap_or(u16::MAX);
    let fields = [
        (0..8, &len.to_ne_bytes()[..]),
        (8..12, &libc::SOL_UDP.to_ne_bytes()),
        (12..16, &libc::UDP_SEGMENT.to_ne_bytes()),
        (16..18, &segment.to_ne_bytes()),
    ];
    for (range, bytes) in fields {
        if let Some(field) = control.0.get_mut(range) {
            field.copy_from_slice(bytes);
        }
    }
    control
}

#[derive(Clone, Copy, Debug, Default)]
struct ReceivedControl {
    segment: Option<usize>,
    kernel_drops: Option<u32>,
    local: Option<IpAddr>,
}

fn read_control(header: &libc::msghdr) -> ReceivedControl {
    let mut found = ReceivedControl::default();
    // SAFETY: the kernel has filled `msg_control` up to `msg_controllen`, both of which it keeps
    // within the `Control` that `prepare` pointed the header to; the buffer lives in the receiver.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a pointer to a whole header within
        // the control buffer; `Control` is aligned to 8, and headers follow each other aligned.
        let (level, kind) = unsafe { ((*next).cmsg_level, (*next).cmsg_type) };
        // SAFETY: as above; the data follow the header.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: the kernel has written an int behind this header.
                let segment: libc::c_int = unsafe { ptr::read_unaligned(data.cast()) };
                found.segment = usize::try_from(segment).ok();
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                // SAFETY: the kernel has written a u32 behind this header.
                found.kernel_drops = Some(unsafe { ptr::read_unaligned(data.cast::<u32>()) });
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the kernel has written an in_pktinfo behind this header.
                let info: libc::in_pktinfo = unsafe { ptr::read_unaligned(data.cast()) };
                found.local = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: the kernel has written an in6_pktinfo behind this header.
                let info: libc::in6_pktinfo = unsafe { ptr::read_unaligned(data.cast()) };
                found.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
            }
            _ => {}
        }
        // SAFETY: `next` points into the header's control buffer, as above.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    found
}

fn peer_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in; sockaddr_storage is
            // larger than it and aligned at least as strictly.
            let address = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddr::new(ip.into(), u16::from_be(address.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a sockaddr_in6.
            let address = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr).to_canonical();
            Some(SocketAddr::new(ip, u16::from_be(address.sin6_port)))
        }
        _ => None,
    }
}

/// Path MTU of a connected IPv6 socket, headers included. (nix has the option for IPv4 alone.)
pub fn ipv6_mtu(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let mut mtu: libc::c_int = 0;
    let mut len = socklen(mem::size_of_val(&mtu));
    // SAFETY: `mtu` and `len` live until the call returns, and `len` says how long `mtu` is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU,
            ptr::from_mut(&mut mtu).cast(),
            &mut len,
        )
    };
    if result == 0 { Ok(mtu) } else { Err(io::Error::last_os_error()) }
}

/// Bytes written to a socket that the kernel still has (SIOCOUTQ, which is TIOCOUTQ). TCP: those that the
/// other end has not acknowledged, and of a connection that is over, had not. UDP: those of datagrams
/// that have not left, with what the kernel needs for them.
pub fn unsent(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one `int`, and `bytes` lives until the call returns.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, ptr::from_mut(&mut bytes)) };
    if result == 0 {
        Ok(usize::try_from(bytes).unwrap_or(0))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The kernel's knowledge of a TCP connection. Fields that an older kernel does not have are 0.
pub fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    // SAFETY: tcp_info is plain integers, for which all zeros is a value.
    let mut info: libc::tcp_info = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut len = socklen(mem::size_of_val(&info));
    // SAFETY: `info` and `len` live until the call returns, and `len` says how long `info` is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            ptr::from_mut(&mut info).cast(),
            &mut len,
        )
    };
    if result == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

fn zeroed_address() -> libc::sockaddr_storage {
    // SAFETY: sockaddr_storage is plain integers, for which all zeros is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn empty_header() -> libc::msghdr {
    // SAFETY: msghdr is plain integers and raw pointers, for which all zeros is a value (null).
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn socklen(len: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(len).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let input = UdpSocket::bind("127.0.0.1:0").unwrap();
        let output = UdpSocket::bind("127.0.0.1:0").unwrap();
        output.connect(input.local_addr().unwrap()).unwrap();
        (input, output)
    }

    fn receive_all(input: &UdpSocket, expected: usize) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut slab = vec![0; RECEIVE_SLOTS * SLOT_LEN];
        let (mut receiver, mut trains, mut datagrams) = (Receiver::default(), vec![], vec![]);
        while datagrams.len() < expected {
            match receiver.receive(input.as_fd(), &mut slab, &mut trains) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("{} of {expected} datagrams", datagrams.len())
                }
                result => result.map(|_| ()).unwrap(),
            }
            for train in &trains {
                let bytes = &slab[train.start..train.start + train.len];
                let cut = bytes.chunks(train.segment.max(1));
                datagrams.extend(cut.map(|datagram| (datagram.to_vec(), train.peer)));
            }
        }
        datagrams
    }

    #[test]
    fn datagrams_of_any_length_arrive_whole_and_in_order() {
        for (gro, gso) in [(false, None), (true, None), (false, Some(1400)), (true, Some(1400))] {
            let (input, output) = pair();
            setsockopt(&input, sockopt::UdpGroSegment, &gro).unwrap();
            let sent: Vec<Vec<u8>> = [100, 100, 100, 40, 100, 100, 1400, 1400, 16, 3000, 3000]
                .into_iter()
                .zip(0_u8..)
                .map(|(len, fill)| vec![fill; len])
                .collect();
            let mut sender = Sender::default();
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let messages = rest.iter().map(Vec::as_slice);
                let count = sender.send(output.as_fd(), messages, gso).unwrap();
                rest = &rest[count..];
            }
            let peer = output.local_addr().unwrap();
            let expected: Vec<_> = sent.into_iter().map(|datagram| (datagram, peer)).collect();
            assert_eq!(receive_all(&input, expected.len()), expected, "gro {gro} gso {gso:?}");
        }
    }

    #[test]
    fn buffers_keep_their_capacity_over_many_calls() {
        let (input, output) = pair();
        let long = vec![7; 9000];
        for _ in 0..3 * RECEIVE_SLOTS {
            output.send(&[1]).unwrap();
            output.send(&long).unwrap();
            let datagrams = receive_all(&input, 2);
            assert_eq!((datagrams[0].0.len(), datagrams[1].0.len()), (1, 9000));
        }
    }

    /// The kernel says nothing of the length of what it has dropped: a counter of drops is a lower
    /// bound.
    #[test]
    fn dropped_trains_count_as_one_each() {
        let (input, output) = pair();
        setsockopt(&input, sockopt::UdpGroSegment, &true).unwrap();
        setsockopt(&input, sockopt::RxqOvfl, &1).unwrap();
        setsockopt(&input, sockopt::RcvBuf, &100_000).unwrap();
        let (datagrams, sends) = ([[7; 1000]; 20], 50);
        let mut sender = Sender::default();
        for _ in 0..sends {
            let messages = datagrams.iter().map(|datagram| &datagram[..]);
            assert_eq!(sender.send(output.as_fd(), messages, Some(1000)).unwrap(), 20);
        }
        let mut slab = vec![0; RECEIVE_SLOTS * SLOT_LEN];
        let (mut receiver, mut trains) = (Receiver::default(), vec![]);
        let mut arrived = 0;
        while receiver.receive(input.as_fd(), &mut slab, &mut trains).is_ok() {
            arrived += trains.iter().map(|train| train.len / train.segment).sum::<usize>();
        }
        // What is received next tells.
        output.send(&[1]).unwrap();
        let received = receiver.receive(input.as_fd(), &mut slab, &mut trains).unwrap();
        let dropped = usize::try_from(received.kernel_drops.unwrap()).unwrap();
        assert!(dropped > 0);
        assert_eq!(dropped * datagrams.len() + arrived, sends * datagrams.len());
    }

    #[test]
    fn nothing_there_would_block() {
        let (input, _output) = pair();
        let mut slab = vec![0; RECEIVE_SLOTS * SLOT_LEN];
        let error =
            Receiver::default().receive(input.as_fd(), &mut slab, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_refused_datagram_is_an_error() {
        let (input, output) = pair();
        drop(input);
        let mut sender = Sender::default();
        let refused = (0..100).any(|_| {
            let result = sender.send(output.as_fd(), std::iter::once(&b"x"[..]), None);
            result.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        });
        assert!(refused);
    }
}
