//! The thread that works with the disk for the spools of one receiver. What the disk refuses is
//! tried again and again; meanwhile it waits in memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver as Inbox, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc::UnboundedSender, oneshot};
use tracing::{error, info, warn};

use super::{context::Context, segment::Label, segments::Portion, store::Store};
use crate::config;

/// How often the disk is asked to have everything, and old messages are looked for.
const TICK: Duration = Duration::from_secs(1);
/// The pause between two attempts to write to a disk that refuses.
pub const RETRY: Duration = Duration::from_millis(250);
/// Bytes that are read at once.
const PORTION: usize = 256 << 10;

/// Something to do, in order. Spools go by the number that the handler gave them.
#[derive(Debug)]
pub enum Job {
    /// A segment begins, with these messages of live templates and options.
    Begin { spool: u64, label: Label, preamble: Vec<u8> },
    /// Messages are to be appended.
    Append { spool: u64, messages: Vec<u8>, count: u64 },
    /// Nothing more is appended before the next segment begins.
    Seal { spool: u64 },
    /// Reading goes on with the message of this number, which may still have to come.
    ReadFrom { spool: u64, number: u64 },
    /// The next messages are wanted.
    Read { spool: u64 },
    /// Messages before this number have arrived.
    Release { spool: u64, upto: u64 },
    /// The spools of a destination are to be emptied, or all; how many messages that were.
    Purge { destination: Option<String>, done: oneshot::Sender<u64> },
    /// Other settings.
    Reconfigure(config::Spool),
}

/// What a handler is told.
#[derive(Debug)]
pub enum Reply {
    /// The next messages of the spool of this number.
    Read(u64, Portion),
    /// The segment that messages are appended to was dropped: a new one has to begin.
    Closed(u64),
    /// A spool that an earlier daemon has left behind.
    Found(u64, Label),
    /// All of these have been found, or the directory can't be read.
    Looked,
    /// There may be room again.
    Space,
}

/// The spools, and who works with them.
pub struct Worker {
    context: Arc<Context>,
    store: Store,
    replies: UnboundedSender<Reply>,
    /// Spools that could not be read.
    unread: Vec<u64>,
    /// When a disk that refuses is tried again.
    retry_at: Option<Instant>,
    failing: bool,
}

impl Worker {
    /// A worker for these spools.
    pub fn new(context: Arc<Context>, store: Store, replies: UnboundedSender<Reply>) -> Worker {
        Worker { context, store, replies, unread: Vec::new(), retry_at: None, failing: false }
    }

    /// Works until there is nobody left to give jobs.
    pub fn run(mut self, jobs: &Inbox<Job>) {
        self.open();
        self.say(Reply::Looked);
        let mut tick = Instant::now() + TICK;
        loop {
            let wake = self.retry_at.map_or(tick, |retry| retry.min(tick));
            match jobs.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if self.retry_at.is_some_and(|at| at <= now) {
                self.retry();
            }
            if tick <= now {
                self.tick();
                tick = now + TICK;
            }
            self.tell();
        }
        self.end();
    }

    fn open(&mut self) {
        match self.store.open() {
            Ok(found) => {
                self.context.stats.spooling.set_error(None);
                self.context.stats.spooling.available.store(true, Relaxed);
                for (spool, label) in found {
                    let destination = label.destination.as_deref().unwrap_or(super::ANY);
                    info!(receiver = %self.context.receiver, destination, exporter = %label.exporter, "found spooled messages of an earlier session");
                    self.say(Reply::Found(spool, label));
                }
                self.store.note_ages();
            }
            Err(error) => {
                self.context.stats.spooling.available.store(self.store.has_place(), Relaxed);
                self.complain("no spool on disk, messages wait in memory alone", &error);
            }
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Begin { spool, label, preamble } => {
                self.store.begin(spool, &label, &preamble, now());
                self.context.queued.fetch_sub(to_u64(preamble.len()), Relaxed);
                self.write(spool);
            }
            Job::Append { spool, messages, count } => {
                self.store.append(spool, &messages, count, now());
                self.context.queued.fetch_sub(to_u64(messages.len()), Relaxed);
                self.write(spool);
                self.store.keep_to_size(spool);
            }
            Job::Seal { spool } => self.store.seal(spool),
            Job::ReadFrom { spool, number } => self.store.read_from(spool, number),
            Job::Read { spool } => self.read(spool),
            Job::Release { spool, upto } => {
                self.store.release(spool, upto);
                self.say_space();
            }
            Job::Purge { destination, done } => {
                // Who asked may have gone.
                let _ = done.send(self.store.purge(destination.as_deref()));
                self.say_space();
            }
            Job::Reconfigure(settings) => {
                self.store.reconfigure(settings);
                if !self.store.is_open() {
                    self.open();
                }
            }
        }
    }

