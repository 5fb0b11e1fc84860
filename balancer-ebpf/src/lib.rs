//! The kernel path. It will steer UDP between established sessions with the walker and the
//! arithmetic of [`common`]; until it does, every receiver is served in userspace.

#![no_std]
#![forbid(unsafe_code)]

pub use common::{message, sequence};
