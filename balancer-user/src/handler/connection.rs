//! Keeping an outlet connected: connect, watch, connect again.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::Interest,
    net::{TcpStream, UdpSocket, lookup_host},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    health::{ATTEMPTS, Health, NEIGHBOUR, REFUSAL},
    relay::Relay,
    shared::Shared,
    spooling,
};
use crate::{
    config::{Destination, Host, Protocol},
    net::socket,
    output::{Link, OutletId},
};

/// How long a TCP handshake or a name look-up may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a collector may take to close its side of a connection that we have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is looked whether a connection that is to end has all its messages acknowledged.
const ACKNOWLEDGE_POLL: Duration = Duration::from_millis(10);
/// How often it is looked whether a datagram has left.
const LEAVE_POLL: Duration = Duration::from_millis(10);
/// The first pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A connection that lasted so long was a good one: the next attempt is made at once.
const LASTING: Duration = Duration::from_secs(1);
/// How long a UDP destination that is down is left alone.
const UDP_PAUSE: Duration = Duration::from_secs(1);

/// Connects an outlet, again and again, until it is finished.
pub async fn maintain(shared: Rc<Shared>, relay: Rc<RefCell<Relay>>, id: OutletId) {
    let known = relay.borrow_mut().outlet(id).map(|o| (o.destination.clone(), o.source));
    let Some((destination, source)) = known else { return };
    let health = shared.health(&destination);
    let mut connector = Connector { destination, source, udp: None, health };
    let mut backoff = Backoff::default();
    while !relay.borrow_mut().is_finished(id) {
        if !has_its_turn(&shared, &relay, id, &connector.destination).await {
            continue;
        }
        if connector.health.is_down() && !connector.is_back(&relay, id).await {
            continue;
        }
        let (error, lasted) = match connector.open().await {
            Ok(open) => {
                let since = Instant::now();
                relay.borrow_mut().connected(id, open.link(), open.datagram_limit());
                let watched = tokio::select! {
                    watched = open.watch(&relay, id) => watched,
                    // Another session has been told.
                    error = connector.health.went_down() => Err(error),
                };
                match watched {
                    Ok(()) => break,
                    Err(error) => (error, since.elapsed() >= LASTING),
                }
            }
            Err(error) => (error, false),
        };
        // A reset that a write has met looks to a later read like an end in order.
        let met = relay.borrow_mut().outlet(id).and_then(|outlet| outlet.broken.take());
        let error = met.unwrap_or(error);
        if connector.destination.protocol == Protocol::Udp {
            connector.health.note(&error);
        }
        relay.borrow_mut().disconnected(id, &error);
        let longest = Duration::from_secs(shared.receiver().reconnect_seconds.into());
        let pause = match connector.destination.protocol {
            Protocol::Udp => UDP_PAUSE,
            Protocol::Tcp if lasted => backoff.reset(),
            Protocol::Tcp => backoff.next(longest),
        };
        pause_or_finish(&relay, id, pause).await;
    }
    relay.borrow_mut().remove(id);
}

/// What earlier sessions have left on disk leaves first: waits until it has. False: look again.
async fn has_its_turn(
    shared: &Shared,
    relay: &Rc<RefCell<Relay>>,
    id: OutletId,
    destination: &Destination,
) -> bool {
    let changed = spooling::changed(shared);
    let notified = changed.notified();
    if relay.borrow().is_orphan() || spooling::is_clear(shared, destination) {
        return true;
    }
    let wake = relay.borrow_mut().outlet(id).map(|outlet| Rc::clone(&outlet.wake));
    let Some(wake) = wake else { return true };
    tokio::select! {
        () = notified => {}
        () = wake.notified() => {}
    }
    false
}

/// Waits for `pause`, or until the outlet is finished.
async fn pause_or_finish(relay: &Rc<RefCell<Relay>>, id: OutletId, pause: Duration) {
    let end = Instant::now() + pause;
    let wake = relay.borrow_mut().outlet(id).map(|outlet| Rc::clone(&outlet.wake));
    let Some(wake) = wake else { return };
    while !relay.borrow_mut().is_finished(id) {
        tokio::select! {
            () = sleep_until(end) => return,
            () = wake.notified() => {}
        }
    }
}

