//! What a collector has received.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wire;

/// One transport session: a TCP connection, or everything from one UDP source.
#[derive(Clone, Debug)]
pub struct Session {
    /// The other end.
    pub peer: SocketAddr,
    /// Whole messages in the order of arrival.
    pub messages: Vec<Vec<u8>>,
    /// TCP: what came after the last whole message. UDP: what in datagrams was no whole message.
    pub rest: Vec<u8>,
    /// UDP: octets of the largest datagram.
    pub largest_datagram: usize,
    /// TCP: the connection has not ended. UDP sessions have no end and stay open.
    pub open: bool,
}

impl Session {
    /// The messages one after another: an IPFIX file.
    pub fn stream(&self) -> Vec<u8> {
        self.messages.concat()
    }
}

/// Names a session for the thread that serves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(usize);

/// The sessions of one collector, shared with its threads.
#[derive(Debug, Default)]
pub(super) struct Store {
    sessions: Mutex<Vec<Session>>,
    messages: AtomicUsize,
    octets: AtomicUsize,
}

impl Store {
    pub(super) fn open(&self, peer: SocketAddr) -> Key {
        let mut sessions = self.lock();
        sessions.push(Session {
            peer,
            messages: Vec::new(),
            rest: Vec::new(),
            largest_datagram: 0,
            open: true,
        });
        Key(sessions.len() - 1)
    }

    /// Takes the whole messages off the front of `stream`, and leaves the rest in it.
    pub(super) fn take(&self, key: Key, stream: &mut Vec<u8>, counts_only: bool) {
        let (messages, used) = wire::cut(stream);
        if !counts_only {
            let kept = messages.iter().map(|message| message.to_vec());
            self.with(key, |session| session.messages.extend(kept));
        }
        // After the messages are in place: whoever sees the count finds them.
        self.octets.fetch_add(used, Ordering::Release);
        self.messages.fetch_add(messages.len(), Ordering::Release);
        stream.drain(..used);
    }

    pub(super) fn note_rest(&self, key: Key, rest: &[u8]) {
        self.with(key, |session| session.rest.extend_from_slice(rest));
    }

    pub(super) fn note_datagram(&self, key: Key, length: usize) {
        self.with(key, |session| session.largest_datagram = session.largest_datagram.max(length));
    }

    pub(super) fn close(&self, key: Key) {
        self.with(key, |session| session.open = false);
    }

    pub(super) fn messages(&self) -> usize {
        self.messages.load(Ordering::Acquire)
    }

    pub(super) fn octets(&self) -> usize {
        self.octets.load(Ordering::Acquire)
    }

    pub(super) fn sessions(&self) -> Vec<Session> {
        self.lock().clone()
    }

    pub(super) fn session_count(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.lock().iter().filter(|session| session.open).count()
    }

    fn with(&self, key: Key, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.lock().get_mut(key.0) {
            change(session);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
