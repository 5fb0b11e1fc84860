//! One way out: the queue and the transport session of an exporter session to a destination.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
};

use common::reason::Reason;
use tokio::{
    io::Interest,
    net::{TcpStream, UdpSocket},
    sync::Notify,
    time::Instant,
};

use super::queue::{Entry, Left, Queue};
use crate::{
    config::Destination,
    net::mmsg,
    stats::{Counter, DestinationStats},
};

/// Bytes that may wait for one transport session in memory. At 10 Gbit/s this rides out 50 ms in
/// which a collector does not run.
pub const MAX_QUEUE_BYTES: usize = 64 << 20;
/// Bytes that may wait for one destination in memory, over all its transport sessions.
pub const MAX_DESTINATION_BYTES: usize = 256 << 20;
/// Buffers of one vectored write. More make no call cheaper: 256 messages of 1400 bytes exceed
/// what a socket takes at once.
const WRITE_BUFFERS: usize = 256;

/// Tells outlets of one session apart, also after a reload has reordered them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutletId(pub u64);

/// The transport session's state.
#[derive(Clone, Debug)]
pub enum Link {
    /// The first connection is being made.
    Connecting,
    /// The last connection broke, or could not be made; it is tried again.
    Down,
    /// Over: the session has ended, and everything was sent or given up.
    Ended,
    /// Connected over TCP.
    Tcp(Rc<TcpStream>),
    /// A connected UDP socket that nothing speaks against.
    Udp(Rc<UdpSocket>),
}

impl Link {
    /// Whether messages can be sent.
    pub fn is_up(&self) -> bool {
        matches!(self, Link::Tcp(_) | Link::Udp(_))
    }

    /// Our and the collector's address, over UDP.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Link::Udp(socket) => socket.local_addr().ok().zip(socket.peer_addr().ok()),
            _ => None,
        }
    }
}

/// Queue and transport session of one (exporter session, destination).
#[derive(Debug)]
pub struct Outlet {
    /// Its name within the session.
    pub id: OutletId,
    /// Where to.
    pub destination: Destination,
    /// Wakes the task that maintains the connection.
    pub wake: Rc<Notify>,
    /// No more messages will come: it ends when its queue is empty, or at this time.
    pub closing: Option<Instant>,
    /// What a write has met: the connection is of no more use.
    pub broken: Option<io::Error>,
    /// When anything was last sent.
    pub progress: Instant,
    /// Whether it has not taken in time what exporters brought, and has not caught up since.
    pub lags: bool,
    /// Whether no transport session has been made yet.
    pub fresh: bool,
    /// The longest datagram that needs no fragmentation.
    pub datagram_limit: usize,
    /// Our and the collector's address of the last UDP socket.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// Where its UDP socket is to be bound: where it was under a daemon before this one.
    pub source: Option<SocketAddr>,
    stats: Arc<DestinationStats>,
    link: Link,
    queue: Queue,
    /// What the gauge of queued bytes counts for this queue.
    gauged: u64,
    gso: bool,
}

impl Outlet {
    /// An outlet that is about to connect.
    pub fn new(id: OutletId, destination: Destination, stats: Arc<DestinationStats>) -> Outlet {
        stats.connecting.add(1);
        Outlet {
            id,
            destination,
            wake: Rc::default(),
            closing: None,
            broken: None,
            progress: Instant::now(),
            lags: false,
            fresh: true,
            datagram_limit: 0,
            ends: None,
            source: None,
            stats,
            link: Link::Connecting,
            queue: Queue::default(),
            gauged: 0,
            gso: true,
        }
    }

    /// The transport session's state.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Changes the state.
    pub fn set_link(&mut self, link: Link) {
        if let Some(gauge) = self.gauge(&self.link) {
            gauge.subtract(1);
        }
        if let Some(gauge) = self.gauge(&link) {
            gauge.add(1);
        }
        self.link = link;
    }

    /// The counters.
    pub fn stats(&self) -> &DestinationStats {
        &self.stats
    }

