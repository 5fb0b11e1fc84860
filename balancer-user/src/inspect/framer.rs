//! Cutting a byte stream into messages, past whatever is none.

use common::message::VERSION;

use crate::input::frame::next_in_stream;

/// A piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole message, and where in the stream it begins.
    Message(u64, &'a [u8]),
    /// So many bytes from here on were no message, or are the beginning of one that does not end.
    Skipped(u64, u64),
}

/// Holds what has come of a stream and is not used up: at most a message and one more push.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// How much of the buffer is used up.
    used: usize,
    /// Where in the stream the buffer begins.
    start: u64,
    /// Bytes skipped since the last message.
    skipped: u64,
    /// Whether the last bytes were no message: then one must be followed by another to be believed.
    lost: bool,
}

impl Framer {
    /// A framer for a stream that may begin in the middle of a message.
    pub fn in_the_middle() -> Framer {
        Framer { lost: true, ..Framer::default() }
    }

    /// Adds what comes next in the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.start += self.used as u64;
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece; `None` when more bytes are needed. With `ended` the stream has no more.
    pub fn next(&mut self, ended: bool) -> Option<Piece<'_>> {
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            let at = self.start + self.used as u64;
            match next_in_stream(rest) {
                Ok(Some(length)) if !self.lost || follows(rest, length, ended)? => {
                    if self.skipped > 0 {
                        return self.report_skipped(at);
                    }
                    self.lost = false;
                    let message = self.used..self.used + length;
                    self.used += length;
                    return self.buffer.get(message).map(|message| Piece::Message(at, message));
                }
                Ok(None) if !ended => return None,
                _ if rest.is_empty() => return self.report_skipped(at),
                _ => {
                    let step = distance_to_version(rest);
                    self.used += step;
                    self.skipped += step as u64;
                    self.lost = true;
                }
            }
        }
    }

    fn report_skipped(&mut self, at: u64) -> Option<Piece<'static>> {
        let skipped = std::mem::take(&mut self.skipped);
        (skipped > 0).then_some(Piece::Skipped(at - skipped, skipped))
    }
}

/// Whether the message of this length at the start of `rest` ends where the stream does, or where
/// another begins. `None` while that has yet to come.
fn follows(rest: &[u8], length: usize, ended: bool) -> Option<bool> {
    let after = rest.get(length..).unwrap_or_default();
    match after.first_chunk() {
        Some(version) => Some(u16::from_be_bytes(*version) == VERSION),
        None if ended => Some(after.is_empty()),
        None => None,
    }
}

/// Bytes up to where the next message could begin, at least one.
fn distance_to_version(rest: &[u8]) -> usize {
    let mut windows = rest.windows(2).skip(1);
    let next = windows.position(|pair| pair == VERSION.to_be_bytes());
    next.map_or(rest.len().saturating_sub(1), |position| position + 1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u16) -> Vec<u8> {
        let mut bytes = [&VERSION.to_be_bytes()[..], &length.to_be_bytes()].concat();
        bytes.resize(usize::from(length), 7);
        bytes
    }

    /// Offset and length of each piece; messages as `true`.
    fn pieces(mut framer: Framer, stream: &[u8], step: usize) -> Vec<(bool, u64, u64)> {
        let mut found = Vec::new();
        let mut note = |piece: Piece<'_>| {
            found.push(match piece {
                Piece::Message(at, message) => (true, at, message.len() as u64),
                Piece::Skipped(at, length) => (false, at, length),
            });
        };
        for bytes in stream.chunks(step) {
            framer.push(bytes);
            while let Some(piece) = framer.next(false) {
                note(piece);
            }
        }
        while let Some(piece) = framer.next(true) {
            note(piece);
        }
        found
    }

    #[test]
    fn messages_are_found_however_they_come() {
        let stream = [message(16), message(40), message(20)].concat();
        for step in [1, 3, 17, 100] {
            let found = pieces(Framer::default(), &stream, step);
            assert_eq!(found, [(true, 0, 16), (true, 16, 40), (true, 56, 20)]);
        }
    }

    #[test]
    fn what_is_no_message_is_skipped_up_to_one_that_can_be_believed() {
        // The bytes 0, 10 alone do not make a message: none follows where it would end.
        let stream = [message(16), vec![1, 0, 10, 0, 16, 9], message(20), message(20)].concat();
        for step in [1, 5, 100] {
            let found = pieces(Framer::default(), &stream, step);
            let expected = [(true, 0, 16), (false, 16, 6), (true, 22, 20), (true, 42, 20)];
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_message_that_does_not_end_is_skipped() {
        let stream = [message(16), message(40)[..39].to_vec()].concat();
        assert_eq!(pieces(Framer::default(), &stream, 9), [(true, 0, 16), (false, 16, 39)]);
        assert_eq!(pieces(Framer::default(), &[0], 9), [(false, 0, 1)]);
        assert_eq!(pieces(Framer::default(), &[], 9), []);
    }

    #[test]
    fn in_the_middle_a_message_must_be_followed_by_another_or_by_the_end() {
        let stream = [&message(40)[30..], &message(20), &message(20)].concat();
        let found = pieces(Framer::in_the_middle(), &stream, 4);
        assert_eq!(found, [(false, 0, 10), (true, 10, 20), (true, 30, 20)]);
    }
}
