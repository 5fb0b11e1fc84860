//! What a recorder and its threads share.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tracing::{error, info};

use crate::{
    config::{Receiver, ReceiverId, Record},
    stats::RecordStats,
};

/// The pause between two attempts to write to a disk that refuses.
pub const RETRY: Duration = Duration::from_millis(250);

/// Who records, how, and how it goes.
#[derive(Debug)]
pub struct Context {
    /// The receiver.
    pub receiver: ReceiverId,
    /// Counters, and what is wrong.
    pub stats: Arc<RecordStats>,
    /// The daemon ends: what can't be written now never will be.
    pub stopping: AtomicBool,
    settings: Mutex<Arc<Record>>,
}

impl Context {
    /// The context of a receiver that is about to record.
    pub fn new(receiver: &Receiver, stats: Arc<RecordStats>) -> Context {
        Context {
            receiver: receiver.id,
            stats,
            stopping: AtomicBool::new(false),
            settings: Mutex::new(Arc::new(receiver.record.clone())),
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Record> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other settings.
    pub fn reconfigure(&self, settings: &Record) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.clone());
    }

    /// Tries something with a dump file until it works: disks become writable and have room again.
    /// `None`: the daemon ends, and it did not work.
    pub fn persist<T>(&self, path: &Path, mut attempt: impl FnMut() -> io::Result<T>) -> Option<T> {
        let mut failing = false;
        let outcome = loop {
            match attempt() {
                Ok(done) => break Some(done),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        self.stats.failing.fetch_add(1, Relaxed);
                    }
                    self.complain("record", path, &error);
                    if self.stopping.load(Relaxed) {
                        break None;
                    }
                    thread::sleep(RETRY);
                }
            }
        };
        if failing {
            self.stats.failing.fetch_sub(1, Relaxed);
            if outcome.is_some()
                && let Some(left_out) = self.stats.log_resumed.pass()
            {
                let file = path.display();
                info!(receiver = %self.receiver, %file, left_out, "recording goes on");
            }
        }
        outcome
    }

    /// Says in the log and in `status` what can't be done, and why.
    pub fn complain(&self, what: &str, path: &Path, why: &io::Error) {
        let file = path.display();
        self.stats.set_last_error(format!("can't {what} {file}: {why}"));
        if let Some(left_out) = self.stats.log_errors.pass() {
            let hint = match why.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "; make room, or set DUMP_KEEP_MB"
                }
                io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing",
                io::ErrorKind::PermissionDenied => "; the daemon must own DUMP_DIR",
                _ => "",
            };
            error!(receiver = %self.receiver, %file, left_out, "can't {what}: {why}{hint}");
        }
    }

    /// Takes note of a finished file.
    pub fn finished(&self, path: &Path) {
        self.stats.files.add(1);
        self.stats.set_last_file(PathBuf::from(path));
    }
}
