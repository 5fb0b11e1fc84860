//! What is wrong with a file, and where.

use std::io;

use common::message::Malformed;

/// Something in a file that can't be read, or is missing. Reading goes on behind it where it can.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A packet of a capture is cut: the capture was made with a snapshot length below it.
    #[error("a packet was not captured whole: capture with a larger snapshot length (-s 0)")]
    CutPacket,
    /// The capture itself is broken, or of a form that is not read.
    #[error("the capture can't be read on from here: {0}")]
    Capture(String),
    /// A record goes beyond its set, or can't have any length.
    #[error("data set {0} does not fit its template: the rest of the set is left out")]
    BadRecord(u16),
    /// One of several packets of an IP datagram.
    #[error("a fragmented IP packet: fragments are not put together")]
    Fragment,
    /// More of something than is kept.
    #[error("more {0} than are kept: what belongs to further ones is left out")]
    Limit(&'static str),
    /// Sets or templates do not add up (RFC 7011 section 9.1).
    #[error("a message of {length} bytes is malformed, {}: it is left out", explain(*reason))]
    Malformed {
        /// Bytes of the message.
        length: usize,
        /// What does not add up.
        reason: Malformed,
    },
    /// Bytes among messages that are none.
    #[error("no whole IPFIX message here, bytes skipped: {0}")]
    NoMessage(u64),
    /// Bytes of a TCP connection that are not in the capture.
    #[error("bytes of a TCP connection are missing here, or come too late: {0}")]
    TcpGap(u32),
    /// The file can't be opened or read.
    #[error("can't read: {0}")]
    Unreadable(#[from] io::Error),
}

/// What is malformed, in words.
fn explain(reason: Malformed) -> &'static str {
    match reason {
        Malformed::Length => "its length field is wrong",
        Malformed::SetLength => "the length of a set does not add up",
        Malformed::Template => "a template does not add up",
        Malformed::Version(_) => "its version is not 10",
    }
}
