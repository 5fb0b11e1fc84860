//! An exporter session, as it is left to the next daemon.

use std::{
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    config::Destination,
    session::{Numbers, Router, Saved},
};

/// What is known of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSession {
    /// The exporter.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Where its messages go; the router's targets.
    pub destinations: Vec<Destination>,
    /// What changes with nearly every message.
    pub progress: Progress,
    /// Templates, options and what the router went by.
    pub router: Saved,
    /// RoundRobin: messages that nobody could take yet.
    pub waiting: Vec<Bytes>,
}

/// What changes with nearly every message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Turn and sequence numbers.
    pub numbers: Numbers,
    /// Where the UDP sockets to the destinations are bound: the session's name for a collector.
    pub sources: Vec<Option<SocketAddr>>,
    /// When the last message came, in seconds since 1970.
    pub last_seen: u64,
}

/// A session to be gone on with.
#[derive(Debug)]
pub struct Heir {
    /// What is known of it.
    pub session: SavedSession,
    /// Its router, with all that it has learned.
    pub router: Router,
}

impl Heir {
    /// For how long nothing has come of the session.
    pub fn idle(&self) -> Duration {
        let last_seen =
            UNIX_EPOCH.checked_add(Duration::from_secs(self.session.progress.last_seen));
        last_seen.and_then(|last_seen| last_seen.elapsed().ok()).unwrap_or_default()
    }
}
