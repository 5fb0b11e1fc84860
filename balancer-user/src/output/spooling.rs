//! An outlet whose messages go through the spool: the newest to the disk, the oldest from there into
//! the queue.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Outlet, queue::Entry};
use crate::{
    config::{Mode, Protocol},
    session::{Delivery, Outlook, Payload, Router, Shape},
    spool::{Handle, Label, Portion, Spooler, messages},
};

/// Bytes that may wait in memory for a destination that is away ...
pub const SPOOL_FROM: usize = 8 << 20;
/// ... and how long they may, so that a crash costs little.
const SPOOL_AFTER: Duration = Duration::from_secs(1);
/// Bytes that are kept in memory of what is on disk, for a destination that takes messages ...
const KEEP: usize = 4 << 20;
/// ... and when more of it is read.
const READ_BELOW: usize = 512 << 10;

/// The spool of an outlet.
#[derive(Debug)]
pub struct Spooling {
    handle: Handle,
    /// What stands between spool and queue: its templates are those at the end of the queue, where
    /// the session's router is at the end of the spool.
    replay: Router,
    /// Whether messages are in the spool that are not in the queue. Newer ones go behind them.
    active: bool,
    /// The spool has let go of its messages before this number.
    released: u64,
}

impl Spooling {
    fn new(handle: Handle, replay: Router) -> Spooling {
        Spooling { handle, replay, active: true, released: 0 }
    }
}

impl Outlet {
    /// An outlet for what an earlier session has left in the spool of this number.
    pub fn replaying(mut self, spooler: &Rc<Spooler>, spool: u64, label: Label) -> Outlet {
        let replay = self.new_replay();
        // What is on disk begins a transport session of its own.
        self.fresh = false;
        self.spooling = Some(Spooling::new(spooler.adopt(spool, label), replay));
        self
    }

    /// Whether newer messages have to go through the spool.
    pub fn is_spooling(&self) -> bool {
        self.spooling.as_ref().is_some_and(|spooling| spooling.active)
    }

    /// The number of its spool.
    pub fn spool(&self) -> Option<u64> {
        self.spooling.as_ref().map(|spooling| spooling.handle.id())
    }

    /// Whether anything has not been sent.
    pub fn has_waiting(&self) -> bool {
        self.spooling.is_some() || !self.queue().is_empty()
    }

    /// A new transport session begins: what a collector needs to decode the waiting messages goes
    /// ahead of them. The session's `router` knows it by the number `target`.
    pub fn resume(&mut self, router: &mut Router, target: usize) {
        match self.spooling.as_mut().filter(|spooling| spooling.active) {
            Some(spooling) => {
                if self.destination.protocol == Protocol::Udp {
                    spooling.replay.set_limit(0, self.datagram_limit);
                }
                self.queue.resume(&mut spooling.replay, 0);
            }
            None => self.queue.resume(router, target),
        }
    }

    /// Whether no more should go into its spool; `None` where nothing does.
    pub fn is_spool_full(&self) -> Option<bool> {
        let active = self.spooling.as_ref().filter(|spooling| spooling.active);
        active.map(|spooling| spooling.handle.is_full())
    }

    /// Whether so much waits in memory that it has to go to the disk; `early`: or for so long.
    pub fn must_spool(&self, early: bool) -> bool {
        let long = early && self.queue.outstanding() > 0 && self.progress.elapsed() >= SPOOL_AFTER;
        let away = !self.link().is_up();
        !self.is_spooling()
            && (self.is_full() || (away && (long || self.queue.bytes() >= SPOOL_FROM)))
    }

