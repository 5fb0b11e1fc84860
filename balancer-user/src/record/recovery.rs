//! What an interrupted daemon has left behind: files are cut to their last whole message and
//! finished.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use common::message::{HEADER_LEN, Header};
use tracing::{info, warn};

use super::{
    file::{PartFile, with},
    name::{self, FINISHED, PART, State, ZSTD},
};
use crate::config::ReceiverId;

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// The names of what is unfinished in a directory.
#[derive(Debug, Default)]
pub struct Leftovers {
    dir: PathBuf,
    names: Vec<(String, State)>,
}

impl Leftovers {
    /// Looks for them; to be called before anything new is written. A directory that is not there
    /// has none.
    pub fn of(dir: &Path, receiver: ReceiverId) -> Leftovers {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let names =
            names.filter_map(|name| name::state(&name, receiver).map(|state| (name, state)));
        Leftovers { dir: dir.to_owned(), names: names.collect() }
    }

    /// Brings them in order, one after the other: the dump files that are complete but for their
    /// names.
    pub fn recover(self) -> impl Iterator<Item = PartFile> {
        let Leftovers { dir, names } = self;
        names.into_iter().filter_map(move |(name, state)| {
            let path = dir.join(&name);
            let recovered = match state {
                State::Part => take_over(&path, &dir, &name),
                State::PartCompressed => remove_unless_locked(&path).map(|()| None),
                // The compression was complete, but for its end.
                State::Finished if with(&path, ZSTD).exists() => {
                    fs::remove_file(&path).map(|()| None)
                }
                State::Finished | State::Compressed => Ok(None),
            };
            recovered.unwrap_or_else(|error| {
                // Whoever was at work on it has finished it.
                if error.kind() == io::ErrorKind::NotFound {
                    return None;
                }
                warn!(file = %path.display(), "an unfinished dump file can't be finished: {error}");
                None
            })
        })
    }
}

/// Cuts an unfinished file; `None` if somebody writes it, or there is no whole message in it.
fn take_over(path: &Path, dir: &Path, name: &str) -> io::Result<Option<PartFile>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    if matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)) {
        return Ok(None);
    }
    let whole = whole_messages(&file)?;
    if whole == 0 {
        fs::remove_file(path)?;
        return Ok(None);
    }
    let cut = file.metadata()?.len().saturating_sub(whole);
    let name = name.strip_suffix(PART).unwrap_or(FINISHED);
    let part = PartFile::take_over(file, dir, name, whole)?;
    info!(file = %part.path().display(), bytes = whole, cut, "an interrupted dump file is finished");
    Ok(Some(part))
}

fn remove_unless_locked(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Ok(()),
        _ => fs::remove_file(path),
    }
}

/// Bytes of the whole messages that a file begins with.
fn whole_messages(file: &File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let mut end = 0;
    while size - end >= HEADER_LEN as u64 {
        let mut header = [0; HEADER_LEN];
        reader.read_exact(&mut header)?;
        // After a loss of power there may be anything.
        let Ok(header) = Header::framed(&header) else { break };
        if end + u64::from(header.length) > size {
            break;
        }
        end += u64::from(header.length);
        let body = u64::from(header.length) - HEADER_LEN as u64;
        io::copy(&mut reader.by_ref().take(body), &mut io::sink())?;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use common::message::VERSION;

    use super::*;
    use crate::config::Stream;

    const RECEIVER: ReceiverId =
        ReceiverId { stream: Stream::Fullflow, index: 0, subreceiver: None };
    const STEM: &str = "20261123T160000Z_fullflow-0_dpi0_192.0.2.1-4000";

    fn message(length: u16) -> Vec<u8> {
        let header = Header { version: VERSION, length, export_time: 0, sequence: 0, domain: 0 };
        let mut bytes = header.to_bytes().to_vec();
        bytes.resize(length.into(), 7);
        bytes
    }

    fn recover(dir: &Path) -> Vec<PathBuf> {
        let parts = Leftovers::of(dir, RECEIVER).recover();
        let mut paths: Vec<_> = parts.map(|mut part| part.publish().unwrap()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_part_is_cut_at_every_length_to_its_last_whole_message() {
        let all = [message(40), message(16), message(100)].concat();
        let dir = tempfile::tempdir().unwrap();
        // Within the header, the body, and at the ends of messages.
        for len in [0, 1, 15, 16, 39, 40, 41, 55, 56, 72, 155, 156] {
            let part = dir.path().join(format!("{STEM}.ipfix.part"));
            fs::write(&part, &all[..len]).unwrap();
            let whole = [156, 56, 40, 0].into_iter().find(|whole| *whole <= len).unwrap();
            let recovered = recover(dir.path());
            assert!(!part.exists());
            if whole == 0 {
                assert!(recovered.is_empty());
                continue;
            }
            assert_eq!(fs::read(&recovered[0]).unwrap(), all[..whole]);
            fs::remove_file(&recovered[0]).unwrap();
        }
    }

    #[test]
    fn what_is_no_message_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = [message(40), vec![0; 5000]].concat();
        fs::write(dir.path().join(format!("{STEM}.ipfix.part")), bytes).unwrap();
        assert_eq!(fs::read(&recover(dir.path())[0]).unwrap(), message(40));
    }

    #[test]
    fn others_files_and_those_being_written_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut live = PartFile::create(dir.path(), STEM, 0).unwrap();
        live.append(&message(40)).unwrap();
        let others = ["20261123T160000Z_fullflow-1_dpi0_192.0.2.1-4000.ipfix.part", "x.part"];
        for name in others {
            fs::write(dir.path().join(name), message(20)).unwrap();
        }
        assert_eq!(recover(dir.path()), Vec::<PathBuf>::new());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn an_interrupted_compression_leaves_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |end: &str| dir.path().join(format!("{STEM}{end}"));
        fs::write(path(".ipfix"), message(20)).unwrap();
        fs::write(path(".ipfix.zst.part"), [1]).unwrap();
        recover(dir.path());
        assert!(path(".ipfix").exists() && !path(".ipfix.zst.part").exists());
        fs::write(path(".ipfix.zst"), [1]).unwrap();
        recover(dir.path());
        assert!(!path(".ipfix").exists() && path(".ipfix.zst").exists());
    }
}
