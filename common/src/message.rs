//! The IPFIX message: header and sets (RFC 7011 sections 3.1 and 3.3).

/// Version number in every IPFIX message header.
pub const VERSION: u16 = 10;
/// Bytes of a message header.
pub const HEADER_LEN: usize = 16;
/// Bytes of a set header.
pub const SET_HEADER_LEN: usize = 4;
/// Where the sequence number stands in a message.
pub const SEQUENCE_OFFSET: usize = 8;
/// The longest message that the 16-bit length field can say.
pub const MAX_LEN: usize = u16::MAX as usize;

/// Set id of a template set.
pub const TEMPLATE_SET: u16 = 2;
/// Set id of an options template set.
pub const OPTIONS_TEMPLATE_SET: u16 = 3;
/// The lowest set id of a data set, and so the lowest template id.
pub const MIN_DATA_SET: u16 = 256;

/// Why bytes are not an IPFIX message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer bytes than a header, or than the header's length field says, or more.
    Length,
    /// A set's length is below its header's, or goes beyond the message.
    SetLength,
    /// A template record goes beyond its set, or has an id below 256.
    Template,
    /// The version field has this value, not 10.
    Version(u16),
}

/// The fields of a message header, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Protocol version, 10 for IPFIX.
    pub version: u16,
    /// Bytes of the whole message, this header included.
    pub length: u16,
    /// Seconds since 1970.
    pub export_time: u32,
    /// Data records sent before this message, modulo 2^32, per observation domain.
    pub sequence: u32,
    /// Observation domain id (ODID).
    pub domain: u32,
}

impl Header {
    /// Reads the header from the first 16 bytes; `None` where there are fewer.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let b = bytes.first_chunk::<HEADER_LEN>()?;
        let [v0, v1, l0, l1, t0, t1, t2, t3, s0, s1, s2, s3, d0, d1, d2, d3] = *b;
        Some(Header {
            version: u16::from_be_bytes([v0, v1]),
            length: u16::from_be_bytes([l0, l1]),
            export_time: u32::from_be_bytes([t0, t1, t2, t3]),
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            domain: u32::from_be_bytes([d0, d1, d2, d3]),
        })
    }

    /// The header's wire form.
    #[inline]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [v0, v1] = self.version.to_be_bytes();
        let [l0, l1] = self.length.to_be_bytes();
        let [t0, t1, t2, t3] = self.export_time.to_be_bytes();
        let [s0, s1, s2, s3] = self.sequence.to_be_bytes();
        let [d0, d1, d2, d3] = self.domain.to_be_bytes();
        [v0, v1, l0, l1, t0, t1, t2, t3, s0, s1, s2, s3, d0, d1, d2, d3]
    }

    /// The header of the message that `bytes` start with, if version and length can be believed:
    /// what cutting a byte stream into messages rests on.
    #[inline]
    pub fn framed(bytes: &[u8]) -> Result<Header, Malformed> {
        let header = Header::read(bytes).ok_or(Malformed::Length)?;
        if header.version != VERSION {
            return Err(Malformed::Version(header.version));
        }
        if usize::from(header.length) < HEADER_LEN {
            return Err(Malformed::Length);
        }
        Ok(header)
    }
}

/// Overwrites the sequence number of `message`; too short a message is left alone.
#[inline]
pub fn set_sequence(message: &mut [u8], sequence: u32) {
    if let Some(field) = message.get_mut(SEQUENCE_OFFSET..SEQUENCE_OFFSET + 4) {
        field.copy_from_slice(&sequence.to_be_bytes());
    }
}

/// One set: id, and its bytes with and without the set header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// Set id.
    pub id: u16,
    /// The whole set, header included.
    pub bytes: &'a [u8],
}

impl<'a> Set<'a> {
    /// What follows the set header.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(SET_HEADER_LEN..).unwrap_or_default()
    }

    /// Whether this is a template set or an options template set.
    #[inline]
    pub fn is_template(&self) -> bool {
        matches!(self.id, TEMPLATE_SET | OPTIONS_TEMPLATE_SET)
    }
}