    /// Writes what was appended to a spool, unless the disk is left alone for a moment.
    fn write(&mut self, spool: u64) {
        if self.retry_at.is_none() {
            let result = self.store.write_one(spool);
            self.note(result);
        }
        self.context
            .unwritten
            .store(if self.failing { self.store.unwritten_bytes() } else { 0 }, Relaxed);
    }

    fn retry(&mut self) {
        self.retry_at = None;
        let result = self.store.write();
        self.note(result);
        self.context.unwritten.store(self.store.unwritten_bytes(), Relaxed);
        for spool in std::mem::take(&mut self.unread) {
            self.read(spool);
        }
        self.say_space();
    }

    fn note(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) if std::mem::take(&mut self.failing) => {
                self.context.stats.spooling.set_error(None);
                info!(receiver = %self.context.receiver, "spooling goes on");
            }
            Ok(()) => {}
            Err(error) => {
                self.failing = true;
                self.retry_at = Some(Instant::now() + RETRY);
                self.complain("can't write to the spool, it is tried again", &error);
            }
        }
    }

    fn read(&mut self, spool: u64) {
        match self.store.read(spool, PORTION) {
            Ok(portion) => self.say(Reply::Read(spool, portion)),
            Err(error) => {
                self.unread.push(spool);
                self.retry_at.get_or_insert(Instant::now() + RETRY);
                self.complain("can't read the spool, it is tried again", &error);
            }
        }
    }

    fn tick(&mut self) {
        if !self.store.is_open() {
            self.open();
        }
        self.store.keep_to_age(now());
        if !self.failing
            && let Err(error) = self.store.sync()
        {
            self.complain("can't sync the spool, it is tried again", &error);
        }
        self.store.note_ages();
    }

    /// Says which segments have been dropped while they were written.
    fn tell(&mut self) {
        for spool in self.store.take_closed() {
            self.say(Reply::Closed(spool));
        }
    }

    /// The last attempt: what the disk does not take now is lost.
    fn end(mut self) {
        let result = self.store.write().and_then(|()| self.store.sync());
        let unwritten = self.store.unwritten_bytes();
        if let Err(error) = result {
            let receiver = self.context.receiver;
            error!(%receiver, unwritten, "the spool could not be written at the end: {error}");
        }
    }

    /// Exporters that are held back may perhaps be read again.
    fn say_space(&self) {
        if self.store.holds() {
            self.say(Reply::Space);
        }
    }

    fn say(&self, reply: Reply) {
        // A handler at its end does not listen any more.
        let _ = self.replies.send(reply);
    }

    fn complain(&self, what: &str, why: &io::Error) {
        let receiver = self.context.receiver;
        let error = Some(format!("{what}: {why}"));
        // Said once, until it is another one or has passed.
        let is_new = self.context.stats.spooling.error() != error;
        self.context.stats.spooling.set_error(error);
        if is_new && let Some(left_out) = self.context.stats.spooling.log_errors.pass() {
            let hint = match why.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "; make room, or lower SPOOL_MAX_MB"
                }
                io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing",
                io::ErrorKind::PermissionDenied => "; the daemon must own SPOOL_DIR",
                _ => "",
            };
            warn!(%receiver, left_out, "{what}: {why}{hint}");
        }
    }
}

/// The time, in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
