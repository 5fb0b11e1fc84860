//! Sockets: opening them, and moving many datagrams a system call.

pub mod affinity;
pub mod barrier;
pub mod mmsg;
pub mod socket;
