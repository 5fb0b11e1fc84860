//! A datagram: what passes the check is whole messages whose sets add up, and nothing else; the
//! same messages in one stream are cut alike.

use balancer_user::input::frame::{check_datagram, next_in_datagram, next_in_stream};
use common::message::{HEADER_LEN, Sets};

/// Runs one input.
pub fn run(input: &[u8]) {
    let checked = check_datagram(input);
    let mut rest = input;
    while !rest.is_empty() {
        let Ok(length) = next_in_datagram(rest) else { break };
        assert!((HEADER_LEN..=rest.len()).contains(&length));
        assert_eq!(next_in_stream(rest), Ok(Some(length)));
        let (message, after) = rest.split_at(length);
        if Sets::of(message).any(|set| set.is_err()) {
            break;
        }
        rest = after;
    }
    assert_eq!(checked.is_ok(), rest.is_empty());
}
