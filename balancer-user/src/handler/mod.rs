//! A handler: the pinned thread that serves one receiver, with a runtime of its own.
//!
//! Everything in this module runs on that thread. The sessions' state is therefore in `Rc` and
//! `RefCell`; no borrow lives across an `await`.

mod backlog;
pub mod bounds;
mod chunks;
mod connection;
pub mod health;
mod recording;
mod relay;
mod shared;
pub mod spooling;
mod thread;

pub use chunks::CHUNK;
pub use relay::{Hold, Relay};
pub use shared::{Scratch, Shared};
#[cfg(test)]
pub use thread::JOURNAL;
pub use thread::{Estate, Handler};