/// Makes transport sessions to one destination.
struct Connector {
    destination: Destination,
    /// Where a UDP socket is to be bound, if it can be.
    source: Option<SocketAddr>,
    /// Kept while the destination is down: the source port is the session's name for a collector.
    udp: Option<(Rc<UdpSocket>, SocketAddr)>,
    /// Over UDP, what the other sessions know.
    health: Rc<Health>,
}

/// A transport session.
enum Open {
    Tcp(Rc<TcpStream>),
    Udp(Rc<UdpSocket>, usize),
}

impl Connector {
    async fn open(&mut self) -> io::Result<Open> {
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        match self.destination.protocol {
            Protocol::Tcp => timeout(CONNECT_TIMEOUT, self.open_tcp()).await.map_err(timed_out)?,
            Protocol::Udp => timeout(CONNECT_TIMEOUT, self.open_udp()).await.map_err(timed_out)?,
        }
    }

    /// Finds out whether a UDP destination that is down has come back: by this session, or by another
    /// one. False: not yet.
    async fn is_back(&mut self, relay: &Rc<RefCell<Relay>>, id: OutletId) -> bool {
        let health = Rc::clone(&self.health);
        let Some(probe) = health.probe() else {
            tokio::select! {
                () = health.came_back() => {}
                () = pause_or_finish(relay, id, UDP_PAUSE) => {}
            }
            return !health.is_down();
        };
        let answer = match self.open().await {
            Ok(open) => open.try_out(relay, id).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(()) => probe.succeeded(),
            Err(error) => {
                health.note(&error);
                drop(probe);
                pause_or_finish(relay, id, UDP_PAUSE).await;
            }
        }
        !health.is_down()
    }

    async fn open_tcp(&self) -> io::Result<Open> {
        let stream = match &self.destination.host {
            Host::Ip(ip) => TcpStream::connect((*ip, self.destination.port)).await?,
            Host::Name(name) => TcpStream::connect((name.as_str(), self.destination.port)).await?,
        };
        // Batches are made here; waiting in the kernel for more would only add latency.
        stream.set_nodelay(true)?;
        socket::watch_collector(&stream)?;
        Ok(Open::Tcp(Rc::new(stream)))
    }

    async fn open_udp(&mut self) -> io::Result<Open> {
        let (socket, address) = match self.udp.clone() {
            Some((socket, address)) => {
                // It may have lost its route.
                socket::reconnect_udp(&*socket, address).inspect_err(|error| {
                    // Its own address is gone.
                    if error.raw_os_error() == Some(libc::EINVAL) {
                        self.udp = None;
                    }
                })?;
                (socket, address)
            }
            None => {
                let address = self.resolve().await?;
                let socket = socket::connect_udp(address, self.source)?;
                (Rc::new(UdpSocket::from_std(socket.into())?), address)
            }
        };
        // An error that came meanwhile is not this attempt's.
        let _ = socket::take_errors(&*socket);
        let limit = socket::datagram_limit(&*socket, address)?;
        self.udp = Some((Rc::clone(&socket), address));
        Ok(Open::Udp(socket, limit))
    }

    async fn resolve(&self) -> io::Result<SocketAddr> {
        let port = self.destination.port;
        match &self.destination.host {
            Host::Ip(ip) => Ok(SocketAddr::new(*ip, port)),
            Host::Name(name) => lookup_host((name.as_str(), port))
                .await?
                .next()
                .ok_or_else(|| io::Error::other("the host name has no address")),
        }
    }
}

impl Open {
    fn link(&self) -> Link {
        match self {
            Open::Tcp(stream) => Link::Tcp(Rc::clone(stream)),
            Open::Udp(socket, _) => Link::Udp(Rc::clone(socket)),
        }
    }

    fn datagram_limit(&self) -> usize {
        match self {
            Open::Tcp(_) => usize::MAX,
            Open::Udp(_, limit) => *limit,
        }
    }

    /// Sends a UDP destination messages that say nothing, and waits for an error.
    async fn try_out(&self, relay: &Rc<RefCell<Relay>>, id: OutletId) -> io::Result<()> {
        let Open::Udp(socket, _) = self else { return Ok(()) };
        // An error of an earlier datagram would be reported in its place.
        let _ = socket::take_errors(&**socket);
        let unanswered = async {
            for _ in 0..ATTEMPTS {
                relay.borrow_mut().send_empty_message(id, socket)?;
                // While the neighbour's address is looked for, nobody can answer; and what all sessions
                // would send then is more than the kernel keeps.
                let _ = timeout(NEIGHBOUR, left_host(socket)).await;
                pause_or_finish(relay, id, REFUSAL).await;
            }
            Ok(())
        };
        let answered = async {
            loop {
                self.readable().await?;
                self.discard_input()?;
            }
        };
        tokio::select! {
            error = answered => error,
            silence = unanswered => silence,
        }
    }

