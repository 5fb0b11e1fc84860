//! The session's spools: what its destinations, or nobody, can take for now.

use std::{rc::Rc, time::Duration};

use common::message::{Header, set_sequence};
use tokio::time::Instant;

use super::{
    super::{shared::Shared, spooling},
    FOR_EVER, Relay,
};
use crate::{
    config::{Mode, Protocol},
    output::{Entry, Outlet, OutletId},
    session::{Router, Shape},
    spool::{Label, Portion, messages},
};

impl Relay {
    /// Sends what an earlier session has left in a spool: what is for one destination over a
    /// transport session of its own, what has had no turn as a session of its own.
    pub fn revive(shared: &Rc<Shared>, spool: u64, label: Label) {
        let receiver = shared.receiver();
        let Some(spooler) = shared.spooler() else { return };
        let peer = label.exporter;
        let Some(name) = label.destination.clone() else {
            let relay = Relay::open(shared, peer);
            let mut relay = relay.borrow_mut();
            (relay.linger, relay.orphan) = (FOR_EVER, Some(spool));
            relay.backlog.adopt(spooler.adopt(spool, label));
            relay.end("of an earlier daemon is sent from the spool");
            return;
        };
        let wanted = receiver.outputs().iter().find(|output| output.to_string() == name);
        let Some(destination) = wanted else { return };
        let shape = Shape {
            mode: Mode::All,
            input: receiver.protocol,
            outputs: vec![destination.protocol],
            counts: false,
            template_seconds: 0,
            template_messages: 0,
        };
        let relay = Relay::create(shared, peer, Router::new(shape, 0));
        let outlet = {
            let mut relay = relay.borrow_mut();
            (relay.mode, relay.ended, relay.orphan) = (Mode::All, true, Some(spool));
            relay.linger = FOR_EVER;
            let mut outlet = relay.new_outlet(destination).replaying(&spooler, spool, label);
            outlet.closing = Some(Instant::now() + FOR_EVER);
            outlet
        };
        Relay::start(&relay, outlet);
    }

    /// Whether a spool is the session's.
    pub fn has_spool(&self, spool: u64) -> bool {
        let mut outlets = self.outlets.iter().chain(&self.leaving);
        self.backlog.spool() == Some(spool) || outlets.any(|outlet| outlet.spool() == Some(spool))
    }

    /// Whether it sends what an earlier session has left.
    pub fn is_orphan(&self) -> bool {
        self.orphan.is_some()
    }

    /// Whether it has nothing to send for so long because the disk does not give it.
    pub fn waits_for_disk(&self, patience: Duration) -> bool {
        let waits = |outlet: &Outlet| {
            outlet.link().is_up()
                && outlet.queue().outstanding() == 0
                && outlet.progress.elapsed() >= patience
        };
        !self.backlog.has_in_memory() && self.outlets.iter().any(waits)
    }

    /// Puts an entry behind what is in the destination's spool.
    pub(super) fn enqueue_spooled(&mut self, target: usize, entry: &Entry) -> bool {
        // Who can be held back is, before anything has to be dropped.
        let may_exceed = self.shared.receiver.borrow().protocol == Protocol::Tcp;
        let outlet = self.outlets.get_mut(target);
        outlet.is_some_and(|outlet| outlet.push_spooled(entry, may_exceed))
    }

    /// Looks after the spools at the end of a batch, and once in a while.
    pub fn tend_spools(&mut self) {
        let early = self.shared.sessions() <= spooling::EARLY;
        for outlet in &mut self.outlets {
            if self.mode != Mode::RoundRobin
                && outlet.must_spool(early)
                && let Some(spooler) = self.shared.spooler()
            {
                outlet.begin_spooling(&self.router, &spooler, self.peer);
            }
            outlet.tend_spool(&self.router);
        }
        for outlet in &mut self.leaving {
            outlet.tend_spool(&self.router);
        }
    }

    /// Messages of one of the session's spools have been read.
    pub fn spool_read(&mut self, spool: u64, portion: Portion) {
        self.own();
        if self.backlog.spool() == Some(spool) {
            let before = self.backlog.len();
            let heads: Vec<_> = messages(&portion.messages).filter_map(Header::read).collect();
            let missing = self.backlog.read(portion);
            let new = self.backlog.len() - before;
            self.shared.stats.waiting.add(u64::try_from(new).unwrap_or(0));
            for message in messages(&missing) {
                let domain = Header::read(message).map(|header| header.domain);
                let mut message = message.to_vec();
                // For a domain that is new the numbers begin with its first message.
                if let Some(head) = heads.iter().find(|head| Some(head.domain) == domain) {
                    set_sequence(&mut message, head.sequence);
                }
                self.router.relearn(&message);
            }
            if !missing.is_empty() {
                (0..self.outlets.len()).for_each(|target| self.router.reconnected(target, &[]));
            }
            self.release();
            return;
        }
        let mut outlets = self.outlets.iter_mut().enumerate();
        let known = outlets.find(|(_, outlet)| outlet.spool() == Some(spool));
        // A destination that the configuration has no more has no number any more.
        let mut leaving = self.leaving.iter_mut().map(|outlet| (usize::MAX, outlet));
        let known = known.or_else(|| leaving.find(|(_, outlet)| outlet.spool() == Some(spool)));
        let Some((target, outlet)) = known else { return };
        outlet.spool_read(portion, &mut self.router, target);
        let id = outlet.id;
        outlet.wake.notify_one();
        self.flush_one(id);
    }

    /// The segment that messages of a spool are appended to was dropped.
    pub fn spool_closed(&mut self, spool: u64) {
        if self.backlog.spool() == Some(spool) {
            self.backlog.closed();
        }
        let mut outlets = self.outlets.iter_mut().chain(&mut self.leaving);
        if let Some(outlet) = outlets.find(|outlet| outlet.spool() == Some(spool)) {
            outlet.spool_closed(&self.router);
        }
    }

    /// Leaves to the disk what an outlet has not sent.
    pub(super) fn leave_to_spool(&mut self, id: OutletId) {
        let Some(spooler) = self.shared.spooler() else { return };
        let mut outlets = self.outlets.iter_mut().chain(&mut self.leaving);
        let Some(outlet) = outlets.find(|outlet| outlet.id == id) else { return };
        for (spool, label) in outlet.leave_to_spool(&self.router, &spooler, self.peer) {
            spooling::leave(&self.shared, spool, label);
            self.orphan = self.orphan.filter(|orphan| *orphan != spool);
        }
    }

    /// The next daemon goes on with the session: it gets what waits for a turn in memory alone.
    pub fn inherit(&mut self) {
        self.inherited = true;
    }

    /// Leaves to the disk what has had no turn.
    pub(super) fn leave_backlog(&mut self) {
        if self.inherited && !self.backlog.is_spooling() {
            return self.backlog.hand_on();
        }
        let Some(spooler) = self.shared.spooler() else { return };
        let before = self.backlog.len();
        if let Some((spool, label)) = self.backlog.leave(&self.router, &spooler, self.peer) {
            spooling::leave(&self.shared, spool, label);
            self.orphan = self.orphan.filter(|orphan| *orphan != spool);
        }
        let left = before - self.backlog.len();
        self.shared.stats.waiting.subtract(u64::try_from(left).unwrap_or(0));
    }

    /// Leaves to the disk everything that has not been sent: the daemon ends.
    pub fn leave(&mut self) {
        let outlets = self.outlets.iter().chain(&self.leaving);
        let ids: Vec<_> = outlets.map(|outlet| outlet.id).collect();
        ids.into_iter().for_each(|id| self.leave_to_spool(id));
        self.leave_backlog();
    }
}
