//! What a handler and the thread of its spools share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{config::ReceiverId, stats::ReceiverStats};

/// Bytes that may wait for the thread and the disk. Those of a disk that does not answer for a
/// moment cost nothing as long as they fit.
pub const MAX_WAITING_BYTES: u64 = 64 << 20;

/// Who spools, and what waits in memory.
#[derive(Debug)]
pub struct Context {
    /// The receiver.
    pub receiver: ReceiverId,
    /// Its counters.
    pub stats: Arc<ReceiverStats>,
    /// Bytes that the thread has not taken.
    pub queued: AtomicU64,
    /// Bytes that the disk has not taken.
    pub unwritten: AtomicU64,
}

impl Context {
    /// Of a receiver that is about to spool.
    pub fn new(receiver: ReceiverId, stats: Arc<ReceiverStats>) -> Context {
        Context { receiver, stats, queued: AtomicU64::new(0), unwritten: AtomicU64::new(0) }
    }

    /// Bytes that wait in memory.
    pub fn waiting(&self) -> u64 {
        self.queued.load(Relaxed) + self.unwritten.load(Relaxed)
    }
}
