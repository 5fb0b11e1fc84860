//! Recording: dump files (IPFIX Files, RFC 5655), one for each exporter session and interval.
//!
//! A handler appends what it receives to the [`SessionFile`] of each session, and its [`Recorder`]
//! says when an interval ends. The disk is the business of three threads, one after the other, so
//! that none waits for what it need not wait for: `writer` appends to `.part` files, `finisher`
//! gives those that are complete their final names, `aftercare` compresses and announces them and
//! deletes the old ones.

mod aftercare;
mod beat;
mod compress;
mod context;
mod file;
mod finisher;
mod name;
mod notify;
mod recorder;
mod recovery;
mod retention;
mod rotation;
mod session_file;

mod writer;

pub use beat::Beat;
pub use context::RETRY;
pub use notify::COMMAND_LIMIT;
pub use recorder::{MAX_UNANNOUNCED, Recorder};
pub use session_file::SessionFile;

/// Bytes that may wait for the writer of one receiver. A disk that does not answer for a moment
/// costs nothing as long as they fit.
pub const MAX_WAITING_BYTES: u64 = 64 << 20;
