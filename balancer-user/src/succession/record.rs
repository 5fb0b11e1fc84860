//! One entry of a journal, and its form in the file: length, checksum, content.

use std::io::{self, Read};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::session::{Progress, SavedSession};

/// The longest record: a session with all that may be kept of it, and messages that wait.
const MAX_RECORD: usize = 256 << 20;

/// What has happened to the session of a number.
#[derive(Serialize, Deserialize)]
pub enum Record {
    Began(u64, Box<SavedSession>),
    Learned(u64, Bytes),
    Progressed(u64, Progress),
    Released(u64),
    Ended(u64),
}

/// The next record. One that was being written when the process ended is the end.
pub fn next(file: &mut impl Read) -> io::Result<Option<Record>> {
    let mut head = [0; 8];
    if !is_whole(file.read_exact(&mut head))? {
        return Ok(None);
    }
    let [a, b, c, d, e, f, g, h] = head;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > MAX_RECORD {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Ok(None);
    }
    if crc32fast::hash(&bytes) != u32::from_le_bytes([e, f, g, h]) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    postcard::from_bytes(&bytes).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn is_whole(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The bytes of a record.
pub fn encode(record: &Record) -> Vec<u8> {
    // All of it is in memory already: there is nothing to fail on.
    let bytes = postcard::to_stdvec(record).unwrap_or_default();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let head = [length.to_le_bytes(), crc32fast::hash(&bytes).to_le_bytes()];
    head.into_iter().flatten().chain(bytes).collect()
}
