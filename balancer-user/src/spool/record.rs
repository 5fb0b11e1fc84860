//! What a segment file is made of: records of kind, length, checksum and bytes. All numbers are in
//! network order. The checksum (CRC-32) is over all the rest of the record.

use common::message::MAX_LEN;
use crc32fast::Hasher;

/// Bytes of a record ahead of its own: kind, length, checksum.
pub const HEAD_LEN: usize = 9;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the segment is: the first record.
    Header = 1,
    /// A message with templates or options that were live when the segment began.
    Preamble = 2,
    /// A message that waits.
    Message = 3,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Its bytes, [`MAX_LEN`] at most.
    pub bytes: &'a [u8],
}

/// Bytes are no record, and nothing behind them can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Appends a record. Longer bytes than a message can have are cut.
pub fn append(to: &mut Vec<u8>, kind: Kind, bytes: &[u8]) {
    let length = u32::try_from(bytes.len().min(MAX_LEN)).unwrap_or(0);
    let bytes = bytes.get(..MAX_LEN).unwrap_or(bytes);
    to.push(kind as u8);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(&checksum(kind as u8, length, bytes).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn checksum(kind: u8, length: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The records that bytes begin with. After the first error the walk is over.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    read: usize,
    broken: bool,
}

impl<'a> Records<'a> {
    /// Walks the records of `bytes`, whose last one may be cut off.
    pub fn of(bytes: &'a [u8]) -> Records<'a> {
        Records { bytes, read: 0, broken: false }
    }

    /// Bytes of the whole records so far.
    pub fn read(&self) -> usize {
        self.read
    }

    /// Whether something that is no record was met.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Broken>;

    fn next(&mut self) -> Option<Result<Record<'a>, Broken>> {
        if self.broken {
            return None;
        }
        let (head, rest) = self.bytes.get(self.read..)?.split_first_chunk::<HEAD_LEN>()?;
        let [number, l0, l1, l2, l3, c0, c1, c2, c3] = *head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let kind = match number {
            1 => Some(Kind::Header),
            2 => Some(Kind::Preamble),
            3 => Some(Kind::Message),
            _ => None,
        };
        let len = usize::try_from(length).ok().filter(|len| *len <= MAX_LEN);
        let (Some(kind), Some(len)) = (kind, len) else {
            self.broken = true;
            return Some(Err(Broken));
        };
        let bytes = rest.get(..len)?;
        if checksum(number, length, bytes) != u32::from_be_bytes([c0, c1, c2, c3]) {
            self.broken = true;
            return Some(Err(Broken));
        }
        self.read += HEAD_LEN + len;
        Some(Ok(Record { kind, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&mut bytes, Kind::Preamble, b"first");
        append(&mut bytes, Kind::Message, b"second");
        bytes
    }

    #[test]
    fn records_come_back_and_a_cut_one_does_not() {
        let all = two();
        for len in 0..=all.len() {
            let mut records = Records::of(&all[..len]);
            let read: Vec<_> = records.by_ref().map(Result::unwrap).map(|r| r.bytes).collect();
            let whole = [b"first".as_slice(), b"second"];
            let count = usize::from(len >= HEAD_LEN + 5) + usize::from(len == all.len());
            assert_eq!(read, whole[..count]);
            assert_eq!(records.read(), [0, HEAD_LEN + 5, all.len()][count]);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let all = two();
        for place in 0..all.len() * 8 {
            let mut bytes = all.clone();
            bytes[place / 8] ^= 1 << (place % 8);
            let read: Vec<_> = Records::of(&bytes).map_while(Result::ok).collect();
            assert!(read.len() < 2, "bit {place}");
        }
    }
}