    /// Puts all that waits into the spool, of which the session's `router` knows all templates.
    /// Newer messages go behind it.
    pub fn begin_spooling(&mut self, router: &Router, spooler: &Rc<Spooler>, exporter: SocketAddr) {
        let mut replay = self.new_replay();
        learn(&mut replay, &router.live(None, &self.queue.before_all(), 0));
        let preamble = router.live(None, &self.queue.before_spool(), 0);
        let mut spooling = self.spooling.take().unwrap_or_else(|| {
            self.queue.forget_spool();
            let handle = spooler.open(Some(self.destination.to_string()), exporter);
            Spooling::new(handle, self.new_replay())
        });
        let handle = &mut spooling.handle;
        let first = handle.appended();
        handle.begin(preamble.clone());
        let spooled = self.queue.spool(first);
        let next = spooled.last().and_then(|entry| entry.spooled).unwrap_or(first);
        let keep = if self.link().is_up() { KEEP } else { 0 };
        handle.read_from(self.queue.trim(keep).unwrap_or(next));
        self.append(handle, preamble, spooled.iter());
        self.queue.iter().for_each(|entry| learn(&mut replay, &entry.bytes));
        (spooling.replay, spooling.active) = (replay, true);
        self.spooling = Some(spooling);
        self.gauge_queue();
    }

    /// Appends entries to a segment that has just begun with this preamble.
    fn append<'a>(
        &self,
        handle: &mut Handle,
        preamble: Vec<u8>,
        entries: impl Iterator<Item = &'a Entry>,
    ) {
        // Knows the templates at the end of the spool.
        let mut end = self.new_replay();
        learn(&mut end, &preamble);
        for entry in entries {
            if handle.wants_segment() {
                handle.begin(end.live(None, &[], 0));
            }
            learn(&mut end, &entry.bytes);
            handle.push(&entry.bytes, entry.messages);
        }
        handle.flush();
    }

    /// Appends a message, or a run of them, to the spool. False when that can't be.
    pub fn push_spooled(&mut self, entry: &Entry, may_exceed: bool) -> bool {
        let Some(spooling) = &mut self.spooling else { return false };
        let full = spooling.handle.is_behind() || (spooling.handle.is_full() && !may_exceed);
        if !full {
            spooling.handle.push(&entry.bytes, entry.messages);
        }
        !full
    }

    /// Looks after the spool at the end of a batch: hands over what has gathered, lets go of what has
    /// left, and reads on when the queue is short.
    pub fn tend_spool(&mut self, router: &Router) {
        let Some(spooling) = &mut self.spooling else { return };
        // To a session that has ended nothing more comes.
        if spooling.active && self.closing.is_none() && spooling.handle.wants_segment() {
            spooling.handle.begin(router.live(None, &[], 0));
        }
        spooling.handle.flush();
        self.release_spooled();
        let short = self.link().is_up()
            && self.queue.unwritten() < READ_BELOW
            && !self.is_destination_full();
        if let Some(spooling) = self.spooling.as_mut().filter(|s| s.active && short) {
            spooling.handle.ask();
        }
    }

    /// Lets go of what has arrived; of the whole spool, if nothing is left of it.
    fn release_spooled(&mut self) {
        let Some(spooling) = &mut self.spooling else { return };
        let arrived = self.queue.arrived_of_spool();
        if arrived > spooling.released {
            spooling.released = arrived;
            spooling.handle.release(arrived);
        }
        if !spooling.active && !self.queue.has_spooled_after(spooling.released) {
            // What has not arrived was dropped.
            spooling.handle.release(spooling.handle.appended());
            self.spooling = None;
            self.queue.forget_spool();
        }
    }

    /// What was taken back from a broken connection is not in the spool any more, if that has let go
    /// of it.
    pub(super) fn forget_released(&mut self) {
        if let Some(spooling) = &self.spooling {
            self.queue.forget_spooled(spooling.released);
        }
    }

    /// Messages have been read. Where they were the last, the session's `router` goes on for the
    /// destination `target`.
    pub fn spool_read(&mut self, portion: Portion, router: &mut Router, target: usize) {
        let gap = match &mut self.spooling {
            Some(spooling) => spooling.handle.came(&portion),
            None => return,
        };
        if gap
            && let fresh = self.new_replay()
            && let Some(spooling) = &mut self.spooling
        {
            spooling.replay = fresh;
        }
        let Some(spooling) = &mut self.spooling else { return };
        learn(&mut spooling.replay, &portion.learn);
        if gap {
            spooling.replay.reconnected(0, &[]);
        }
        let entries = replay(&mut spooling.replay, portion);
        entries.into_iter().for_each(|entry| self.queue.push(entry));
        let Some(spooling) = &mut self.spooling else { return };
        if spooling.active && spooling.handle.is_read() {
            spooling.active = false;
            spooling.handle.seal();
            for domain in spooling.replay.unsynced(0) {
                router.lost(domain, target);
            }
            self.release_spooled();
        }
        self.gauge_queue();
    }

    /// The segment that messages are appended to was dropped.
    pub fn spool_closed(&mut self, router: &Router) {
        if let Some(spooling) = &mut self.spooling {
            spooling.handle.closed();
            if spooling.active && self.closing.is_none() {
                spooling.handle.begin(router.live(None, &[], 0));
            }
        }
    }

    /// Leaves all that may not have arrived to the spool, for whoever comes later: the spools.
    pub fn leave_to_spool(
        &mut self,
        router: &Router,
        spooler: &Rc<Spooler>,
        exporter: SocketAddr,
    ) -> Vec<(u64, Label)> {
        self.ask_anew();
        let mut left = Vec::from_iter(self.leave_ahead(router, spooler, exporter));
        if !self.is_spooling() && self.queue.has_unspooled() {
            self.begin_spooling(router, spooler, exporter);
        }
        self.release_spooled();
        left.extend(self.spooling.take().map(|spooling| seal(spooling.handle)));
        self.queue.clear();
        self.gauge_queue();
        left
    }

    /// Leaves what precedes the messages of the spool to a spool of its own, if there is any.
    fn leave_ahead(
        &self,
        router: &Router,
        spooler: &Rc<Spooler>,
        exporter: SocketAddr,
    ) -> Option<(u64, Label)> {
        let spooling = self.spooling.as_ref()?;
        let mut ahead = self.queue.ahead_of_spool(spooling.active).peekable();
        ahead.peek()?;
        let knows = if spooling.active { &spooling.replay } else { router };
        let preamble = knows.live(None, &self.queue.before_all(), 0);
        let mut handle = spooler.open(Some(self.destination.to_string()), exporter);
        handle.begin(preamble.clone());
        self.append(&mut handle, preamble, ahead);
        Some(seal(handle))
    }

    fn new_replay(&self) -> Router {
        let protocol = self.destination.protocol;
        let shape = Shape {
            mode: Mode::All,
            // A collector over UDP knows nothing of withdrawals.
            input: protocol,
            outputs: vec![protocol],
            counts: false,
            // What was repeated for this destination is in the spool.
            template_seconds: 0,
            template_messages: 0,
        };
        let mut replay = Router::new(shape, 0);
        if protocol == Protocol::Udp && self.datagram_limit > 0 {
            replay.set_limit(0, self.datagram_limit);
        }
        replay
    }
}

