//! One exporter's connection: reading, cutting, passing on.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use common::{message::Malformed, reason::Reason};
use tokio::{
    io::Interest,
    net::TcpStream,
    task::yield_now,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    super::frame::next_in_stream,
    taking::{self, Rest},
};
use crate::{
    handler::{CHUNK, Hold, Relay, Scratch, Shared},
    succession::Leaving,
};

/// A read is worth its while from this much room on; below, the buffer is replaced.
const MIN_READ: usize = 64 << 10;
/// How long a destination that keeps up may take for what one read has brought. An exporter waits so
/// long for one that has begun to lag, once: time for a destination on another continent to accept the
/// connection of a session that has been taken over.
pub const SENDING: Duration = Duration::from_millis(250);

/// A connection with an exporter, and its session.
pub struct Exporter {
    shared: Rc<Shared>,
    /// The connection.
    pub stream: TcpStream,
    relay: Rc<RefCell<Relay>>,
    rest: Rest,
    rest_since: Option<Instant>,
    /// Bytes that have been passed on, and that the kernel still has.
    passed_on: usize,
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

/// Why an exporter is not read any more.
pub enum End {
    /// The handler is to end.
    Handler,
    /// The session is over; how it ended.
    Exporter(&'static str),
}

impl Exporter {
    /// Nothing has been read yet.
    pub fn new(shared: Rc<Shared>, stream: TcpStream, relay: Rc<RefCell<Relay>>) -> Exporter {
        Exporter { shared, stream, relay, rest: Rest::default(), rest_since: None, passed_on: 0 }
    }

    /// Reads until the connection ends, or the handler.
    pub async fn run(&mut self) -> End {
        let mut stopping = self.shared.stopping.clone();
        let dismissed = Rc::clone(&self.relay.borrow().dismissed);
        loop {
            let longest = Duration::from_secs(self.shared.limits().message_seconds.into());
            let deadline = self.rest_since.map(|since| since + longest);
            let ready = tokio::select! {
                biased;
                () = dismissed.notified() => return End::Exporter("is not allowed any more"),
                ready = self.stream.ready(Interest::READABLE) => ready,
                _ = stopping.wait_for(|stopping| *stopping) => return self.finish(),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.report(Reason::IdleTimeout, "");
                    return End::Exporter("timed out");
                }
            };
            let Ok(ready) = ready else { return End::Exporter("broke") };
            // Asked last: what other exporters have brought meanwhile counts as well.
            if !self.wait_for_space().await {
                return self.finish();
            }
            if self.relay.borrow().has_ended() {
                continue;
            }
            let read = self.read(ready.is_read_closed());
            if self.relay.borrow().has_waiting() {
                // Lets the runtime see which sockets have become writable: it would look only
                // after many more reads.
                yield_now().await;
                self.wait_until_sent().await;
            }
            let read = self.give_up().and(read);
            match read {
                Ok(Read::Some | Read::Nothing) => {}
                Ok(Read::End) => return self.ended(),
                Err(Refused::Connection) => {
                    self.ended();
                    return End::Exporter("broke");
                }
                Err(Refused::Exporter) => return End::Exporter("was closed"),
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

    /// Waits a moment until what was passed on has been sent: then it may be given up here.
    async fn wait_until_sent(&self) {
        let deadline = Instant::now() + SENDING;
        while self.relay.borrow().is_sending() {
            let space = Rc::clone(&self.relay.borrow().space);
            if timeout_at(deadline, space.notified()).await.is_err() {
                return self.relay.borrow_mut().lag();
            }
        }
    }

    /// The handler ends. What the kernel has received is the exporter's no more, so take it: all of
    /// it, or, where another daemon is to go on with the connection, as much as comes at once, in case
    /// that none does.
    fn finish(&mut self) -> End {
        let end = Instant::now() + Duration::from_secs(1);
        while matches!(self.read(false), Ok(Read::Some))
            && self.give_up().is_ok()
            && self.shared.leaving.get() != Leaving::Everything
            && Instant::now() < end
        {}
        End::Handler
    }

    fn ended(&self) -> End {
        if self.rest.bytes > 0 {
            self.report(Reason::Truncated, "");
        }
        End::Exporter("ended")
    }

    /// Reads once, and passes on every whole message. `closed`: nothing more will come.
    ///
    /// What is read stays in the kernel until it has been passed on, and the half of a message until
    /// the rest is there: a daemon that is killed has taken whole messages from the connection, and
    /// no more than it has dealt with.
    fn read(&mut self, closed: bool) -> Result<Read, Refused> {
        if !closed && !self.rest.has_grown(&self.stream) {
            taking::have_seen_all(&self.stream);
            return Ok(Read::Nothing);
        }
        let shared = Rc::clone(&self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let scratch = &mut *scratch;
        scratch.chunks.prepare(MIN_READ);
        let chunk = scratch.chunks.current();
        let room = chunk.capacity();
        let came = match taking::see(&self.stream, chunk) {
            Ok(0) => return Ok(Read::End),
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Nothing),
            Err(_) => return Err(Refused::Connection),
        };
        if came < room {
            taking::have_seen_all(&self.stream);
        }
        let (taken, rest, refused) = self.pass_on(scratch);
        if shared.journal.borrow().is_urgent() {
            shared.write_journal();
        }
        self.passed_on = taken;
        self.note_rest(taken, rest);
        refused?;
        match (taken, closed) {
            (0, true) => Ok(Read::End),
            (0, false) => Ok(Read::Nothing),
            _ => Ok(Read::Some),
        }
    }

    /// Cuts the chunk into messages and routes them; how many bytes of it these are, and what of the
    /// next message has come.
    fn pass_on(&mut self, scratch: &mut Scratch) -> (usize, Rest, Result<(), Refused>) {
        let mut chunk = scratch.chunks.current().split();
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
        let rest = Rest::of(chunk.get(end..).unwrap_or_default());
        chunk.truncate(end);
        relay.dispatch(&chunk.freeze(), scratch.pending.drain(..));
        relay.flush(&mut scratch.sender, Some(CHUNK));
        (end, rest, result)
    }

    /// Has the kernel forget what has been passed on.
    fn give_up(&mut self) -> Result<(), Refused> {
        let bytes = std::mem::take(&mut self.passed_on);
        let room = &mut self.shared.scratch.borrow_mut().discard;
        taking::give_up(&self.stream, bytes, room).map_err(|_| Refused::Connection)
    }

    /// Starts the clock of a message that has begun, unless it has been running for it already.
    fn note_rest(&mut self, taken: usize, rest: Rest) {
        let same_message = taken == 0 && self.rest.bytes > 0;
        self.rest = rest;
        if rest.bytes == 0 {
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
