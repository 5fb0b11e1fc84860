//! Journals: for each receiver a file with all that is known of its sessions, kept up to date by
//! its handler, so that it is there whatever ends the process.
//!
//! It lies beside the control socket, in memory: it outlives the process, not the host. A handler
//! appends what changes, and writes the file anew when it has grown to several times its size.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use thiserror::Error;
use tracing::warn;

use super::{
    record::{Record, encode, next},
    session::{Heir, Progress, SavedSession},
};
use crate::{
    config::{Protocol, instance},
    session::Router,
};

/// What a journal begins with. The number changes with the form of anything in it.
pub(super) const MAGIC: &[u8] = b"ipfix-balancer sessions, form 1\n";
/// A journal is not written anew before it has grown by so much.
const MIN_GROWTH: u64 = 1 << 20;
/// What is to be appended waits for the next write, up to this length.
const MAX_PENDING: usize = 256 << 10;

/// Why a journal is of no use.
#[derive(Debug, Error)]
pub enum Damaged {
    /// It can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is of another version of the program, or no journal at all.
    #[error("{} was written by another version", .0.display())]
    Foreign(PathBuf),
    /// Something else has written into it.
    #[error("{} is damaged", .0.display())]
    Broken(PathBuf),
}

/// Where the journals of a balancer are.
#[derive(Clone, Debug)]
pub struct Archive {
    dir: PathBuf,
    prefix: String,
}

impl Archive {
    /// The journals of the balancer with this configuration file, in `dir`.
    pub fn new(dir: &Path, config: &Path) -> Archive {
        Archive { dir: dir.to_owned(), prefix: format!("sessions-{}-", instance(config)) }
    }

    /// The journal of the receiver that listens there.
    pub fn journal(&self, protocol: Protocol, port: u16) -> PathBuf {
        self.dir.join(format!("{}{protocol}-{port}", self.prefix))
    }

    /// Removes all journals but `wanted`.
    pub fn keep_only(&self, wanted: &[PathBuf]) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let ours = entry.file_name().to_string_lossy().starts_with(&self.prefix);
            // A handler may be writing its journal anew, beside the old one.
            if ours && !wanted.contains(&entry.path().with_extension("")) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The sessions that a journal tells of; none where there is no journal.
///
/// # Errors
///
/// It can't be believed, not even in part.
pub fn read(path: &Path) -> Result<Vec<Heir>, Damaged> {
    let unreadable = |source| Damaged::Unreadable { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut magic = [0; MAGIC.len()];
    match file.read_exact(&mut magic) {
        Ok(()) if magic == *MAGIC => {}
        Ok(()) => return Err(Damaged::Foreign(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(Damaged::Foreign(path.to_owned()));
        }
        Err(error) => return Err(unreadable(error)),
    }
    let mut sessions = BTreeMap::new();
    loop {
        match next(&mut file) {
            Ok(Some(record)) => apply(&mut sessions, record),
            Ok(None) => return Ok(sessions.into_values().collect()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Damaged::Broken(path.to_owned()));
            }
            Err(error) => return Err(unreadable(error)),
        }
    }
}

fn apply(sessions: &mut BTreeMap<u64, Heir>, record: Record) {
    match record {
        Record::Began(id, session) => {
            let router = Router::restore(&session.router);
            sessions.insert(id, Heir { session: *session, router });
        }
        Record::Learned(id, message) => {
            if let Some(heir) = sessions.get_mut(&id) {
                heir.router.relearn(&message);
            }
        }
        Record::Progressed(id, progress) => {
            if let Some(heir) = sessions.get_mut(&id) {
                heir.router.renumber(&progress.numbers);
                heir.session.progress = progress;
            }
        }
        Record::Released(id) => {
            if let Some(heir) = sessions.get_mut(&id) {
                heir.session.waiting.clear();
            }
        }
        Record::Ended(id) => drop(sessions.remove(&id)),
    }
}

/// The journal of one receiver, as its handler writes it.
#[derive(Debug, Default)]
pub struct Journal {
    /// `None`: nobody will ask for it.
    path: Option<PathBuf>,
    /// `None`: it can't be written.
    file: Option<File>,
    /// What is to be appended.
    pending: Vec<u8>,
    urgent: bool,
    length: u64,
    /// The length from which on it is written anew.
    limit: u64,
}

impl Journal {
    /// A journal at `path`. Nothing is written, and what is there stays, before
    /// [`Journal::rewrite`].
    pub fn new(path: PathBuf) -> Journal {
        Journal { path: Some(path), ..Journal::default() }
    }

    /// A session has begun.
    pub fn began(&mut self, id: u64, session: SavedSession) {
        self.append(&Record::Began(id, Box::new(session)));
    }

    /// A session has learned templates or options: must be written before the exporter's bytes are
    /// given up.
    pub fn learned(&mut self, id: u64, message: Bytes) {
        self.append(&Record::Learned(id, message));
        self.urgent = true;
    }

    /// A session has passed messages on.
    pub fn progressed(&mut self, id: u64, progress: Progress) {
        self.append(&Record::Progressed(id, progress));
    }

    /// What has waited for destinations is on its way.
    pub fn released(&mut self, id: u64) {
        self.append(&Record::Released(id));
    }

    /// A session is over.
    pub fn ended(&mut self, id: u64) {
        self.append(&Record::Ended(id));
    }

    /// Whether something must be written before more is done.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Whether it has grown so much that it should be written anew.
    pub fn is_long(&self) -> bool {
        self.length > self.limit
    }

    /// Writes what has been appended.
    pub fn write(&mut self) {
        self.urgent = false;
        if self.pending.is_empty() {
            return;
        }
        let Some(file) = &mut self.file else { return };
        let written = file.write_all(&self.pending);
        self.length += u64::try_from(self.pending.len()).unwrap_or(0);
        self.pending.clear();
        if let Err(error) = written {
            self.give_up(&error);
        }
    }

    /// Writes the journal anew, in place of what was there.
    pub fn rewrite(&mut self, sessions: impl Iterator<Item = (u64, SavedSession)>) {
        let Some(path) = self.path.clone() else { return };
        self.pending.clear();
        let new = path.with_extension("new");
        let begun = begin(&new).and_then(|mut file| {
            let mut length = 0;
            for (id, session) in sessions {
                let record = encode(&Record::Began(id, Box::new(session)));
                file.write_all(&record)?;
                length += u64::try_from(record.len()).unwrap_or(0);
            }
            fs::rename(&new, &path)?;
            Ok((file, length))
        });
        match begun {
            Ok((file, length)) => {
                self.file = Some(file);
                self.urgent = false;
                (self.length, self.limit) = (length, length.saturating_mul(3) + MIN_GROWTH);
            }
            Err(error) => self.give_up(&error),
        }
    }

    /// Removes the journal.
    pub fn remove(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = fs::remove_file(path);
        }
        *self = Journal::default();
    }

    fn append(&mut self, record: &Record) {
        if self.file.is_none() {
            return;
        }
        self.pending.extend(encode(record));
        if self.pending.len() >= MAX_PENDING {
            self.write();
        }
    }

    /// What is not complete must not be read.
    fn give_up(&mut self, error: &io::Error) {
        if let Some(path) = &self.path {
            warn!(
                "can't write {}: {error}; until the next restart nothing is noted there, and a crash would end \
                 the exporters' sessions",
                path.display()
            );
        }
        self.remove();
    }
}

fn begin(path: &Path) -> io::Result<File> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(MAGIC)?;
    Ok(file)
}
