//! What the kernel programs and the daemon share: one reading of an IPFIX message, one
//! arithmetic of sequence numbers, one list of reasons. Nothing here allocates or panics.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod handover;
pub mod maps;
pub mod message;
pub mod reason;
pub mod record;
pub mod sequence;
pub mod template;
pub mod turn;
