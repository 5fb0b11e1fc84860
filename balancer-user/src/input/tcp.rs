//! Exporters over TCP.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, time::Duration};

use common::{message::Malformed, reason::Reason};
use tokio::{
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};

use super::frame::next_in_stream;
use crate::{
    handler::{Hold, Relay, Scratch, Shared},
    net::socket::keep_alive,
};

/// Bytes that one read may bring.
const CHUNK: usize = 256 << 10;
/// A read is worth its while from this much room on; below, the buffer is replaced.
const MIN_READ: usize = 64 << 10;
/// How long to wait when no connection can be accepted, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a session keeps allocated for the half of a message that has come.
const SMALL_REST: usize = 4 << 10;

/// Accepts exporters until the handler ends.
pub async fn serve(shared: Rc<Shared>, listener: TcpListener) {
    let mut stopping = shared.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(&shared, stream, peer),
            Err(error) => {
                let receiver = shared.receiver().id;
                tracing::error!(%receiver, "can't accept an exporter: {error}; if these are too many open files, raise LimitNOFILE");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(shared: &Rc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if !shared.allows(peer) {
        shared.report(Reason::NotAllowed, 1, peer, "The connection was closed.");
    } else if shared.is_crowded() {
        shared.report(Reason::SessionLimit, 1, peer, "The connection was closed.");
    } else {
        // Without it the session of an exporter that vanished would only last longer.
        let _ = keep_alive(&stream);
        tokio::task::spawn_local(receive(Rc::clone(shared), stream, peer));
    }
}

/// Serves one exporter to its end.
async fn receive(shared: Rc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let relay = Relay::open(&shared, peer);
    if let Ok(local) = stream.local_addr() {
        relay.borrow_mut().set_local(SocketAddr::new(local.ip().to_canonical(), local.port()));
    }
    let mut exporter = Exporter { shared, stream, relay, rest: Vec::new(), rest_since: None };
    let how = exporter.run().await;
    exporter.relay.borrow_mut().end(how);
}

struct Exporter {
    shared: Rc<Shared>,
    stream: TcpStream,
    relay: Rc<RefCell<Relay>>,
    /// The beginning of a message whose end has not come.
    rest: Vec<u8>,
    rest_since: Option<Instant>,
}

/// What a read has come to.
enum Read {
    /// Messages, or a part of one.
    Some,
    /// Nothing for now.
    Nothing,
    /// The exporter has closed the connection.
    End,
}

impl Exporter {
    /// Reads until the connection ends; says how it did.
    async fn run(&mut self) -> &'static str {
        let mut stopping = self.shared.stopping.clone();
        let dismissed = Rc::clone(&self.relay.borrow().dismissed);
        loop {
            let longest = Duration::from_secs(self.shared.limits().message_seconds.into());
            let deadline = self.rest_since.map(|since| since + longest);
            tokio::select! {
                biased;
                () = dismissed.notified() => return "is not allowed any more",
                ready = self.stream.readable() => if ready.is_err() { return "broke" },
                _ = stopping.wait_for(|stopping| *stopping) => return self.finish(),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.report(Reason::IdleTimeout, "");
                    return "timed out";
                }
            }
            // Asked last: what other exporters have brought meanwhile counts as well.
            if !self.wait_for_space().await {
                return self.finish();
            }
            if self.relay.borrow().has_ended() {
                continue;
            }
            let read = self.read();
            if self.relay.borrow().has_waiting() {
                // Lets the runtime see which sockets have become writable: it would look only
                // after many more reads.
                yield_now().await;
            }
            match read {
                Ok(Read::Some | Read::Nothing) => {}
                Ok(Read::End) => return self.ended(),
                Err(Refused::Connection) => {
                    self.ended();
                    return "broke";
                }
                Err(Refused::Exporter) => return "was closed",
            }
        }
    }

    /// Waits while no destination takes anything; false when the handler is to end.
    async fn wait_for_space(&self) -> bool {
        let mut stopping = self.shared.stopping.clone();
        loop {
            let (hold, space) = {
                let mut relay = self.relay.borrow_mut();
                (relay.hold(), Rc::clone(&relay.space))
            };
            let until = match hold {
                Hold::Go => return true,
                Hold::UntilSpace => None,
                Hold::UntilSpaceOr(until) => Some(until),
            };
            tokio::select! {
                () = space.notified() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return false,
            }
        }
    }

    /// The handler ends: what the kernel has received is the exporter's no more, so take it.
    fn finish(&mut self) -> &'static str {
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end && matches!(self.read(), Ok(Read::Some)) {}
        "ends with the balancer"
    }

    fn ended(&self) -> &'static str {
        if !self.rest.is_empty() {
            self.report(Reason::Truncated, "");
        }
        "ended"
    }

    /// Reads once, and passes on every whole message.
    fn read(&mut self) -> Result<Read, Refused> {
        let shared = Rc::clone(&self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let scratch = &mut *scratch;
        if !scratch.chunk.try_reclaim(CHUNK) && scratch.chunk.capacity() < MIN_READ {
            scratch.chunk.reserve(CHUNK);
        }
        let before = self.rest.len();
        scratch.chunk.extend_from_slice(&self.rest);
        let read = self.stream.try_read_buf(&mut scratch.chunk);
        match read {
            Ok(0) => scratch.chunk.clear(),
            Ok(_) => {
                let refused = self.pass_on(scratch);
                self.note_rest(before);
                return refused.map(|()| Read::Some);
            }
            Err(error) => {
                scratch.chunk.clear();
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(Read::Nothing),
                    _ => Err(Refused::Connection),
                };
            }
        }
        Ok(Read::End)
    }

    /// Cuts the chunk into messages and routes them; keeps the rest.
    fn pass_on(&mut self, scratch: &mut Scratch) -> Result<(), Refused> {
        let mut chunk = scratch.chunk.split();
        let mut relay = self.relay.borrow_mut();
        let now = Instant::now();
        relay.last_seen = now;
        let outlook = relay.outlook(now);
        let (mut end, mut messages, mut result) = (0, 0, Ok(()));
        loop {
            let bytes = chunk.get(end..).unwrap_or_default();
            let len = match next_in_stream(bytes) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(malformed) => {
                    self.shared.report(Reason::FramingLost, 1, relay.peer, describe(malformed));
                    result = Err(Refused::Exporter);
                    break;
                }
            };
            let Some(message) = chunk.get_mut(end..end + len) else { break };
            messages += 1;
            if relay.accept(message, end, &outlook, scratch) == Err(Reason::MalformedRow) {
                self.shared.report(Reason::MalformedRow, 1, relay.peer, "");
                result = Err(Refused::Exporter);
                end += len;
                break;
            }
            end += len;
        }
        self.shared.stats.messages.add(messages);
        self.shared.stats.bytes.add(u64::try_from(end).unwrap_or(0));
        if self.rest.capacity() > SMALL_REST {
            self.rest = Vec::new();
        }
        self.rest.clear();
        self.rest.extend_from_slice(chunk.get(end..).unwrap_or_default());
        chunk.truncate(end);
        relay.dispatch(&chunk.freeze(), scratch.pending.drain(..));
        relay.flush(&mut scratch.sender, CHUNK);
        result
    }

    /// Starts the clock of a message that has begun, unless it has been running for it already.
    fn note_rest(&mut self, before: usize) {
        let same_message = self.rest.len() >= before && before > 0;
        if self.rest.is_empty() {
            self.rest_since = None;
        } else if !same_message || self.rest_since.is_none() {
            self.rest_since = Some(Instant::now());
        }
    }

    fn report(&self, reason: Reason, detail: &str) {
        let peer = self.relay.borrow().peer;
        self.shared.report(reason, 1, peer, detail);
    }
}

