//! Cutting bytes into messages.

use common::message::{HEADER_LEN, Header, Malformed, Sets, VERSION};

/// Length of the whole message at the start of a TCP byte stream; `None` while some of it has yet
/// to come. A version or length that can't be is noticed as soon as its bytes are there.
#[inline]
pub fn next_in_stream(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(&[v0, v1, l0, l1]) = bytes.first_chunk() else { return Ok(None) };
    let (version, length) = (u16::from_be_bytes([v0, v1]), u16::from_be_bytes([l0, l1]));
    if version != VERSION {
        return Err(Malformed::Version(version));
    }
    let length = usize::from(length);
    if length < HEADER_LEN {
        return Err(Malformed::Length);
    }
    Ok((length <= bytes.len()).then_some(length))
}

/// Lengths of the messages of a datagram, which together are all of it. One malformed message
/// condemns the datagram: `next` is asked for each in turn until the bytes are used up.
pub fn next_in_datagram(bytes: &[u8]) -> Result<usize, Malformed> {
    if let Some(&[v0, v1]) = bytes.first_chunk() {
        let version = u16::from_be_bytes([v0, v1]);
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
    }
    let length = usize::from(Header::framed(bytes)?.length);
    if length > bytes.len() { Err(Malformed::Length) } else { Ok(length) }
}

/// Checks that a datagram is made of whole messages with sets that add up.
pub fn check_datagram(mut bytes: &[u8]) -> Result<(), Malformed> {
    while !bytes.is_empty() {
        let length = next_in_datagram(bytes)?;
        let (message, rest) = bytes.split_at_checked(length).ok_or(Malformed::Length)?;
        if let Some(Err(malformed)) = Sets::of(message).find(Result::is_err) {
            return Err(malformed);
        }
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: u16) -> Vec<u8> {
        let mut bytes = [0, 10, 0, 0].to_vec();
        bytes[2..].copy_from_slice(&len.to_be_bytes());
        bytes.resize(16, 0);
        if len > 16 {
            bytes.extend([1, 0]);
            bytes.extend((len - 16).to_be_bytes());
        }
        bytes.resize(usize::from(len), 0);
        bytes
    }

    #[test]
    fn a_stream_is_cut_by_length_once_all_is_there() {
        let bytes = [message(20), message(30)].concat();
        for cut in 0..20 {
            assert_eq!(next_in_stream(&bytes[..cut]), Ok(None));
        }
        assert_eq!(next_in_stream(&bytes), Ok(Some(20)));
        assert_eq!(next_in_stream(&bytes[20..]), Ok(Some(30)));
    }

    #[test]
    fn lost_framing_is_noticed_at_once() {
        assert_eq!(next_in_stream(&[0, 9, 0, 20]), Err(Malformed::Version(9)));
        assert_eq!(next_in_stream(&[0, 10, 0, 15]), Err(Malformed::Length));
    }

    #[test]
    fn a_datagram_is_whole_messages_and_nothing_else() {
        assert_eq!(check_datagram(&[message(16), message(24)].concat()), Ok(()));
        let trailing = [message(20), vec![0, 10]].concat();
        assert_eq!(check_datagram(&trailing), Err(Malformed::Length));
        assert_eq!(check_datagram(&message(20)[..19]), Err(Malformed::Length));
        assert_eq!(check_datagram(&[0, 5, 0, 1]), Err(Malformed::Version(5)));
        assert_eq!(check_datagram(&[0]), Err(Malformed::Length));
        let mut bad_set = message(24);
        bad_set[19] = 9;
        assert_eq!(check_datagram(&[message(16), bad_set].concat()), Err(Malformed::SetLength));
    }
}
