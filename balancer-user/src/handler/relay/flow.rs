//! Who waits for whom: when an exporter is held back, and the messages that nobody can take yet.

use std::{rc::Rc, time::Duration};

use common::reason::Reason;
use tokio::time::Instant;

use super::{Relay, SETTLE};
use crate::{
    config::{Mode, SpoolFull},
    output::{Link, MAX_DESTINATION_BYTES, MAX_QUEUE_BYTES, Outlet, SPOOL_FROM},
    session::{Outlook, Refusal, Targets, each_target},
};

/// How long a destination may take nothing at all before it does not count as merely slow.
const STALLED: Duration = Duration::from_secs(1);
/// All: the exporter is held back when every queue is as long as this ...
const HOLD_FROM: usize = MAX_QUEUE_BYTES / 4 * 3;
/// ... until one of them is as short as this.
const HOLD_BELOW: usize = MAX_QUEUE_BYTES / 2;
/// How often it is looked whether the writer of the dump file has caught up.
const WRITER_POLL: Duration = Duration::from_millis(20);
/// RoundRobin: what one read may bring beyond the bound of the waiting messages before the oldest
/// are dropped. An exporter that can be held back is held back before that.
const BACKLOG_SLACK: usize = 1 << 20;

/// Whether an exporter may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Yes.
    Go,
    /// Not before a queue shrinks.
    UntilSpace,
    /// Not before a queue shrinks or this time has come.
    UntilSpaceOr(Instant),
}

impl Relay {
    /// Whether the exporter may be read. A slow destination never holds it back while another one
    /// takes messages; only where all queues are long, TCP's own flow control is used until the
    /// fastest destination has caught up, as long as one of them moves at all, or for ever with
    /// `SPOOL_FULL=hold`. Where it is recorded the dump file must have room, and nothing else.
    pub fn hold(&mut self) -> Hold {
        if self.is_settling() {
            return Hold::UntilSpaceOr(self.opened + SETTLE);
        }
        let policy = self.shared.receiver.borrow().spool.full;
        if self.file_is_behind() {
            return Hold::UntilSpaceOr(Instant::now() + WRITER_POLL);
        }
        self.holding = match (self.mode, policy) {
            (Mode::RoundRobin, _) => self.is_backlog_full(0),
            (_, SpoolFull::Hold) => self.outlets.iter().any(Outlet::is_full),
            // The dump file keeps up, so that a copy must not delay it.
            (Mode::Disabled, SpoolFull::DropOldest) => false,
            (Mode::All, SpoolFull::DropOldest) => {
                // Room is left above the mark, so that destinations of equal speed that do not
                // reach it at the same moment lose nothing; and a good deal is sent before more
                // is read, so that all of them have room again.
                let mark = if self.holding { HOLD_BELOW } else { HOLD_FROM };
                let long = |outlet: &Outlet| outlet.is_full() || outlet.queue().bytes() >= mark;
                !self.outlets.is_empty() && self.outlets.iter().all(long)
            }
        };
        if !self.holding {
            return Hold::Go;
        }
        if policy == SpoolFull::Hold {
            return Hold::UntilSpace;
        }
        let moving = self.outlets.iter().filter(|outlet| outlet.link().is_up());
        let patience = moving.map(|outlet| outlet.progress + STALLED).max();
        match patience.filter(|until| *until > Instant::now()) {
            Some(until) => Hold::UntilSpaceOr(until),
            None => Hold::Go,
        }
    }

    /// Whether messages wait that a socket may take by now: then its task should get a turn before
    /// more is read.
    pub fn has_waiting(&self) -> bool {
        !self.backlog.is_empty() || self.outlets.iter().any(|outlet| !outlet.queue().is_written())
    }

    /// Whether a destination is about to take what the last read has brought. Only one that keeps up is
    /// waited for.
    pub fn is_sending(&self) -> bool {
        let waiting = !self.backlog.is_empty();
        self.outlets.iter().any(|outlet| is_sending(outlet, waiting))
    }

    /// Waits no longer for those that have not taken it: until they have caught up.
    pub fn lag(&mut self) {
        let waiting = !self.backlog.is_empty();
        let is_sending = |outlet: &&mut Outlet| is_sending(outlet, waiting);
        self.outlets.iter_mut().filter(is_sending).for_each(|outlet| outlet.lags = true);
    }

