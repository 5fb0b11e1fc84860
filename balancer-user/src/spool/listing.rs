//! What is in the spools of a receiver, as its files say: whether a daemon runs or not.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Serialize;

use super::{
    segment::{self, Label},
    segments::note,
    store::{directory, segment_files},
};
use crate::config::ReceiverId;

/// One spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Whose messages, and for whom.
    #[serde(flatten)]
    pub label: Label,
    /// Messages that have not arrived, as far as the disk knows.
    pub messages: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// When the oldest segment was begun, in seconds since 1970.
    pub since_unix_seconds: u64,
}

/// The spools of a receiver, oldest first. A directory that is not there has none.
pub fn list(spool_dir: &Path, receiver: ReceiverId) -> io::Result<Vec<Listed>> {
    let mut spools = BTreeMap::new();
    let dirs = match segment_files(&directory(spool_dir, receiver)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result?,
    };
    for (dir, mut files) in dirs {
        // The names of a spool's segments sort by their numbers.
        files.sort();
        for file in files {
            // The daemon may have deleted it meanwhile, or not have written its beginning.
            let Ok((header, messages, bytes)) = segment::look(&file) else { continue };
            let done = fs::read_to_string(note(&dir, header.spool)).ok();
            let done: u64 = done.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            let end = header.first + messages;
            let listed = spools.entry(header.spool).or_insert(Listed {
                label: header.label,
                messages: 0,
                bytes: 0,
                since_unix_seconds: header.begun,
            });
            listed.messages += end - done.clamp(header.first, end);
            listed.bytes += bytes;
        }
    }
    Ok(spools.into_values().collect())
}
