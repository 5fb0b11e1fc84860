//! Messages that wait on disk for a destination that is away or slow (`SPOOL_DIR`).
//!
//! A spool holds the messages of one exporter session for one destination, in order, in segment
//! files. Each segment begins with all templates and options that are live there, so that what is
//! read from it can be sent over any transport session. A handler appends to its spools and reads
//! from them by way of a [`Spooler`]; the disk is the business of one thread for each receiver, so
//! that a slow one delays nothing but what waits for it.
//!
//! ```text
//! <SPOOL_DIR>/fullflow-0/lock
//! <SPOOL_DIR>/fullflow-0/10.19.3.21_1500_tcp/<spool>-<segment>_<exporter>.spool
//! <SPOOL_DIR>/fullflow-0/10.19.3.21_1500_tcp/<spool>.done     messages that have arrived
//! <SPOOL_DIR>/fullflow-0/any/...                              messages that have had no turn
//! ```

mod context;
mod handle;
mod listing;
pub mod record;
mod segment;
mod segments;
mod spooler;
mod store;
#[cfg(test)]
mod tests;
mod worker;

pub use context::MAX_WAITING_BYTES;
pub use handle::{Handle, SEGMENTS};
pub use listing::{Listed, list};
pub use segment::{Label, messages};
pub use segments::{Portion, Spool};
pub use spooler::Spooler;
pub use store::{ANY, directory, purge};
pub use worker::{RETRY, Reply};