/// The sets of a message, in order. After the first error the walk is over.
#[derive(Clone, Debug)]
pub struct Sets<'a> {
    rest: &'a [u8],
}

impl<'a> Sets<'a> {
    /// Walks the sets of one whole message; a message without sets has none.
    #[inline]
    pub fn of(message: &'a [u8]) -> Sets<'a> {
        Sets { rest: message.get(HEADER_LEN..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Sets<'a> {
    type Item = Result<Set<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let set = next_set(self.rest);
        self.rest = match set {
            Ok(set) => self.rest.get(set.bytes.len()..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(set)
    }
}

/// The fields of a set header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetHeader {
    /// Set id.
    pub id: u16,
    /// Bytes of the set, header included.
    pub length: usize,
}

impl SetHeader {
    /// Reads the set header in `bytes`, from which on the message has `rest` bytes.
    #[inline(always)]
    pub fn read(bytes: [u8; SET_HEADER_LEN], rest: usize) -> Result<SetHeader, Malformed> {
        let [i0, i1, l0, l1] = bytes;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length < SET_HEADER_LEN || length > rest {
            return Err(Malformed::SetLength);
        }
        Ok(SetHeader { id: u16::from_be_bytes([i0, i1]), length })
    }
}

#[inline]
fn next_set(rest: &[u8]) -> Result<Set<'_>, Malformed> {
    let header = rest.first_chunk().ok_or(Malformed::SetLength)?;
    let SetHeader { id, length } = SetHeader::read(*header, rest.len())?;
    let bytes = rest.get(..length).ok_or(Malformed::SetLength)?;
    Ok(Set { id, bytes })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn message(body: &[u8]) -> Vec<u8> {
        let header = Header {
            version: VERSION,
            length: u16::try_from(HEADER_LEN + body.len()).unwrap(),
            export_time: 1,
            sequence: 0x0102_0304,
            domain: 9,
        };
        [&header.to_bytes(), body].concat()
    }

    #[test]
    fn a_header_reads_back_as_written() {
        let bytes = message(&[]);
        let header = Header::framed(&bytes).unwrap();
        assert_eq!((header.sequence, header.domain, header.length), (0x0102_0304, 9, 16));
        assert_eq!(header.to_bytes().as_slice(), bytes);
    }

    #[test]
    fn framing_needs_version_ten_and_a_length_of_sixteen() {
        let mut bytes = message(&[]);
        assert_eq!(Header::framed(&bytes[..15]), Err(Malformed::Length));
        bytes[3] = 15;
        assert_eq!(Header::framed(&bytes), Err(Malformed::Length));
        bytes[1] = 9;
        assert_eq!(Header::framed(&bytes), Err(Malformed::Version(9)));
    }

    #[test]
    fn a_header_alone_has_no_sets() {
        assert_eq!(Sets::of(&message(&[])).count(), 0);
    }

    #[test]
    fn sets_are_cut_by_their_length() {
        let bytes = message(&[0, 2, 0, 4, 1, 0, 0, 6, 7, 8]);
        let sets: Vec<_> = Sets::of(&bytes).map(Result::unwrap).collect();
        assert_eq!(sets.iter().map(|s| s.id).collect::<Vec<_>>(), [2, 256]);
        assert_eq!(sets[1].body(), [7, 8]);
        assert!(sets[0].is_template() && !sets[1].is_template());
    }

    #[test]
    fn a_set_length_that_does_not_add_up_ends_the_walk() {
        for body in [&[1, 0, 0, 3][..], &[1, 0, 0, 5], &[1, 0, 0], &[0, 0, 0, 0]] {
            let bytes = message(body);
            let sets: Vec<_> = Sets::of(&bytes).collect();
            assert_eq!(sets, [Err(Malformed::SetLength)]);
        }
    }

    #[test]
    fn the_sequence_number_alone_is_rewritten() {
        let mut bytes = message(&[1, 0, 0, 4]);
        let before = bytes.clone();
        set_sequence(&mut bytes, 0xaabb_ccdd);
        assert_eq!(Header::read(&bytes).unwrap().sequence, 0xaabb_ccdd);
        set_sequence(&mut bytes, 0x0102_0304);
        assert_eq!(bytes, before);
    }
}
