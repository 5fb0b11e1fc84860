//! What is fuzzed, target by target. `cargo test` replays the seeds, and what fuzzing has found, without a fuzzer.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is not as expected is a finding"
)]

pub mod control;
pub mod datagram;
pub mod env_file;
pub mod inspect;
pub mod message_walker;
pub mod record_cutter;
pub mod router;
pub mod session;
pub mod spool_segment;
pub mod tcp_framer;
pub mod template_parser;

/// Runs one input.
pub type Run = fn(&[u8]);

/// Every target by its name.
pub const ALL: &[(&str, Run)] = &[
    ("control", control::run),
    ("datagram", datagram::run),
    ("env_file", env_file::run),
    ("inspect", inspect::run),
    ("message_walker", message_walker::run),
    ("record_cutter", record_cutter::run),
    ("router", router::run),
    ("session", session::run),
    ("spool_segment", spool_segment::run),
    ("tcp_framer", tcp_framer::run),
    ("template_parser", template_parser::run),
];
