//! The thread that appends to dump files. What the disk does not take is tried again and again;
//! meanwhile the jobs wait, and who gives them sees how much that is.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, SyncSender},
    },
};

use tokio::sync::oneshot;
use tracing::error;

use super::{context::Context, file::PartFile, finisher};

/// What waiting bytes cost beside themselves.
pub const JOB_COST: u64 = 128;
/// Buffers of this size are worth being used again.
const SPARE: RangeInclusive<usize> = 32 << 10..=256 << 10;

/// Something to do, in order. Files go by the number that the recorder gave them.
#[derive(Debug)]
pub enum Job {
    /// A file is to be created, the `again`-th of its name.
    Begin { file: u64, dir: PathBuf, stem: String, again: u32 },
    /// Whole messages are to be appended.
    Append { file: u64, bytes: Vec<u8>, messages: u64 },
    /// Nothing more will come for a file.
    Finish { file: u64 },
    /// All files of an interval are finished; whom to tell when they have their names.
    Turned(Vec<oneshot::Sender<()>>),
}

/// The files that are open.
pub struct Writer {
    context: Arc<Context>,
    files: HashMap<u64, PartFile>,
    finisher: SyncSender<finisher::Job>,
    spare: SyncSender<Vec<u8>>,
    /// Messages that were given up.
    lost: u64,
}

impl Writer {
    /// A writer that hands complete files to `finisher`, and used buffers to `spare`.
    pub fn new(
        context: Arc<Context>,
        finisher: SyncSender<finisher::Job>,
        spare: SyncSender<Vec<u8>>,
    ) -> Writer {
        Writer { context, files: HashMap::new(), finisher, spare, lost: 0 }
    }

    /// Works until there is nobody left to give jobs.
    pub fn run(mut self, jobs: Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Begin { file, dir, stem, again } => self.begin(file, &dir, &stem, again),
                Job::Append { file, bytes, messages } => self.append(file, bytes, messages),
                Job::Finish { file } => self.finish(file),
                // The finisher ends after us.
                Job::Turned(done) => drop(self.finisher.send(finisher::Job::Turned(done))),
            }
        }
        if self.lost > 0 {
            let (receiver, messages) = (self.context.receiver, self.lost);
            error!(%receiver, messages, "not recorded before the end: the disk took nothing");
        }
    }

    fn begin(&mut self, file: u64, dir: &Path, stem: &str, again: u32) {
        let path = dir.join(stem);
        let created = self.context.persist(&path, || PartFile::create(dir, stem, again));
        if let Some(part) = created {
            self.files.insert(file, part);
            self.context.stats.open.add(1);
        }
    }

    fn append(&mut self, file: u64, bytes: Vec<u8>, messages: u64) {
        let len = u64::try_from(bytes.len()).unwrap_or(0);
        let stats = &self.context.stats;
        let written = self.files.get_mut(&file).and_then(|part| {
            let path = part.path();
            let mut rest = bytes.as_slice();
            self.context.persist(&path, || {
                while !rest.is_empty() {
                    let count = part.append(rest)?;
                    rest = rest.get(count..).unwrap_or_default();
                }
                Ok(())
            })
        });
        match written {
            Some(()) => {
                stats.messages.add(messages);
                stats.bytes.add(len);
            }
            None => {
                self.lost += messages;
                // It may end within a message: the next start cuts and finishes it.
                if self.files.remove(&file).is_some() {
                    stats.open.subtract(1);
                }
            }
        }
        stats.waiting_bytes.fetch_sub(len + JOB_COST, Relaxed);
        self.give_back(bytes);
    }

    fn finish(&mut self, file: u64) {
        let Some(part) = self.files.remove(&file) else { return };
        self.context.stats.open.subtract(1);
        drop(self.finisher.send(finisher::Job::Finish(part)));
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if SPARE.contains(&buffer.capacity()) {
            // There may be enough of them.
            let _ = self.spare.try_send(buffer);
        }
    }
}