/// Why no more is read from an exporter.
enum Refused {
    Connection,
    Exporter,
}

fn describe(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::Version(5) => "It speaks NetFlow version 5.",
        Malformed::Version(9) => "It speaks NetFlow version 9.",
        Malformed::Version(_) => "The version is not 10.",
        _ => "The length is below 16.",
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use tokio::{sync::watch, task::LocalSet};

    use super::*;
    use crate::{
        config::{Config, Environment},
        record::Beat,
        stats::ReceiverStats,
    };

    fn shared(stopping: watch::Receiver<bool>) -> Rc<Shared> {
        let text = "IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_SUB=127.0.0.1/9";
        let checked = Config::parse(Path::new("test"), text, &Environment::default()).unwrap();
        let receiver = Arc::clone(&checked.config.receivers[0]);
        Rc::new(Shared::new(
            receiver,
            None,
            Beat::default(),
            Arc::new(ReceiverStats::default()),
            stopping,
        ))
    }

    /// With the clock paused, time passes at once when nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn half_a_message_and_then_silence_ends_the_connection() {
        let (_stop, stopping) = watch::channel(false);
        let shared = shared(stopping);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        client.try_write(&[0, 10, 0, 20, 0]).unwrap();
        let begun = Instant::now();
        LocalSet::new().run_until(receive(Rc::clone(&shared), stream, peer)).await;
        assert!(begun.elapsed() >= Duration::from_secs(shared.limits().message_seconds.into()));
        let drops: Vec<_> = shared.stats.drops.occurred().collect();
        assert_eq!(drops, [(Reason::IdleTimeout, 1)]);
    }
}
