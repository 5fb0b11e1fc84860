//! Room for dump files.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};

use super::{Check, Finding};
use crate::config::{Mode, Receiver};

/// Less than this share of a disk is little.
const LITTLE_PERCENT: u64 = 5;
/// With less than so many bytes the next minutes may not fit.
const TOO_LITTLE: u64 = 256 << 20;

/// What a directory's disk has left.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub bytes: u64,
    pub of: u64,
    pub files: u64,
    /// Whether we may write there.
    pub writable: bool,
}

/// Looks at every directory that dump files go to.
pub fn look(receivers: &[&Receiver]) -> Vec<Finding> {
    let recording = receivers.iter().filter(|receiver| receiver.mode == Mode::Disabled);
    let directories: BTreeSet<&PathBuf> = recording.map(|receiver| &receiver.record.dir).collect();
    directories.into_iter().map(|directory| check(directory, room(directory))).collect()
}

/// A directory that is not there yet is made in the nearest one that is.
fn room(directory: &Path) -> io::Result<Room> {
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(directory);
    let disk = statvfs(there)?;
    Ok(Room {
        bytes: disk.blocks_available() * disk.fragment_size(),
        of: disk.blocks() * disk.fragment_size(),
        // Some file systems do not count files.
        files: if disk.files() == 0 { u64::MAX } else { disk.files_available() },
        writable: access(there, AccessFlags::W_OK).is_ok(),
    })
}

pub(super) fn check(directory: &Path, room: io::Result<Room>) -> Finding {
    const CHECK: Check = Check::Disk;
    let place = directory.display();
    let Room { bytes, of, files, writable } = match room {
        Ok(room) => room,
        Err(error) => {
            let found = format!("{place}: {error}");
            return Finding::fail(CHECK, found, "Mount it, or set another DUMP_DIR.");
        }
    };
    let percent = bytes * 100 / of.max(1);
    let found = format!("{place}: {} MiB free, {percent} %", bytes >> 20);
    let make_room = "Make room, or have old files deleted (DUMP_KEEP_DAYS, DUMP_KEEP_MB).";
    match () {
        () if !writable => Finding::fail(
            CHECK,
            format!("{place}: not writable for this user"),
            "Give the directory to the daemon's user, or set another DUMP_DIR.",
        ),
        () if files == 0 => {
            Finding::fail(CHECK, format!("{place}: no room for another file"), make_room)
        }
        () if bytes < TOO_LITTLE => Finding::fail(CHECK, found, make_room),
        () if percent < LITTLE_PERCENT => Finding::warn(CHECK, found, make_room),
        () => Finding::ok(CHECK, found),
    }
}
