//! What the sessions of one handler have in common.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use common::reason::Reason;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    chunks::Chunks,
    health::Health,
    relay::{Pending, Relay},
    spooling::Orphans,
};
use crate::{
    advice::advice,
    config::{Destination, Limits, Protocol, Receiver},
    kernel::Offload,
    net::mmsg,
    rate_limit::RateLimit,
    record::{Beat, Recorder},
    session::Delivery,
    spool::Spooler,
    stats::ReceiverStats,
    succession::{Journal, Leaving, Left, Store},
};

/// State of one handler thread.
pub struct Shared {
    /// The configuration in force.
    pub receiver: RefCell<Arc<Receiver>>,
    /// Its place in the kernel path, if it has one.
    pub offload: RefCell<Option<Arc<Offload>>>,
    /// The recorder of dump files, if it records.
    pub recorder: RefCell<Option<Rc<Recorder>>>,
    /// The spools on disk, if there are destinations.
    pub spooler: RefCell<Option<Rc<Spooler>>>,
    /// Spools of sessions that have ended, until somebody sends them.
    pub orphans: RefCell<Orphans>,
    /// Whose rotation of dump files it takes part in.
    pub beat: Beat,
    /// The receiver's counters.
    pub stats: Arc<ReceiverStats>,
    /// Buffers that are used for one batch at a time.
    pub scratch: RefCell<Scratch>,
    /// Turns true when the handler is to end.
    pub stopping: watch::Receiver<bool>,
    /// What becomes of the sessions then.
    pub leaving: Cell<Leaving>,
    /// What the next daemon will know of the sessions.
    pub journal: RefCell<Journal>,
    /// Where exporters' connections are kept for it.
    pub store: Store,
    /// Sessions that have made progress which is not in the journal.
    progressed: RefCell<Vec<usize>>,
    /// What is left to the next daemon.
    left: RefCell<Vec<LeftSession>>,
    relays: RefCell<BTreeMap<usize, Rc<RefCell<Relay>>>>,
    sessions_opened: Cell<usize>,
    log_limits: [RateLimit; Reason::ALL.len()],
    session_limit: RateLimit,
    /// Bytes of templates, options records and observation domains of all sessions.
    state_bytes: Cell<usize>,
    /// Bytes of messages that wait because no destination can take a turn, of all sessions.
    backlog_bytes: Rc<Cell<usize>>,
    /// UDP destinations that some session sends to, or did.
    health: RefCell<HashMap<Destination, Rc<Health>>>,
}

/// A session that is left to the next daemon, with its connection, if it has one.
struct LeftSession {
    relay: Rc<RefCell<Relay>>,
    connection: Option<Left>,
}

/// Buffers that every batch uses anew.
#[derive(Default)]
pub struct Scratch {
    /// What is read from TCP connections.
    pub chunks: Chunks,
    /// Room that is named when bytes are given up, and never written.
    pub discard: Vec<u8>,
    /// Output of the router for one message.
    pub deliveries: Vec<Delivery>,
    /// What a batch is to put into the queues.
    pub pending: Vec<Pending>,
    /// Headers for `sendmmsg`.
    pub sender: mmsg::Sender,
}

impl Shared {
    /// The state of a handler without sessions.
    pub fn new(
        receiver: Arc<Receiver>,
        offload: Option<Arc<Offload>>,
        beat: Beat,
        stats: Arc<ReceiverStats>,
        stopping: watch::Receiver<bool>,
        (journal, store): (Journal, Store),
    ) -> Shared {
        Shared {
            receiver: RefCell::new(receiver),
            offload: RefCell::new(offload),
            recorder: RefCell::default(),
            spooler: RefCell::default(),
            orphans: RefCell::default(),
            beat,
            stats,
            scratch: RefCell::default(),
            stopping,
            leaving: Cell::new(Leaving::Sessions),
            journal: RefCell::new(journal),
            store,
            progressed: RefCell::default(),
            left: RefCell::default(),
            relays: RefCell::default(),
            sessions_opened: Cell::new(0),
            log_limits: std::array::from_fn(|_| RateLimit::default()),
            session_limit: RateLimit::default(),
            state_bytes: Cell::default(),
            backlog_bytes: Rc::default(),
            health: RefCell::default(),
        }
    }

    /// The configuration in force.
    pub fn receiver(&self) -> Arc<Receiver> {
        Arc::clone(&self.receiver.borrow())
    }

    /// Whether `peer` may export to this receiver.
    pub fn allows(&self, peer: SocketAddr) -> bool {
        let receiver = self.receiver.borrow();
        let ip = peer.ip().to_canonical();
        receiver.allow_from.is_empty() || receiver.allow_from.iter().any(|net| net.contains(&ip))
    }

    /// Whether there are as many sessions as there may be (`MAX_SESSIONS`).
    pub fn is_crowded(&self) -> bool {
        self.sessions() >= self.limits().sessions
    }

    /// What exporters can make the receiver take.
    pub fn limits(&self) -> Limits {
        self.receiver.borrow().limits
    }

    /// Bytes by which the state of all sessions together may still grow (`TEMPLATE_MB`).
    pub fn room(&self) -> usize {
        self.limits().template_bytes().saturating_sub(self.state_bytes.get())
    }

    /// The state of a session has become `new` bytes instead of `old`.
    pub fn resize_state(&self, old: usize, new: usize) {
        self.state_bytes.set(self.state_bytes.get().saturating_sub(old).saturating_add(new));
    }