    /// Watches over the transport session: sends when the socket takes more, throws away what a
    /// collector says. Ends well when the outlet is finished, with the error that broke it
    /// otherwise.
    async fn watch(&self, relay: &Rc<RefCell<Relay>>, id: OutletId) -> io::Result<()> {
        let wake = relay.borrow_mut().outlet(id).map(|outlet| Rc::clone(&outlet.wake));
        let Some(wake) = wake else { return Ok(()) };
        loop {
            let (waiting, closing) = match relay.borrow_mut().outlet(id) {
                Some(outlet) => {
                    if let Some(error) = outlet.broken.take() {
                        return Err(error);
                    }
                    (!outlet.queue().is_written(), outlet.closing.is_some())
                }
                None => return Ok(()),
            };
            if relay.borrow_mut().is_finished(id) {
                self.close().await;
                return Ok(());
            }
            tokio::select! {
                ready = self.readable() => { ready?; self.discard_input()?; }
                ready = self.writable(), if waiting => {
                    ready?;
                    relay.borrow_mut().flush_one(id);
                }
                () = wake.notified() => {}
                // Nothing wakes us when the last message has been acknowledged.
                () = sleep(ACKNOWLEDGE_POLL), if closing => {}
            }
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Open::Tcp(stream) => stream.readable().await,
            // What the kernel path has sent is answered by ICMP, and nothing of ours would notice.
            Open::Udp(socket, _) => {
                socket.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
            }
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Open::Tcp(stream) => stream.writable().await,
            Open::Udp(socket, _) => socket.writable().await,
        }
    }

    /// IPFIX has nothing to say to an exporter: what comes is thrown away. The end of a TCP stream
    /// and ICMP errors are errors.
    fn discard_input(&self) -> io::Result<()> {
        let mut bytes = [0; 2048];
        let result = match self {
            Open::Tcp(stream) => match stream.try_read(&mut bytes) {
                Ok(0) => {
                    let closed = "the collector closed the connection";
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, closed))
                }
                result => result,
            },
            Open::Udp(socket, _) => receive_or_fail(socket, &mut bytes),
        };
        match result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends a TCP connection in order: what the collector sent and nobody read would turn the end
    /// into a reset, and that could overtake our last messages.
    async fn close(&self) {
        let Open::Tcp(stream) = self else { return };
        if SockRef::from(&**stream).shutdown(Shutdown::Write).is_err() {
            return;
        }
        let _ = timeout(CLOSE_TIMEOUT, async {
            while stream.readable().await.is_ok() && self.discard_input().is_ok() {}
        })
        .await;
    }
}

/// Comes back once everything that was sent by a UDP socket has left this host, or was thrown away.
async fn left_host(socket: &UdpSocket) {
    while socket::is_sending(socket).unwrap_or(false) {
        sleep(LEAVE_POLL).await;
    }
}

/// The error that has come for a socket, if there is one; else what it has received.
fn receive_or_fail(socket: &UdpSocket, bytes: &mut [u8]) -> io::Result<usize> {
    // Before the error is looked for: one that comes meanwhile is to wake us again.
    let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    match socket::take_errors(socket)? {
        Some(error) => Err(error),
        None => socket.try_recv(bytes),
    }
}

/// Pauses that double, each a random part shorter, so that many sessions do not come back at once.
#[derive(Default)]
struct Backoff {
    attempts: u32,
    random: RandomState,
}

impl Backoff {
    fn reset(&mut self) -> Duration {
        self.attempts = 0;
        Duration::ZERO
    }

    fn next(&mut self, longest: Duration) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.attempts)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        // Up to a quarter off.
        let quarter = pause / 4;
        let part = self.random.hash_one(self.attempts) % 1024;
        pause - quarter.saturating_mul(u32::try_from(part).unwrap_or(0)) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let longest = Duration::from_secs(1);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next(longest);
            let expected = Duration::from_millis(expected);
            assert!(pause <= expected && pause >= expected * 3 / 4, "{pause:?} {expected:?}");
        }
        assert_eq!(backoff.reset(), Duration::ZERO);
        assert!(backoff.next(longest) <= FIRST_PAUSE);
    }
}