    /// What waits.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Changes what waits.
    pub fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// Whether no more should be put into the queue.
    pub fn is_full(&self) -> bool {
        self.queue.bytes() >= MAX_QUEUE_BYTES
            || self.stats.queued_bytes.get() >= to_u64(MAX_DESTINATION_BYTES)
    }

    /// Puts an entry into the queue. A UDP socket sends a datagram for each entry.
    pub fn push(&mut self, entry: Entry) {
        self.queue.push(entry);
    }

    /// Sends what waits, as far as the socket takes it. The queue's gauge is brought up to date.
    pub fn flush(&mut self, sender: &mut mmsg::Sender) {
        if self.queue.is_empty() || self.broken.is_some() {
            return self.gauge_queue();
        }
        let sent = match self.link.clone() {
            Link::Tcp(stream) => self.write(&stream),
            Link::Udp(socket) => self.send(&socket, sender),
            Link::Connecting | Link::Down | Link::Ended => Ok(()),
        };
        match sent {
            Ok(()) => {}
            // The task waits until the socket takes more.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wake.notify_one(),
            Err(error) => {
                self.broken = Some(error);
                self.wake.notify_one();
            }
        }
        self.gauge_queue();
    }

    fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.queue.is_empty() {
            let mut buffers = [IoSlice::new(&[]); WRITE_BUFFERS];
            let mut count = 0;
            for (buffer, piece) in buffers.iter_mut().zip(self.queue.pieces()) {
                *buffer = IoSlice::new(piece);
                count += 1;
            }
            let written = stream.try_write_vectored(buffers.get(..count).unwrap_or_default())?;
            let left = self.queue.advance_bytes(written);
            self.account(left);
        }
        Ok(())
    }

    fn send(&mut self, socket: &UdpSocket, sender: &mut mmsg::Sender) -> io::Result<()> {
        while !self.queue.is_empty() {
            let gso_limit = self.gso.then_some(self.datagram_limit);
            let sent = socket.try_io(Interest::WRITABLE, || {
                sender.send(socket.as_fd(), self.queue.pieces(), gso_limit)
            });
            match sent {
                Ok(count) => {
                    let left = self.queue.advance_entries(count);
                    self.account(left);
                }
                // Interfaces without checksum offload refuse GSO.
                Err(error) if self.gso && refuses_gso(&error) => self.gso = false,
                Err(error) if is_lost(&error) => self.lose_first(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives up the first datagram, which the kernel will never take.
    fn lose_first(&mut self, error: &io::Error) {
        let left = self.queue.advance_entries(1);
        let reason = match error.raw_os_error() {
            Some(libc::EMSGSIZE) => Reason::Oversize,
            _ => Reason::SendError,
        };
        self.stats.drops.add(reason, left.messages);
        self.stats.set_last_error(error.to_string());
    }

    fn account(&mut self, left: Left) {
        self.stats.messages.add(left.messages);
        self.stats.bytes.add(left.bytes);
        self.progress = Instant::now();
    }

    fn gauge_queue(&mut self) {
        self.lags &= !self.queue.is_empty();
        let now = to_u64(self.queue.bytes());
        let before = std::mem::replace(&mut self.gauged, now);
        self.stats.queued_bytes.add(now.saturating_sub(before));
        self.stats.queued_bytes.subtract(before.saturating_sub(now));
    }

    fn gauge(&self, link: &Link) -> Option<&Counter> {
        match link {
            Link::Connecting => Some(&self.stats.connecting),
            Link::Down => Some(&self.stats.down),
            Link::Ended => None,
            Link::Tcp(_) | Link::Udp(_) => Some(&self.stats.up),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.set_link(Link::Ended);
        self.stats.drops.add(Reason::Undelivered, self.queue.messages());
        self.queue.clear();
        self.gauge_queue();
    }
}

/// EIO: the device has no checksum offload. EINVAL: the segments do not fit its MTU any more.
fn refuses_gso(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

/// Errors of one datagram, not of the destination. ENOBUFS is the device's queue that is full:
/// waiting for the socket to become writable would wait for ever.
fn is_lost(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EMSGSIZE | libc::ENOBUFS | libc::EPERM | libc::EINVAL | libc::EIO | libc::ENOMEM
        )
    )
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