    /// What counts the bytes of all backlogs.
    pub fn backlog_bytes(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.backlog_bytes)
    }

    /// What is known of a UDP destination.
    pub fn health(&self, destination: &Destination) -> Rc<Health> {
        Rc::clone(self.health.borrow_mut().entry(destination.clone()).or_default())
    }

    /// Takes note of destinations whose neighbours do not answer, as the kernel path has found out: nobody
    /// has to lose messages to see it.
    pub fn note_unanswered(&self) {
        let offload = self.offload.borrow();
        let Some(offload) = offload.as_ref() else { return };
        for (nth, destination) in self.receiver().outputs().iter().enumerate() {
            if offload.is_unanswered(nth) {
                self.health(destination).note(&io::Error::from_raw_os_error(libc::EHOSTUNREACH));
            }
        }
    }

    /// Asks UDP destinations whether they are still there (`PROBE_SECONDS`), each by one session: what
    /// comes back is an error, if anything, and that is everybody's.
    pub fn probe_destinations(&self) {
        let period = Duration::from_secs(self.receiver().probe_seconds.into());
        if period.is_zero() {
            return;
        }
        for (destination, health) in &*self.health.borrow() {
            let is_due = destination.protocol == Protocol::Udp && health.is_due(period);
            let mut relays = self.relays().into_iter();
            if is_due && relays.any(|relay| relay.borrow_mut().probe(destination)) {
                health.asked();
            }
        }
    }

    /// Forgets destinations that are not configured any more.
    pub fn keep_health(&self, configured: &[Destination]) {
        self.health.borrow_mut().retain(|destination, _| configured.contains(destination));
    }

    /// Registers a session; its number, counted from the start of the handler.
    pub fn enter(&self, relay: &Rc<RefCell<Relay>>) -> usize {
        let number = self.next_session();
        self.sessions_opened.set(number + 1);
        self.relays.borrow_mut().insert(number, Rc::clone(relay));
        self.stats.sessions.add(1);
        number
    }

    /// The number that the next session gets.
    pub fn next_session(&self) -> usize {
        self.sessions_opened.get()
    }

    /// Forgets a session.
    pub fn leave(&self, number: usize) {
        if self.relays.borrow_mut().remove(&number).is_some() {
            self.stats.sessions.subtract(1);
        }
    }

    /// Whether there is any session.
    pub fn has_sessions(&self) -> bool {
        !self.relays.borrow().is_empty()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.relays.borrow().len()
    }

    /// The sessions there are.
    pub fn relays(&self) -> Vec<Rc<RefCell<Relay>>> {
        self.relays.borrow().values().cloned().collect()
    }

    /// Takes note that a session has made progress.
    pub fn progressed(&self, number: usize) {
        self.progressed.borrow_mut().push(number);
    }

    /// Brings the journal up to date.
    pub fn write_journal(&self) {
        let progressed = std::mem::take(&mut *self.progressed.borrow_mut());
        let relays = self.relays.borrow();
        let mut journal = self.journal.borrow_mut();
        for relay in progressed.iter().filter_map(|number| relays.get(number)) {
            if let Some((number, progress)) = relay.borrow_mut().take_progress() {
                journal.progressed(number, progress);
            }
        }
        journal.write();
        if journal.is_long() {
            let relays = relays.values().map(|relay| relay.borrow());
            let living = relays.filter(|relay| !relay.has_ended());
            journal.rewrite(living.map(|relay| (relay.journal_number(), relay.save())));
        }
    }

    /// Begins the journal, with the sessions that there are.
    pub fn begin_journal(&self) {
        let relays = self.relays();
        let saved = relays.iter().map(|relay| {
            let relay = relay.borrow();
            (relay.journal_number(), relay.save())
        });
        self.journal.borrow_mut().rewrite(saved);
    }

    /// Leaves a session to the next daemon.
    pub fn leave_behind(&self, relay: &Rc<RefCell<Relay>>, connection: Option<Left>) {
        relay.borrow_mut().inherit();
        let session = LeftSession { relay: Rc::clone(relay), connection };
        self.left.borrow_mut().push(session);
    }

    /// Writes the last journal; the connections that are left.
    pub fn end_journal(&self) -> Vec<Left> {
        let left = self.left.take();
        let saved = left.iter().map(|session| {
            let mut relay = session.relay.borrow_mut();
            (relay.journal_number(), relay.save_all())
        });
        self.journal.borrow_mut().rewrite(saved);
        left.into_iter().filter_map(|session| session.connection).collect()
    }

    /// The spools on disk, if messages can be put there.
    pub fn spooler(&self) -> Option<Rc<Spooler>> {
        self.spooler.borrow().clone().filter(|spooler| spooler.is_available())
    }

    /// Counts something dropped or refused, and says so in the log, once a second for a reason.
    pub fn report(&self, reason: Reason, count: u64, peer: SocketAddr, detail: &str) {
        self.stats.drops.add(reason, count);
        let Some(left_out) = self.log_limits.get(reason.index()).and_then(RateLimit::pass) else {
            return;
        };
        let receiver = self.receiver.borrow().id;
        warn!(
            %receiver, exporter = %peer, reason = reason.as_str(), left_out,
            "{}", sentences([reason.meaning(), detail, advice(reason)])
        );
    }

    /// Says in the log, once a second, that a session began or ended.
    pub fn log_session(&self, peer: SocketAddr, what: &str) {
        if let Some(left_out) = self.session_limit.pass() {
            let receiver = self.receiver.borrow().id;
            info!(%receiver, exporter = %peer, left_out, "exporter session {what}");
        }
    }
}

/// What is said of them, one after the other.
fn sentences(all: [&str; 3]) -> String {
    all.into_iter().filter(|sentence| !sentence.is_empty()).collect::<Vec<_>>().join(" ")
}
