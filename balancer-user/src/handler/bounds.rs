//! The most memory that a receiver takes, whatever exporters and collectors do.

use crate::{
    config::{Mode, Receiver},
    output::{MAX_DESTINATION_BYTES, MAX_UNREAD_BYTES},
    record::MAX_WAITING_BYTES,
    spool,
};

/// The thread with its receive buffers.
pub const HANDLER: u64 = 8 << 20;
/// An exporter session without templates, options, domains and queues.
pub const SESSION: u64 = 8 << 10;
/// A session's way out to one destination, with the task that keeps it connected.
pub const OUTLET: u64 = 8 << 10;

/// Bytes that a receiver and all its sessions take at most. What the kernel keeps in sockets and maps
/// is not in it.
pub fn memory(receiver: &Receiver) -> u64 {
    let outputs = to_u64(receiver.outputs().len());
    let session = SESSION + outputs * OUTLET;
    let queue = to_u64(MAX_DESTINATION_BYTES);
    let waiting = match receiver.mode {
        Mode::All => 0,
        // While no destination can take a turn.
        Mode::RoundRobin => queue,
        // For the dump files.
        Mode::Disabled => MAX_WAITING_BYTES,
    };
    // For the spool, and as much again for templates that must not be lost.
    let spooling = if outputs > 0 { 2 * spool::MAX_WAITING_BYTES } else { 0 };
    HANDLER
        + spooling
        + to_u64(receiver.limits.sessions) * session
        + to_u64(receiver.limits.template_bytes())
        + outputs * (queue + to_u64(MAX_UNREAD_BYTES))
        + waiting
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
