//! One way out: the queue and the transport session of an exporter session to a destination.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use common::reason::Reason;
use tokio::{
    io::Interest,
    net::{TcpStream, UdpSocket},
    sync::Notify,
    time::Instant,
};

use super::{
    queue::{Entry, Left, Queue, Taken},
    spooling::Spooling,
    unread::Unread,
};
use crate::{
    config::Destination,
    net::{mmsg, socket},
    session::Router,
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

/// Bytes written to a TCP connection after which it is asked what has been acknowledged: seldom
/// enough to cost nothing, and often enough to keep few receive buffers.
const ASK_BYTES: usize = 256 << 10;
/// Bytes that may be kept for one destination because the collector has perhaps not read them.
pub const MAX_UNREAD_BYTES: usize = 64 << 20;
/// After so long without a message, what was acknowledged is taken to have been read.
const READ_BY_NOW: Duration = Duration::from_secs(60);

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
    pub(super) queue: Queue,
    /// Its spool, while messages are in it.
    pub(super) spooling: Option<Spooling>,
    unread: Unread,
    /// Bytes written since it was last asked what has been acknowledged.
    unasked: usize,
    /// Whether its window is shut, and the connection is not to be given up for that.
    spared: bool,
    /// What the gauges of queued, unacknowledged, unread and other bytes count for this queue.
    gauged: [u64; 4],
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
            spooling: None,
            unread: Unread::default(),
            unasked: 0,
            spared: false,
            gauged: [0; 4],
            gso: true,
        }
    }

    /// The transport session's state.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// A transport session has begun.
    pub fn connected(&mut self, link: Link) {
        self.fresh = false;
        self.broken = None;
        self.progress = Instant::now();
        self.ends = link.ends();
        if let Link::Tcp(stream) = &link {
            // The window before anything was sent is the first measure of the buffer behind it.
            self.ask(stream);
        }
        self.set_link(link);
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

    /// Where its UDP socket is, or is to be, bound.
    pub fn local(&self) -> Option<SocketAddr> {
        self.ends.map(|(local, _)| local).or(self.source)
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

    /// Whether no more should come for it.
    pub fn is_full(&self) -> bool {
        if let Some(full) = self.is_spool_full() {
            return full;
        }
        self.queue.memory() >= MAX_QUEUE_BYTES || self.is_destination_full()
    }

    /// Whether as much waits in memory for the destination as may, over all sessions.
    pub fn is_destination_full(&self) -> bool {
        let stats = &self.stats;
        let of_all = [&stats.queued_bytes, &stats.unacknowledged_bytes, &stats.overhead_bytes];
        of_all.map(Counter::get).iter().sum::<u64>() >= to_u64(MAX_DESTINATION_BYTES)
    }

    /// Puts an entry into the queue. A UDP socket sends a datagram for each entry.
    pub fn push(&mut self, entry: Entry) {
        self.queue.push(entry);
    }

    /// RoundRobin: takes messages out for others, see [`Queue::take_turns`].
    pub fn hand_on(
        &mut self,
        router: &mut Router,
        target: usize,
        taker: impl FnMut(&Router, &Entry) -> Option<usize>,
    ) -> Vec<Taken> {
        let taken = self.queue.take_turns(router, target, taker);
        self.stats.handed_on.add(to_u64(taken.len()));
        self.gauge_queue();
        taken
    }

    /// Sends what waits, as far as the socket takes it. The queue's gauge is brought up to date.
    pub fn flush(&mut self, sender: &mut mmsg::Sender) {
        if self.queue.is_written() || self.broken.is_some() {
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
            Err(error) => self.fail(error),
        }
        self.gauge_queue();
    }

    /// A write has met an error: the connection is of no more use.
    pub fn fail(&mut self, error: io::Error) {
        self.broken = Some(error);
        self.wake.notify_one();
    }

    fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.queue.is_written() {
            let mut buffers = [IoSlice::new(&[]); WRITE_BUFFERS];
            let mut count = 0;
            for (buffer, piece) in buffers.iter_mut().zip(self.queue.pieces()) {
                *buffer = IoSlice::new(piece);
                count += 1;
            }
            let written = stream.try_write_vectored(buffers.get(..count).unwrap_or_default())?;
            let left = self.queue.advance_bytes(written);
            self.account(left);
            self.unasked += written;
            if self.unasked >= ASK_BYTES {
                self.ask(stream);
            }
        }
        Ok(())
    }

    /// Asks what has been acknowledged, and lets go of it as far as it has been read.
    fn ask(&mut self, stream: &TcpStream) {
        self.unasked = 0;
        // Without an answer nothing is known to have arrived.
        let Ok(progress) = socket::tcp_progress(stream) else { return };
        let acknowledged = self.queue.unacknowledged().saturating_sub(progress.unacknowledged);
        let mut unread = self.unread.acknowledged(acknowledged, progress.window);
        let crowded = self.stats.unread_bytes.get() >= to_u64(MAX_UNREAD_BYTES);
        let silent = self.progress.elapsed() >= READ_BY_NOW && !self.unread.is_behind();
        if crowded || silent {
            unread = 0;
        }
        self.queue.acknowledge(progress.unacknowledged, unread);
        if self.spared != progress.is_shut {
            self.spared = progress.is_shut;
            // A connection that is over is given up anyway.
            let _ = socket::limit_silence(stream, !progress.is_shut);
        }
    }

    /// Sees to what was sent and not acknowledged or read, once in a while.
    pub fn look_after(&mut self) {
        let Link::Tcp(stream) = self.link.clone() else { return };
        let is_silent = self.progress.elapsed() >= READ_BY_NOW;
        if self.unasked > 0 || self.queue.outstanding() > 0 || (is_silent && !self.queue.is_empty())
        {
            self.ask(&stream);
        }
        self.queue.copy();
        self.gauge_queue();
    }

    /// Whether everything has arrived, as far as TCP can tell, or has left over UDP.
    pub fn is_delivered(&mut self) -> bool {
        self.ask_anew();
        self.queue.outstanding() == 0 && !self.is_spooling()
    }

    pub(super) fn ask_anew(&mut self) {
        if let Link::Tcp(stream) = self.link.clone()
            && self.queue.outstanding() > 0
        {
            self.ask(&stream);
            self.gauge_queue();
        }
    }

    /// The transport session is over, or could not be made: what may not have arrived waits again.
    /// A collector that has closed the connection has read all that it acknowledged.
    pub fn disconnected(&mut self, error: &io::Error) {
        let mut unread = 0;
        if let Link::Tcp(stream) = self.link.clone() {
            self.ask(&stream);
            if error.kind() != io::ErrorKind::UnexpectedEof {
                unread = self.queue.bytes();
            }
        }
        self.take_back(unread);
        self.set_link(Link::Down);
        self.stats.set_last_error(error.to_string());
        self.gauge_queue();
    }

    fn take_back(&mut self, unread: usize) {
        let broken = self.queue.restart(unread);
        self.stats.messages.add(broken.arrived);
        self.stats.resent.add(broken.again);
        self.forget_released();
        (self.unread, self.unasked, self.spared) = (Unread::default(), 0, false);
    }

    fn send(&mut self, socket: &UdpSocket, sender: &mut mmsg::Sender) -> io::Result<()> {
        while !self.queue.is_written() {
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

    pub(super) fn gauge_queue(&mut self) {
        self.lags &= !self.queue.is_written();
        let queue = &self.queue;
        let sent = queue.unacknowledged();
        let (kept, waiting) = (queue.bytes(), queue.outstanding());
        let now = [waiting - sent, sent, kept - waiting, queue.memory() - kept];
        let now = now.map(to_u64);
        let before = std::mem::replace(&mut self.gauged, now);
        let stats = &self.stats;
        let gauges = [
            &stats.queued_bytes,
            &stats.unacknowledged_bytes,
            &stats.unread_bytes,
            &stats.overhead_bytes,
        ];
        for ((gauge, before), now) in gauges.into_iter().zip(before).zip(now) {
            gauge.change(before, now);
        }
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
        self.take_back(0);
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
