//! The TCP framer: any segmentation of a byte stream gives the same messages and the same end.
//! Input: how many bytes steer the segmentation, those bytes, then the stream.

use balancer_user::input::frame::next_in_stream;
use common::message::{HEADER_LEN, Header, Malformed};

/// Runs one input.
pub fn run(input: &[u8]) {
    let Some((&count, rest)) = input.split_first() else { return };
    let Some((segments, stream)) = rest.split_at_checked(usize::from(count)) else { return };
    let whole = Framed::of([stream]);
    assert_eq!(whole, Framed::of(pieces(stream, segments)));
    assert_eq!(whole, Framed::of(stream.chunks(1)));
    let cut: usize = whole.messages.iter().map(Vec::len).sum();
    assert_eq!(whole.messages.concat(), stream[..cut]);
    for message in &whole.messages {
        let header = Header::framed(message).expect("a message has a header");
        assert_eq!(usize::from(header.length), message.len());
    }
    assert!(whole.error.is_some() || is_unfinished(&stream[cut..]));
}

/// The stream in pieces of the lengths that `segments` say, over and over.
fn pieces<'a>(mut stream: &'a [u8], segments: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut lengths = segments.iter().map(|length| usize::from(*length) + 1).cycle();
    while let (false, Some(length)) = (stream.is_empty(), lengths.next()) {
        let (piece, rest) = stream.split_at(length.min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces.push(stream);
    pieces
}

/// Less than a header, or less than the header's length.
fn is_unfinished(rest: &[u8]) -> bool {
    rest.len() < HEADER_LEN
        || Header::framed(rest).is_ok_and(|header| usize::from(header.length) > rest.len())
}

#[derive(Debug, Default, PartialEq)]
struct Framed {
    messages: Vec<Vec<u8>>,
    error: Option<Malformed>,
}

impl Framed {
    /// Reads as a connection does: what is no whole message yet stays in front of the next piece.
    fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut framed = Self::default();
        let mut kept: Vec<u8> = Vec::new();
        for piece in pieces {
            kept.extend_from_slice(piece);
            let mut at = 0;
            loop {
                match next_in_stream(&kept[at..]) {
                    Ok(Some(length)) => {
                        framed.messages.push(kept[at..at + length].to_vec());
                        at += length;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        framed.error = Some(error);
                        return framed;
                    }
                }
            }
            kept.drain(..at);
        }
        framed
    }
}
