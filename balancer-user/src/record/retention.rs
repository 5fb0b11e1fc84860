//! Which dump files have to go: those that are too old, and the oldest where there are too many.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::name::{self, State};
use crate::config::{ReceiverId, Record};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// `DUMP_KEEP_MB` counts millions of bytes.
const MB: u64 = 1_000_000;

/// A finished dump file.
#[derive(Debug, PartialEq, Eq)]
struct Dump {
    path: PathBuf,
    finished: SystemTime,
    bytes: u64,
}

/// Deletes what the receiver's settings have no room for; how many files, and an error if not all
/// of them could be deleted.
pub fn sweep(
    settings: &Record,
    receiver: ReceiverId,
    now: SystemTime,
) -> (usize, Option<io::Error>) {
    if settings.keep_days == 0 && settings.keep_mb == 0 {
        return (0, None);
    }
    let (mut deleted, mut failed) = (0, None);
    for path in surplus(dumps(&settings.dir, receiver), settings, now) {
        match fs::remove_file(path) {
            Ok(()) => deleted += 1,
            Err(error) => failed = Some(error),
        }
    }
    (deleted, failed)
}

/// The receiver's finished files, oldest first.
fn dumps(dir: &Path, receiver: ReceiverId) -> Vec<Dump> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dump = |entry: fs::DirEntry| {
        let state = name::state(entry.file_name().to_str()?, receiver)?;
        let metadata = entry.metadata().ok()?;
        matches!(state, State::Finished | State::Compressed).then_some(Dump {
            path: entry.path(),
            finished: metadata.modified().ok()?,
            bytes: metadata.len(),
        })
    };
    let mut dumps: Vec<_> = entries.filter_map(dump).collect();
    // Names begin with the time.
    dumps.sort_by(|a, b| a.path.cmp(&b.path));
    dumps
}

fn surplus(dumps: Vec<Dump>, settings: &Record, now: SystemTime) -> Vec<PathBuf> {
    let mut bytes: u64 = dumps.iter().map(|dump| dump.bytes).sum();
    let (days, room) = (settings.keep_days, settings.keep_mb.saturating_mul(MB));
    let newest = dumps.len().saturating_sub(1);
    let mut surplus = Vec::new();
    for (place, dump) in dumps.into_iter().enumerate() {
        let age = now.duration_since(dump.finished).unwrap_or_default();
        let old = days > 0 && age > DAY * days;
        // The newest stays, however large it is.
        let large = room > 0 && bytes > room && place < newest;
        if old || large {
            bytes -= dump.bytes;
            surplus.push(dump.path);
        }
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Stream};

    fn settings(days: u32, mb: u64) -> Record {
        let text = format!(
            "IPFIX_FULLFLOW_BALANCER=Disabled\nIPFIX_FULLFLOW_DUMP_KEEP_DAYS={days}\n\
             IPFIX_FULLFLOW_DUMP_KEEP_MB={mb}"
        );
        let checked = Config::parse(Path::new("test"), &text, &Environment::default()).unwrap();
        checked.config.receivers[0].record.clone()
    }

    /// Three files of 2 MB, finished 3, 2 and 1 days ago.
    fn three(now: SystemTime) -> Vec<Dump> {
        let dump = |days: u32| Dump {
            path: days.to_string().into(),
            finished: now - DAY * days,
            bytes: 2 * MB,
        };
        [3, 2, 1].map(dump).into()
    }

    #[test]
    fn old_ones_go_and_the_oldest_of_too_many() {
        let now = SystemTime::now();
        let gone = |days, mb| -> Vec<String> {
            let surplus = surplus(three(now), &settings(days, mb), now + Duration::from_secs(60));
            surplus.iter().map(|path| path.display().to_string()).collect()
        };
        assert!(gone(0, 0).is_empty());
        assert_eq!(gone(2, 0), ["3", "2"]);
        assert_eq!(gone(0, 6), [""; 0]);
        assert_eq!(gone(0, 5), ["3"]);
        assert_eq!(gone(0, 1), ["3", "2"]);
        assert_eq!(gone(1, 100), ["3", "2", "1"]);
        assert_eq!(gone(3, 4), ["3"]);
    }

    #[test]
    fn nothing_but_finished_dump_files_of_the_receiver_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let ours = "20261123T160000Z_fullflow-0_dpi0_192.0.2.1-4000.ipfix";
        let names = [
            ours,
            "20261123T160000Z_fullflow-1_dpi0_192.0.2.1-4000.ipfix",
            "20261123T160000Z_fullflow-0_dpi0_192.0.2.1-4000.ipfix.part",
            "mine.ipfix",
        ];
        for name in names {
            fs::write(dir.path().join(name), [0; 10]).unwrap();
        }
        let receiver = ReceiverId { stream: Stream::Fullflow, index: 0, subreceiver: None };
        let found = dumps(dir.path(), receiver);
        assert_eq!(found.iter().map(|d| &d.path).collect::<Vec<_>>(), [&dir.path().join(ours)]);
    }
}
