//! Where spools are.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Store;
use crate::{
    config::{self, Receiver, ReceiverId},
    spool::segment::SUFFIX,
};

/// `SPOOL_MAX_MB` counts millions of bytes.
const MB: u64 = 1_000_000;

/// Empties the spools of a receiver that no daemon serves; how many messages were in them.
pub fn purge(receiver: &Receiver, destination: Option<&str>) -> io::Result<u64> {
    if !directory(&receiver.spool.dir, receiver.id).exists() {
        return Ok(0);
    }
    let mut store = Store::new(receiver.id, receiver.spool.clone(), Arc::default());
    store.open()?;
    Ok(store.purge(destination))
}

/// What the spool of messages without a turn is called.
pub const ANY: &str = "any";

/// `SPOOL_MAX_MB` in bytes.
pub fn max_bytes(settings: &config::Spool) -> u64 {
    settings.max_mb.saturating_mul(MB)
}

/// Where the spools of a receiver are.
pub fn directory(spool_dir: &Path, receiver: ReceiverId) -> PathBuf {
    spool_dir.join(receiver.file_name())
}

pub(super) fn name_of(destination: Option<&str>) -> String {
    destination.unwrap_or(ANY).replace('/', "_").replace(':', "-")
}

/// The segment files below a receiver's directory, by the directory that they are in.
pub fn segment_files(dir: &Path) -> io::Result<Vec<(PathBuf, Vec<PathBuf>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let dir = entry?.path();
        if !dir.is_dir() {
            continue;
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.to_str().is_some_and(|name| name.ends_with(SUFFIX)) {
                files.push(path);
            }
        }
        found.push((dir, files));
    }
    Ok(found)
}
