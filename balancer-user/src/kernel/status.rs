//! What `status` tells of a receiver's kernel path, and `load` of what is in the kernel.

use std::path::PathBuf;

use common::reason::{PassUp, Reason};

/// The oldest kernel that has all that the programs use: atomic exchange in programs (5.12), programs
/// in device and CPU maps (5.9).
pub const OLDEST: (u8, u8) = (5, 12);

/// Attachments and counters of one receiver.
#[derive(Clone, Debug, Default)]
pub struct PathStatus {
    /// Where programs are attached, and what stands in their way.
    pub reason: String,
    /// Messages forwarded.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was dropped, by reason.
    pub dropped: Vec<(Reason, u64)>,
    /// What was sent up, by reason.
    pub passed_up: Vec<(PassUp, u64)>,
    /// Messages and bytes to each destination.
    pub destinations: Vec<(u64, u64)>,
}

/// What stays in the kernel without a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Where the pins are.
    pub directory: PathBuf,
    /// The links, and the program that runs at each: its name, id, and interface.
    pub links: Vec<(String, String)>,
    /// The maps.
    pub maps: Vec<String>,
}
