//! Counters of receivers and destinations: written by one handler thread, read by any.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use common::reason::Reason;

use crate::{config::Destination, rate_limit::RateLimit};

/// A counter or gauge with a single writing thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the handler's thread may, so that no locked instruction is needed.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Subtracts, from a gauge.
    #[inline]
    pub fn subtract(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).saturating_sub(count), Relaxed);
    }

    /// Counts `now` in a gauge where it counted `before`.
    #[inline]
    pub fn change(&self, before: u64, now: u64) {
        self.add(now.saturating_sub(before));
        self.subtract(before.saturating_sub(now));
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One counter a [`Reason`].
#[derive(Debug, Default)]
pub struct Drops([Counter; Reason::ALL.len()]);

impl Drops {
    /// Counts `count` drops for `reason`.
    pub fn add(&self, reason: Reason, count: u64) {
        if let Some(counter) = self.0.get(reason.index()) {
            counter.add(count);
        }
    }

    /// The reasons that have occurred, with their counts.
    pub fn occurred(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = Reason::ALL.into_iter().zip(self.0.iter().map(Counter::get));
        counts.filter(|(_, count)| *count > 0)
    }
}

/// Counters of one receiver.
#[derive(Debug, Default)]
pub struct ReceiverStats {
    /// The kernel's number of the handler's thread; 0 before it has begun.
    pub thread: AtomicU64,
    /// Exporter sessions now.
    pub sessions: Counter,
    /// Messages that came in, dropped ones included.
    pub messages: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Messages that wait because no destination can take a turn.
    pub waiting: Counter,
    /// What was dropped, refused or closed at the input.
    pub drops: Drops,
    /// Limits the lines about datagrams that the kernel has dropped.
    pub log_kernel_drops: RateLimit,
    /// How recording goes, where there is any.
    pub record: Arc<RecordStats>,
    destinations: Mutex<Vec<Arc<DestinationStats>>>,
    /// How spooling goes.
    pub spooling: SpoolingStats,
    spools: Mutex<BTreeMap<Option<String>, Arc<SpoolStats>>>,
}

impl ReceiverStats {
    /// The counters of `destination`, which live as long as it is configured.
    pub fn destination(&self, destination: &Destination) -> Arc<DestinationStats> {
        let mut known = self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stats) = known.iter().find(|stats| stats.destination == *destination) {
            return Arc::clone(stats);
        }
        let stats = Arc::new(DestinationStats::new(destination.clone()));
        known.push(Arc::clone(&stats));
        stats
    }

    /// The counters of every destination.
    pub fn destinations(&self) -> Vec<Arc<DestinationStats>> {
        self.destinations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets destinations that are not configured any more, and puts the rest in order.
    pub fn keep_destinations(&self, configured: &[Destination]) {
        let ordered = configured.iter().map(|destination| self.destination(destination)).collect();
        *self.destinations.lock().unwrap_or_else(PoisonError::into_inner) = ordered;
    }
}

impl ReceiverStats {
    /// What is spooled for a destination, or for whoever takes the turns (`None`).
    pub fn spool(&self, destination: Option<&str>) -> Arc<SpoolStats> {
        let mut spools = self.spools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(spools.entry(destination.map(str::to_owned)).or_default())
    }
}

/// How a receiver's spooling goes. Its thread writes here.
#[derive(Debug, Default)]
pub struct SpoolingStats {
    /// Whether there is a directory.
    pub available: AtomicBool,
    /// Limits the lines that say what can't be done.
    pub log_errors: RateLimit,
    error: Mutex<Option<String>>,
}

impl SpoolingStats {
    /// Remembers what is wrong at present, if anything is.
    pub fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// What is wrong at present.
    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is spooled for one destination. The receiver's spool thread alone writes here.
#[derive(Debug, Default)]
pub struct SpoolStats {
    /// Messages that have not arrived.
    pub messages: Counter,
    /// Bytes of the segments.
    pub bytes: Counter,
    /// When the oldest segment was begun, in seconds since 1970; 0 without one.
    pub oldest: AtomicU64,
    /// What was dropped out of the spool.
    pub drops: Drops,
    /// Limits the lines about that.
    pub log_drops: RateLimit,
}

/// How recording goes. Handler, writer and finisher write here, each its own counters.
#[derive(Debug, Default)]
pub struct RecordStats {
    /// Received messages that were written.
    pub messages: Counter,
    /// Bytes that were written, with the messages that the balancer composed.
    pub bytes: Counter,
    /// Files that are being written.
    pub open: Counter,
    /// Files that have been given their final names.
    pub files: Counter,
    /// Bytes that wait to be written, with what keeping them costs.
    pub waiting_bytes: AtomicU64,
    /// When the interval began, in seconds since 1970.
    pub interval_start: AtomicU64,
    /// How many things can't be done at present, and are tried again.
    pub failing: AtomicU64,
    /// Limits the lines that say what can't be done.
    pub log_errors: RateLimit,
    /// Limits the lines that say that it works again.
    pub log_resumed: RateLimit,
    /// Limits the lines that say that nobody could be sent `HUP`.
    pub log_hangups: RateLimit,
    last_error: Mutex<Option<String>>,
    last_file: Mutex<Option<PathBuf>>,
}

impl RecordStats {
    /// Remembers what went wrong.
    pub fn set_last_error(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// What last went wrong.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers a file that has its final name.
    pub fn set_last_file(&self, path: PathBuf) {
        *self.last_file.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
    }

    /// The file that last got its final name.
    pub fn last_file(&self) -> Option<PathBuf> {
        self.last_file.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counters of one destination of a receiver, over all exporter sessions.
#[derive(Debug)]
pub struct DestinationStats {
    /// Which destination.
    pub destination: Destination,
    /// Messages handed to the kernel, composed ones included.
    pub messages: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Messages taken back from a connection that broke before they were known to have arrived.
    pub resent: Counter,
    /// RoundRobin: messages of its turns that were handed to others when it was down.
    pub handed_on: Counter,
    /// Connections (UDP: sockets) that are up.
    pub up: Counter,
    /// Connections that are being made for the first time.
    pub connecting: Counter,
    /// Connections that are broken or refused.
    pub down: Counter,
    /// Bytes in the queues that have not been sent.
    pub queued_bytes: Counter,
    /// Bytes that were written to connections and have not been acknowledged.
    pub unacknowledged_bytes: Counter,
    /// Bytes that were acknowledged and are kept because the collector has perhaps not read them.
    pub unread_bytes: Counter,
    /// Memory of the queues beside these bytes.
    pub overhead_bytes: Counter,
    /// What was dropped for this destination.
    pub drops: Drops,
    /// Limits the lines that say that it is up.
    pub log_up: RateLimit,
    /// Limits the lines that say that it is down, or loses messages.
    pub log_down: RateLimit,
    last_error: Mutex<Option<String>>,
}

impl DestinationStats {
    fn new(destination: Destination) -> DestinationStats {
        DestinationStats {
            destination,
            messages: Counter::default(),
            bytes: Counter::default(),
            resent: Counter::default(),
            handed_on: Counter::default(),
            up: Counter::default(),
            connecting: Counter::default(),
            down: Counter::default(),
            queued_bytes: Counter::default(),
            unacknowledged_bytes: Counter::default(),
            unread_bytes: Counter::default(),
            overhead_bytes: Counter::default(),
            drops: Drops::default(),
            log_up: RateLimit::default(),
            log_down: RateLimit::default(),
            last_error: Mutex::default(),
        }
    }

    /// Remembers why a connection broke or could not be made.
    pub fn set_last_error(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why the last connection broke or could not be made.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
