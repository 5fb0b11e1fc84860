//! Bounds-checked access to IPFIX bytes (RFC 7011 section 3).

/// Octets in a message header.
pub const MESSAGE_HEADER: usize = 16;
/// Octets in a set header.
pub const SET_HEADER: usize = 4;
/// Set id of templates.
pub const TEMPLATE_SET: u16 = 2;
/// Set id of options templates.
pub const OPTIONS_TEMPLATE_SET: u16 = 3;
/// Field length that says "variable" (RFC 7011 section 7).
pub const VARIABLE: u16 = u16::MAX;

/// The 16-bit number at `at`, if the bytes reach that far.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

/// The 32-bit number at `at`, if the bytes reach that far.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// The `length` field of a message header.
pub fn length(message: &[u8]) -> Option<usize> {
    u16_at(message, 2).map(usize::from)
}

/// The sequence number of a message.
pub fn sequence(message: &[u8]) -> Option<u32> {
    u32_at(message, 8)
}

/// The observation domain id of a message.
pub fn domain(message: &[u8]) -> Option<u32> {
    u32_at(message, 12)
}

/// A copy of a message with its sequence number set to 0: two messages that a balancer may
/// have renumbered are compared in this form.
pub fn without_sequence(message: &[u8]) -> Vec<u8> {
    let mut copy = message.to_vec();
    if let Some(field) = copy.get_mut(8..12) {
        field.fill(0);
    }
    copy
}

/// Cuts whole messages from the front of a byte stream, as a TCP collector does.
///
/// Returns the messages and how many bytes they took; what follows is an unfinished message, or
/// something that is not IPFIX (see [`is_framed`]).
pub fn cut(stream: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut messages = Vec::new();
    let mut used = 0;
    while let Some(rest) = stream.get(used..).filter(|rest| is_framed(rest)) {
        let Some(message) = length(rest).and_then(|length| rest.get(..length)) else { break };
        messages.push(message);
        used += message.len();
    }
    (messages, used)
}

/// True while the bytes can be the beginning of an IPFIX message: version 10, length at least 16.
/// Fewer than four bytes can't tell yet and count as framed, none at all do not.
pub fn is_framed(bytes: &[u8]) -> bool {
    let version = u16_at(bytes, 0).is_none_or(|version| version == 10);
    let length = length(bytes).is_none_or(|length| length >= MESSAGE_HEADER);
    !bytes.is_empty() && version && length
}

/// The sets of a message in order, as (set id, content without the set header).
///
/// `Err` holds the offset at which the sets stop adding up to the message's length.
pub fn sets(message: &[u8]) -> Result<Vec<(u16, &[u8])>, usize> {
    let mut sets = Vec::new();
    let mut at = MESSAGE_HEADER;
    while at < message.len() {
        let (Some(id), Some(length)) = (u16_at(message, at), u16_at(message, at + 2)) else {
            return Err(at);
        };
        let end = at + usize::from(length);
        let content = message.get(at + SET_HEADER..end).ok_or(at)?;
        sets.push((id, content));
        at = end;
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 16] = [0, 10, 0, 16, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];

    #[test]
    fn header_fields_are_found() {
        assert_eq!(length(&HEADER), Some(16));
        assert_eq!(sequence(&HEADER), Some(2));
        assert_eq!(domain(&HEADER), Some(3));
        assert_eq!(domain(&HEADER[..15]), None);
    }

    #[test]
    fn a_stream_is_cut_into_whole_messages() {
        let stream = [&HEADER[..], &HEADER[..], &HEADER[..7]].concat();
        let (messages, used) = cut(&stream);
        assert_eq!(messages, [&HEADER[..], &HEADER[..]]);
        assert_eq!(used, 32);
    }

    #[test]
    fn cutting_stops_at_lost_framing() {
        let stream = [&HEADER[..], &[0, 9, 0, 16][..]].concat();
        assert_eq!(cut(&stream).1, 16);
        assert!(!is_framed(&stream[16..]));
        assert!(!is_framed(&[0, 10, 0, 15]));
    }

    #[test]
    fn sets_that_do_not_add_up_are_refused() {
        let mut message = HEADER.to_vec();
        message.extend([1, 0, 0, 6, 1, 2]);
        assert_eq!(sets(&message), Ok(vec![(256, &[1, 2][..])]));
        message.extend([1, 0, 0, 5]);
        assert_eq!(sets(&message), Err(22));
        message.truncate(22);
        message.extend([1, 0, 0, 3]);
        assert_eq!(sets(&message), Err(22));
    }
}
