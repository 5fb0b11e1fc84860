//! What a daemon leaves to the next one, so that a restart loses nothing: sockets, and what it knows
//! of the sessions on them.
//!
//! Sockets outlive the process in the [`Store`] of the service manager, or are [handed on](hand_on)
//! to the process that takes over. What is known is in the [`Journal`]s, files that
//! every handler writes for its receiver. [`Heritage`] is what the next daemon finds of the sockets.

mod handing;
mod heritage;
mod journal;
#[cfg(test)]
mod journal_tests;
mod record;
mod session;
mod store;

pub use handing::{Left, Received, hand_on, take_over};
pub use heritage::{Exporter, Heritage};
pub use journal::{Archive, Damaged, Journal, read};
pub use session::{Heir, Progress, SavedSession};
pub use store::{MAX_KEPT, Place, Store};

/// What becomes of a receiver's sessions when its handler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The receiver is no more: nothing of it is left.
    Nothing,
    /// The daemon stops: connections are closed, what is known of UDP sessions is left.
    Sessions,
    /// Another daemon takes over at once: sockets stay open, exporters notice nothing.
    Everything,
}