/// Nothing more comes to a spool; whose it is.
fn seal(mut handle: Handle) -> (u64, Label) {
    handle.flush();
    handle.seal();
    (handle.id(), handle.label().clone())
}

fn learn(router: &mut Router, bytes: &[u8]) {
    messages(bytes).for_each(|message| router.relearn(message));
}

/// The entries that the messages of a portion come to.
fn replay(router: &mut Router, portion: Portion) -> Vec<Entry> {
    let outlook = Outlook {
        turn: 1,
        reachable: 1,
        queued: true,
        room: usize::MAX,
        now: Instant::now().into_std(),
    };
    let bytes = Bytes::from(portion.messages);
    let (mut entries, mut deliveries): (Vec<Entry>, Vec<Delivery>) = (Vec::new(), Vec::new());
    let mut number = portion.first;
    for message in messages(&bytes) {
        // In All nothing is written into it.
        let routed = router.route(&mut message.to_vec(), &outlook, &mut deliveries);
        if routed.is_err() {
            deliveries.clear();
        }
        let count = deliveries.len();
        for (place, delivery) in deliveries.drain(..).enumerate() {
            let content = match delivery.payload {
                Payload::Whole => bytes.slice_ref(message),
                Payload::Composed(bytes) => bytes,
                Payload::Dropped(_) | Payload::Missed => continue,
            };
            entries.push(Entry {
                bytes: content,
                messages: 1,
                domain: delivery.domain,
                control: delivery.control,
                turn: false,
                preamble: false,
                spooled: Some(number + u64::from(place + 1 == count)),
                before: delivery.before,
                borrowed: false,
            });
        }
        number += 1;
    }
    entries
}
