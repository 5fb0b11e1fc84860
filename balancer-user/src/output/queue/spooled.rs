//! Messages of a queue that are in the spool as well. In a queue they follow what the spool has let
//! go of, because it had arrived, and precede what it has never had.

use std::ops::RangeFrom;

use super::{Entry, Queue};
use crate::session::Before;

impl Queue {
    /// The templates that what stands here was encoded by, of the domains where they have changed
    /// since.
    fn before(&self, range: RangeFrom<usize>) -> Vec<Before> {
        let mut first: Vec<Before> = Vec::new();
        for before in self.entries.range(range).filter_map(|entry| entry.before.as_ref()) {
            if !first.iter().any(|known| known.domain == before.domain) {
                first.push(before.clone());
            }
        }
        first
    }

    /// The templates that what waits was encoded by, where they have changed since.
    pub fn before_all(&self) -> Vec<Before> {
        self.before(0..)
    }

    /// The templates that what is not in the spool yet was encoded by, where they have changed since.
    pub fn before_spool(&self) -> Vec<Before> {
        self.before(self.first_unspooled()..)
    }

    /// Whether there is something that is not in the spool yet.
    pub fn has_unspooled(&self) -> bool {
        self.first_unspooled() < self.entries.len()
    }

    /// The first entry that may still have to go into the spool: what has arrived need not, and what
    /// precedes other messages of the spool can't.
    fn first_unspooled(&self) -> usize {
        self.arrived().max(self.last_spooled().map_or(0, |place| place + 1))
    }

    fn last_spooled(&self) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.spooled.is_some())
    }

    /// Entries that have arrived, as far as TCP can tell.
    fn arrived(&self) -> usize {
        let arrived = self.written - self.unacknowledged;
        let ends = self.entries.iter().scan(0, |end, entry| {
            *end += entry.bytes.len();
            Some(*end)
        });
        ends.take_while(|end| *end <= arrived).count()
    }

    /// Numbers everything that is to be put into the spool, behind the message `next`.
    pub fn spool(&mut self, mut next: u64) -> Vec<Entry> {
        let first = self.first_unspooled();
        let number = |entry: &mut Entry| {
            next += u64::from(entry.messages);
            entry.spooled = Some(next);
            entry.clone()
        };
        self.entries.range_mut(first..).map(number).collect()
    }

    /// What precedes messages of the spool, and has come from there: the spool has let go of it, and it
    /// was taken back from a connection all the same. `active`: more of the spool follows the queue.
    pub fn ahead_of_spool(&self, active: bool) -> impl Iterator<Item = &Entry> {
        let end = if active { self.entries.len() } else { self.last_spooled().unwrap_or(0) };
        let ahead = self.entries.range(self.arrived().min(end)..end);
        ahead.filter(|entry| entry.spooled.is_none() && !entry.preamble)
    }

    /// Drops what is in the spool from the end, but for what was written, as long as more than `keep`
    /// bytes are kept. Says from which message of the spool on everything was dropped, if anything
    /// was.
    pub fn trim(&mut self, keep: usize) -> Option<u64> {
        let written = self.sent + usize::from(self.part > 0);
        let mut from = None;
        while self.bytes > keep
            && self.entries.len() > written
            && let Some(entry) = self.entries.pop_back_if(|entry| entry.spooled.is_some())
        {
            self.shrink(&entry);
            from = entry.spooled.map(|behind| behind.saturating_sub(entry.messages.into()));
        }
        self.settled = self.settled.min(self.entries.len());
        from
    }

    /// Number of the message behind the last one of the spool that has arrived, as far as TCP can
    /// tell; 0 if none has.
    pub fn arrived_of_spool(&self) -> u64 {
        let arrived = self.written - self.unacknowledged;
        let mut end = self.written - self.part;
        for entry in self.entries.range(..self.sent).rev() {
            if let Some(number) = entry.spooled.filter(|_| end <= arrived) {
                return number;
            }
            end -= entry.bytes.len();
        }
        self.left_of_spool
    }

    /// Whether messages of the spool behind this number are kept.
    pub fn has_spooled_after(&self, number: u64) -> bool {
        let last = self.entries.iter().rev().find_map(|entry| entry.spooled);
        last.is_some_and(|last| last > number)
    }

    /// The spool has let go of its messages up to this number.
    pub fn forget_spooled(&mut self, upto: u64) {
        for entry in &mut self.entries {
            entry.spooled = entry.spooled.filter(|number| *number > upto);
        }
    }

    /// The spool is gone: the next one counts anew.
    pub fn forget_spool(&mut self) {
        self.forget_spooled(u64::MAX);
        self.left_of_spool = 0;
    }
}
