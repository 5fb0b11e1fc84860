//! Names of dump files: `20261123T160000Z_fullflow-0_dpi7_192.0.2.1-40000.ipfix`.
//!
//! The start of the interval in UTC comes first, so that names sort by time. The parts are
//! separated by `_`, which none of them has.

use std::{net::SocketAddr, time::Duration};

use jiff::Timestamp;

use crate::config::ReceiverId;

/// How the start of an interval is written.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Bytes of it.
const TIME_LEN: usize = "20261123T160000Z".len();

/// The end of a finished file's name.
pub const FINISHED: &str = ".ipfix";
/// What a file's name ends with in addition while it is being written.
pub const PART: &str = ".part";
/// What a compressed file's name ends with in addition.
pub const ZSTD: &str = ".zst";

/// What a dump file's name says of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being written, or its writer was interrupted.
    Part,
    /// It is complete.
    Finished,
    /// It is complete, and compressed.
    Compressed,
    /// It is being compressed, or that was interrupted.
    PartCompressed,
}

/// A dump file's name without its end.
pub fn stem(start: Duration, receiver: ReceiverId, dpi_id: i64, exporter: SocketAddr) -> String {
    let seconds = i64::try_from(start.as_secs()).unwrap_or(i64::MAX);
    let start = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).strftime(TIME);
    // A colon means a host to many programs.
    let ip = exporter.ip().to_string().replace(':', "-");
    format!("{start}_{}_dpi{dpi_id}_{ip}-{}", receiver.file_name(), exporter.port())
}

/// A stem for the `again`-th file that would have the same.
pub fn numbered(stem: &str, again: u32) -> String {
    match again {
        0 => stem.to_owned(),
        _ => format!("{stem}_{again:04}"),
    }
}

/// The state of `receiver`'s dump file of this name; `None` for any other file.
pub fn state(name: &str, receiver: ReceiverId) -> Option<State> {
    let (time, rest) = name.split_at_checked(TIME_LEN)?;
    let is_time = |text: &str| {
        text.bytes().zip("00000000T000000Z".bytes()).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == form,
        })
    };
    let rest = rest.strip_prefix('_')?.strip_prefix(&receiver.file_name())?.strip_prefix("_dpi")?;
    let ends: [(&[&str], State); 4] = [
        (&[FINISHED], State::Finished),
        (&[FINISHED, PART], State::Part),
        (&[FINISHED, ZSTD], State::Compressed),
        (&[FINISHED, ZSTD, PART], State::PartCompressed),
    ];
    let (_, state) = ends.into_iter().find(|(end, _)| rest.ends_with(&end.concat()))?;
    is_time(time).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stream;

    const RECEIVER: ReceiverId =
        ReceiverId { stream: Stream::Fullflow, index: 0, subreceiver: None };

    fn named(seconds: u64, receiver: ReceiverId, exporter: &str) -> String {
        stem(Duration::from_secs(seconds), receiver, 7, exporter.parse().unwrap())
    }

    #[test]
    fn a_name_says_when_which_stream_and_who() {
        let name = named(1_795_449_600, RECEIVER, "192.0.2.1:40000");
        assert_eq!(name, "20261123T160000Z_fullflow-0_dpi7_192.0.2.1-40000");
        let launched = ReceiverId { subreceiver: Some(2), ..RECEIVER };
        let name = named(0, launched, "[2001:db8::1]:4739");
        assert_eq!(name, "19700101T000000Z_fullflow-0.2_dpi7_2001-db8--1-4739");
        assert_eq!(numbered(&name, 0), name);
        assert!(numbered(&name, 12).ends_with("-4739_0012"));
    }

    #[test]
    fn names_sort_by_time_and_number() {
        let first = named(1_795_449_600, RECEIVER, "192.0.2.1:40000");
        let later = named(1_795_449_601, RECEIVER, "192.0.2.1:40000");
        let names = [0, 1, 2, 10].map(|again| numbered(&first, again) + FINISHED);
        assert!(names.is_sorted());
        assert!(names[3] < later + FINISHED);
    }

    #[test]
    fn a_receiver_knows_its_own_files() {
        let stem = named(0, RECEIVER, "192.0.2.1:40000");
        for (end, expected) in [
            (".ipfix", Some(State::Finished)),
            (".ipfix.part", Some(State::Part)),
            (".ipfix.zst", Some(State::Compressed)),
            (".ipfix.zst.part", Some(State::PartCompressed)),
            (".pcap", None),
        ] {
            assert_eq!(state(&format!("{stem}{end}"), RECEIVER), expected);
        }
        let launched = ReceiverId { subreceiver: Some(0), ..RECEIVER };
        let tenth = ReceiverId { index: 10, ..RECEIVER };
        for other in [launched, tenth] {
            assert_eq!(state(&format!("{stem}.ipfix"), other), None);
            assert_eq!(state(&(named(0, other, "[::1]:1") + FINISHED), RECEIVER), None);
        }
        assert_eq!(state("notes.ipfix", RECEIVER), None);
        assert_eq!(state("2026112xT160000Z_fullflow-0_dpi7_.ipfix", RECEIVER), None);
    }
}
