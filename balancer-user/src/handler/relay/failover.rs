//! RoundRobin: what a destination was given, and may not have got before it failed, goes to others.

use std::rc::Rc;

use common::message::Header;

use super::Relay;
use crate::{
    config::Mode,
    output::{Entry, MAX_QUEUE_BYTES, Outlet},
};

/// Destinations that take over messages of another one, in turn.
struct Takers {
    /// Number, and room in bytes.
    all: Vec<(usize, usize)>,
    next: usize,
}

impl Relay {
    /// Hands the messages of destinations that are down to others, and sends them. What those can't
    /// take, not yet or never, stays where it is, and is sent when its destination returns.
    pub(super) fn fail_over(&mut self) {
        if self.move_turns() {
            let shared = Rc::clone(&self.shared);
            self.flush(&mut shared.scratch.borrow_mut().sender, None);
            self.hand_over();
        }
    }

    /// Tries once more what has failed because the records of a last message were not known, when a
    /// newer message has just been put into a queue.
    pub(super) fn fail_over_unsettled(&mut self) {
        let takers = Takers::of(&self.outlets);
        let unsettled = std::mem::take(&mut self.unsettled);
        let settled = |domain: &u32| self.settle_domain(*domain, &takers);
        if unsettled.iter().any(settled) {
            self.move_turns();
        } else {
            self.unsettled = unsettled;
        }
    }

    /// Only puts the messages into the others' queues: whether there were any.
    pub(super) fn move_turns(&mut self) -> bool {
        if self.mode != Mode::RoundRobin {
            return false;
        }
        self.unsettled.clear();
        let mut moved = 0;
        for from in 0..self.outlets.len() {
            let stranded = |outlet: &Outlet| !outlet.link().is_up() && outlet.queue().has_turns();
            if self.outlets.get(from).is_some_and(stranded) {
                self.own();
                moved += self.hand_on(from);
            }
        }
        if moved > 0 {
            self.backlog.handed_on(&self.outlets);
            self.note_numbers();
        }
        moved > 0
    }

    /// Hands on what the destination of this number was given; how many messages.
    fn hand_on(&mut self, from: usize) -> usize {
        let mut takers = Takers::of(&self.outlets);
        let waiting = self.outlets.get(from).map(|outlet| outlet.queue().domains());
        for domain in waiting.into_iter().flatten() {
            self.settle_domain(domain, &takers);
        }
        let (router, unsettled) = (&mut self.router, &mut self.unsettled);
        let Some(outlet) = self.outlets.get_mut(from) else { return 0 };
        let taken = outlet.hand_on(router, from, |router, entry| {
            let domain = entry.domain;
            let is_settled = |taker| router.is_settled(domain, taker);
            let is_able = |taker| is_settled(taker) && router.can_give_again(taker, &entry.bytes);
            let taker = takers.take(entry.bytes.len(), is_able);
            let waits = taker.is_none() && takers.all.iter().any(|(t, _)| !is_settled(*t));
            if waits && !unsettled.contains(&domain) {
                unsettled.push(domain);
            }
            taker
        });
        let count = taken.len();
        for taken in taken {
            let Some(header) = Header::read(&taken.entry.bytes) else { continue };
            let (ahead, number) = self.router.give_again(taken.to, &header, taken.records);
            let Some(outlet) = self.outlets.get_mut(taken.to) else { continue };
            for state in ahead {
                outlet.push(Entry::state(header.domain, state));
            }
            let mut entry = taken.entry;
            entry.set_number(number);
            outlet.push(entry);
        }
        count
    }

    /// Sees to it that messages of a domain can be given to the one that has its last message: whether
    /// they can.
    fn settle_domain(&mut self, domain: u32, takers: &Takers) -> bool {
        for (taker, _) in &takers.all {
            let last = self.outlets.get(*taker).and_then(|outlet| outlet.queue().last_of(domain));
            if let Some(last) = last {
                self.router.settle(*taker, last);
            }
        }
        takers.all.iter().all(|(taker, _)| self.router.is_settled(domain, *taker))
    }
}

impl Takers {
    fn of(outlets: &[Outlet]) -> Takers {
        let can_take = |(_, outlet): &(usize, &Outlet)| outlet.link().is_up() && !outlet.is_full();
        // The other half is for newer messages.
        let room = |outlet: &Outlet| (MAX_QUEUE_BYTES / 2).saturating_sub(outlet.queue().memory());
        let takers = outlets.iter().enumerate().filter(can_take);
        Takers { all: takers.map(|(target, outlet)| (target, room(outlet))).collect(), next: 0 }
    }

    /// The next one in turn that has room for so many `bytes`, of those that are `able`.
    fn take(&mut self, bytes: usize, able: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.all.len();
        let turns = (self.next..count).chain(0..self.next.min(count));
        let fits = |turn: &usize| {
            self.all.get(*turn).is_some_and(|(taker, room)| *room >= bytes && able(*taker))
        };
        let turn = turns.into_iter().find(fits)?;
        self.next = turn + 1;
        let (taker, room) = self.all.get_mut(turn)?;
        *room -= bytes;
        Some(*taker)
    }
}