    pub(super) fn is_settling(&self) -> bool {
        let connecting = |outlet: &Outlet| matches!(outlet.link(), Link::Connecting);
        self.settles && self.outlets.iter().any(connecting) && self.opened.elapsed() < SETTLE
    }

    /// Keeps a message that nobody can take yet.
    pub(super) fn wait(&mut self, message: &[u8]) {
        if self.backlog.is_spooling() {
            if !self.backlog.push_spooled(message) {
                self.shared.report(Reason::SpoolFull, 1, self.peer, "");
            }
            return;
        }
        if (self.backlog.bytes() >= SPOOL_FROM || self.is_backlog_full(0))
            && let Some(spooler) = self.shared.spooler()
        {
            let trimmed = self.backlog.begin_spooling(&self.router, &spooler, self.peer);
            self.shared.stats.waiting.subtract(trimmed);
            return self.wait(message);
        }
        self.backlog.push(message);
        self.shared.stats.waiting.add(1);
        while self.is_backlog_full(BACKLOG_SLACK) && !self.backlog.is_empty() {
            self.discard_oldest();
        }
    }

    /// Whether as much waits as may, and `slack` bytes more: of this session, or of all.
    fn is_backlog_full(&self, slack: usize) -> bool {
        let memory = self.backlog.bytes() >= MAX_QUEUE_BYTES + slack
            || self.backlog.bytes_of_all() >= MAX_DESTINATION_BYTES + slack;
        self.backlog.is_spool_full().unwrap_or(memory)
    }

    /// Drops the oldest waiting message. It takes its turn all the same, so that its templates are
    /// learned and the loss shows as a gap.
    fn discard_oldest(&mut self) {
        let Some(mut message) = self.backlog.pop() else { return };
        self.shared.stats.waiting.subtract(1);
        let outlook = Outlook { turn: Targets::MAX, reachable: 0, ..self.outlook(Instant::now()) };
        let mut deliveries = Vec::new();
        if self.router.route(&mut message, &outlook, &mut deliveries).is_ok() {
            for delivery in deliveries.iter().filter(|delivery| delivery.control) {
                self.keep_before(Targets::MAX, delivery.before.as_ref());
                for target in each_target(delivery.to) {
                    self.router.lost(delivery.domain, target);
                }
            }
        }
        let detail = "No destination could take the oldest waiting message.";
        self.shared.report(Reason::QueueFull, 1, self.peer, detail);
    }

    /// Routes waiting messages as long as a destination can take them.
    pub fn release(&mut self) {
        self.release_backlog();
        self.tend_backlog();
    }

    /// Looks after the spool of what has had no turn.
    pub(super) fn tend_backlog(&mut self) {
        self.backlog.tend(&self.outlets);
    }

    fn release_backlog(&mut self) {
        if self.backlog.is_empty() || self.is_settling() {
            return;
        }
        let shared = Rc::clone(&self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let scratch = &mut *scratch;
        while let Some(mut message) = self.backlog.pop() {
            let outlook = self.outlook(Instant::now());
            match self.route(&mut message, &outlook, &mut scratch.deliveries) {
                Ok(()) => {}
                Err(Refusal::NoDestination) => {
                    self.backlog.put_back(message);
                    break;
                }
                Err(Refusal::Drop(reason)) => {
                    self.refuse(reason);
                }
            }
            self.shared.stats.waiting.subtract(1);
            let (range, mut pending) = (0..message.len(), Vec::new());
            for delivery in scratch.deliveries.drain(..) {
                self.plan(delivery, &message, &range, &mut pending);
            }
            self.dispatch(&message.freeze(), pending.into_iter());
            self.flush(&mut scratch.sender, Some(0));
        }
        if self.backlog.is_empty() {
            self.note_release();
        }
        if self.ended && self.backlog.is_empty() {
            self.end_file();
            // Outlets that waited for the backlog may be finished now.
            self.outlets.iter().for_each(|outlet| outlet.wake.notify_one());
        }
    }
}

/// `waiting`: there are messages that are for whichever destination takes them. Those are for one that is
/// being connected for the first time, too: a daemon that goes on where another was killed must not take
/// an exporter's messages before it can send them.
fn is_sending(outlet: &Outlet, waiting: bool) -> bool {
    let unsent = !outlet.queue().is_written();
    !outlet.lags
        && match outlet.link() {
            Link::Connecting => unsent || waiting,
            link => link.is_up() && unsent,
        }
}
