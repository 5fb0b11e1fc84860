//! Ways out: a bounded queue and a transport session for each (exporter session, destination).

mod outlet;
mod queue;
mod spooling;
mod unread;

pub use outlet::{
    Link, MAX_DESTINATION_BYTES, MAX_QUEUE_BYTES, MAX_UNREAD_BYTES, Outlet, OutletId,
};
pub use queue::{Entry, Queue, Taken};
pub use spooling::SPOOL_FROM;
