//! All spools of one receiver.

mod limits;
mod places;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use common::reason::Reason;
use tracing::{info, warn};

use places::name_of;
pub use places::{ANY, directory, max_bytes, purge, segment_files};

use super::{
    segment::{self, Label, Segment},
    segments::{Amount, Portion, Spool},
};
use crate::{
    config::{self, ReceiverId, SpoolFull},
    stats::{ReceiverStats, SpoolStats},
};

/// What a refusing disk may leave in memory before the oldest messages make room.
const MAX_UNWRITTEN: u64 = 32 << 20;
/// The file whose lock says whose directory it is.
const LOCK: &str = "lock";

/// The spools of one receiver, by number, and so by age.
#[derive(Debug)]
pub struct Store {
    receiver: ReceiverId,
    stats: Arc<ReceiverStats>,
    settings: config::Spool,
    /// The directories that are ours; new spools go to the last.
    roots: Vec<Root>,
    spools: BTreeMap<u64, Held>,
    /// Spools whose last segment was dropped while messages were appended to it.
    closed: Vec<u64>,
}

#[derive(Debug)]
struct Root {
    dir: PathBuf,
    /// Held for as long as the directory is ours.
    _lock: File,
}

#[derive(Debug)]
struct Held {
    spool: Spool,
    stats: Arc<SpoolStats>,
    /// Whether more may be appended, and the numbers must go on.
    in_use: bool,
}

