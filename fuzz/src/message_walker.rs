//! The message walker: a header reads back as written, and the sets are the message's bytes, each
//! once and in order.

use common::message::{HEADER_LEN, Header, SET_HEADER_LEN, Sets, set_sequence};

/// Runs one input.
pub fn run(input: &[u8]) {
    let Ok(header) = Header::framed(input) else { return };
    assert_eq!(header.to_bytes(), input[..HEADER_LEN]);
    let Some(message) = input.get(..usize::from(header.length)) else { return };
    sets_are_the_message(message);
    sequence_is_all_that_changes(message);
}

fn sets_are_the_message(message: &[u8]) {
    let mut at = HEADER_LEN;
    let mut whole = true;
    for set in Sets::of(message) {
        assert!(whole, "a set after an error");
        let Ok(set) = set else {
            whole = false;
            continue;
        };
        assert!(set.bytes.len() >= SET_HEADER_LEN);
        assert_eq!(set.bytes, &message[at..at + set.bytes.len()]);
        assert_eq!(set.id.to_be_bytes(), set.bytes[..2]);
        assert_eq!(set.body(), &set.bytes[SET_HEADER_LEN..]);
        at += set.bytes.len();
    }
    assert_eq!(whole, at == message.len());
}

fn sequence_is_all_that_changes(message: &[u8]) {
    let mut changed = message.to_vec();
    set_sequence(&mut changed, 0xdead_beef);
    let before = Header::read(message).map(|header| Header { sequence: 0xdead_beef, ..header });
    assert_eq!(Header::read(&changed), before);
    assert_eq!(changed[HEADER_LEN..], message[HEADER_LEN..]);
}