impl Store {
    /// No spools yet.
    pub fn new(receiver: ReceiverId, settings: config::Spool, stats: Arc<ReceiverStats>) -> Store {
        Store {
            receiver,
            stats,
            settings,
            roots: Vec::new(),
            spools: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    /// Goes on with other settings. Spools stay where they are; new ones go where they say.
    pub fn reconfigure(&mut self, settings: config::Spool) {
        self.settings = settings;
    }

    /// Whether the directory is ours.
    pub fn is_open(&self) -> bool {
        let dir = directory(&self.settings.dir, self.receiver);
        self.roots.last().is_some_and(|root| root.dir == dir)
    }

    /// Whether there is any directory.
    pub fn has_place(&self) -> bool {
        !self.roots.is_empty()
    }

    /// Makes the directory ours; the spools that were found in it.
    pub fn open(&mut self) -> io::Result<Vec<(u64, Label)>> {
        let dir = directory(&self.settings.dir, self.receiver);
        segment::create_dir(&dir)?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
        if matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)) {
            let error = "another daemon or an ending receiver has it; give each a SPOOL_DIR";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, error));
        }
        let found = self.recover(&dir)?;
        self.roots.push(Root { dir, _lock: lock });
        Ok(found)
    }

    fn recover(&mut self, dir: &Path) -> io::Result<Vec<(u64, Label)>> {
        let mut found = Vec::new();
        for (dir, paths) in segment_files(dir)? {
            let mut parts: BTreeMap<u64, Vec<_>> = BTreeMap::new();
            for path in paths {
                match Segment::recover(&path) {
                    Ok((header, segment)) => {
                        parts.entry(header.spool).or_default().push((header, segment));
                    }
                    Err(error) => {
                        warn!(receiver = %self.receiver, file = %path.display(), "a file of the spool can't be read, it is left alone: {error}");
                    }
                }
            }
            for (id, parts) in parts {
                // One that is still at work is not found.
                let recovered =
                    (!self.spools.contains_key(&id)).then(|| Spool::recover(&dir, parts));
                let Some(spool) = recovered.flatten() else { continue };
                let label = spool.label().clone();
                self.insert(id, spool);
                if self.spools.contains_key(&id) {
                    found.push((id, label));
                }
            }
        }
        Ok(found)
    }

    fn insert(&mut self, id: u64, spool: Spool) {
        let stats = self.stats.spool(spool.label().destination.as_deref());
        count(&stats, Amount::default(), spool.amount());
        self.spools.insert(id, Held { spool, stats, in_use: false });
        self.forget_if_empty(id);
    }

    /// Begins a segment of a spool, which is made if it is not there. Without a directory nothing
    /// happens.
    pub fn begin(&mut self, id: u64, label: &Label, preamble: &[u8], now: u64) {
        let Some(root) = self.roots.last() else { return };
        if !self.spools.contains_key(&id) {
            let stats = self.stats.spool(label.destination.as_deref());
            let dir = root.dir.join(name_of(label.destination.as_deref()));
            let spool = Spool::new(&dir, label.clone(), id);
            self.spools.insert(id, Held { spool, stats, in_use: true });
        }
        if let Some(held) = self.spools.get_mut(&id) {
            held.in_use = true;
        }
        self.change(id, |spool| spool.begin(preamble, now));
    }

    /// Appends messages. Those whose segment was dropped are dropped, too.
    pub fn append(&mut self, id: u64, messages: &[u8], count: u64, now: u64) {
        let lost = self.change(id, |spool| spool.append(messages, count, now)).unwrap_or(0);
        self.lost(id, Reason::SpoolFull, lost);
    }

    /// Nothing more is appended to the last segment of a spool.
    pub fn seal(&mut self, id: u64) {
        self.change(id, Spool::seal);
        if let Some(held) = self.spools.get_mut(&id) {
            held.in_use = false;
        }
        self.forget_if_empty(id);
    }

    /// Messages of a spool before this number have arrived.
    pub fn release(&mut self, id: u64, upto: u64) {
        self.change(id, |spool| spool.release(upto));
        self.forget_if_empty(id);
    }

    /// Reading goes on with this message of a spool, which may still have to come.
    pub fn read_from(&mut self, id: u64, number: u64) {
        self.change(id, |spool| spool.read_from(number));
    }

    /// Reads on in a spool. What is lost for good is left out, and counted.
    pub fn read(&mut self, id: u64, max: usize) -> io::Result<Portion> {
        loop {
            match self.change(id, |spool| spool.read(max)) {
                None => return Ok(Portion::default()),
                Some(Ok(portion)) => return Ok(portion),
                Some(Err(error)) if is_lasting(&error) => {
                    let lost = self.change(id, Spool::skip).unwrap_or(0);
                    self.lost(id, Reason::SpoolLost, lost);
                    self.closed.push(id);
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Brings to the disk what is in memory. What it refuses stays, as long as there is room.
    pub fn write(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        let waiting: Vec<u64> = self
            .spools
            .iter()
            .filter(|(_, held)| held.spool.unwritten_bytes() > 0)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            if let Err(error) = self.write_one(id) {
                result = Err(error);
            }
        }
        result
    }

    /// The same of one spool.
    pub fn write_one(&mut self, id: u64) -> io::Result<()> {
        loop {
            let Some(written) = self.change(id, Spool::write) else { return Ok(()) };
            let Err(error) = written else { break };
            match error.kind() {
                io::ErrorKind::NotFound => {
                    let Some(lost) = self.change(id, Spool::drop_vanished).flatten() else {
                        return Err(error);
                    };
                    self.lost(id, Reason::SpoolLost, lost);
                    self.closed.push(id);
                    self.forget_if_empty(id);
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                    if !self.holds() && self.unwritten_bytes() > MAX_UNWRITTEN =>
                {
                    if !self.drop_oldest(id, Reason::SpoolFull) {
                        return Err(error);
                    }
                }
                _ => return Err(error),
            }
        }
        Ok(())
    }

    /// Bytes that are in memory alone.
    pub fn unwritten_bytes(&self) -> u64 {
        self.spools.values().map(|held| held.spool.unwritten_bytes()).sum()
    }

    /// Has the disk take all that was written.
    pub fn sync(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        let ids: Vec<u64> = self.spools.keys().copied().collect();
        for id in ids {
            let synced = self.change(id, Spool::sync).unwrap_or(Ok(()));
            // What has vanished is noticed when it is written to, or read.
            if let Err(error) = synced
                && error.kind() != io::ErrorKind::NotFound
            {
                result = Err(error);
            }
            self.forget_if_empty(id);
        }
        result
    }

    /// Says since when messages wait.
    pub fn note_ages(&self) {
        let mut oldest: BTreeMap<Option<&str>, (u64, &SpoolStats)> = BTreeMap::new();
        for held in self.spools.values() {
            let begun = held.spool.oldest().map_or(u64::MAX, |segment| segment.begun);
            let label = held.spool.label().destination.as_deref();
            let (first, _) = oldest.entry(label).or_insert((u64::MAX, &held.stats));
            *first = begun.min(*first);
        }
        for (begun, stats) in oldest.into_values() {
            stats.oldest.store(if begun == u64::MAX { 0 } else { begun }, Relaxed);
        }
    }

    /// The spools whose handlers have to begin new segments.
    pub fn take_closed(&mut self) -> Vec<u64> {
        self.closed.dedup();
        std::mem::take(&mut self.closed)
    }

    /// Whether a full spool holds exporters back.
    pub fn holds(&self) -> bool {
        self.settings.full == SpoolFull::Hold
    }

    fn lost(&self, id: u64, reason: Reason, messages: u64) {
        let Some(held) = self.spools.get(&id).filter(|_| messages > 0) else { return };
        held.stats.drops.add(reason, messages);
        if let Some(left_out) = held.stats.log_drops.pass() {
            let label = held.spool.label();
            warn!(
                receiver = %self.receiver, destination = label.destination.as_deref().unwrap_or(ANY),
                messages, reason = reason.as_str(), left_out,
                "spooled messages are dropped: {}", reason.meaning()
            );
        }
    }

    /// Changes a spool, and the gauges with it.
    fn change<T>(&mut self, id: u64, change: impl FnOnce(&mut Spool) -> T) -> Option<T> {
        let held = self.spools.get_mut(&id)?;
        let before = held.spool.amount();
        let result = change(&mut held.spool);
        count(&held.stats, before, held.spool.amount());
        Some(result)
    }

    fn forget_if_empty(&mut self, id: u64) {
        let is_empty = |held: &Held| held.spool.is_empty() && !held.in_use;
        if self.spools.get(&id).is_some_and(is_empty) {
            let held = self.spools.remove(&id);
            let left = held.filter(|held| !self.has_others(held));
            if let Some(held) = left {
                held.stats.oldest.store(0, Relaxed);
                let label = held.spool.label();
                info!(receiver = %self.receiver, destination = label.destination.as_deref().unwrap_or(ANY), "the spool is empty");
            }
        }
    }

    fn has_others(&self, held: &Held) -> bool {
        let destination = &held.spool.label().destination;
        self.spools.values().any(|other| other.spool.label().destination == *destination)
    }
}

/// Whether trying again is no use.
fn is_lasting(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
}

fn count(stats: &SpoolStats, before: Amount, after: Amount) {
    for (gauge, before, after) in [
        (&stats.messages, before.messages, after.messages),
        (&stats.bytes, before.bytes, after.bytes),
    ] {
        gauge.add(after.saturating_sub(before));
        gauge.subtract(before.saturating_sub(after));
    }
}
