//! What is dropped out of the spools: too much, too old, not wanted any more.

use std::sync::Arc;

use common::reason::Reason;

use super::{ANY, Held, Spool, Store, max_bytes};

impl Store {
    /// Drops what is too much for the destination of a spool.
    pub fn keep_to_size(&mut self, id: u64) {
        let Some(stats) = self.spools.get(&id).map(|held| Arc::clone(&held.stats)) else { return };
        let max = max_bytes(&self.settings);
        while !self.holds() && stats.bytes.get() > max {
            if !self.drop_oldest(id, Reason::SpoolFull) {
                break;
            }
        }
    }

    /// Drops what is too old.
    pub fn keep_to_age(&mut self, now: u64) {
        let limit = u64::from(self.settings.max_hours) * 3600;
        if limit == 0 {
            return;
        }
        let old = |held: &Held| {
            held.spool.oldest().is_some_and(|s| s.messages > 0 && s.newest + limit < now)
        };
        while let Some(id) = self.spools.iter().find(|(_, held)| old(held)).map(|(id, _)| *id) {
            self.drop_first(id, Reason::SpoolAge);
        }
    }

    /// Empties the spools of a destination, or all: how many messages that were.
    pub fn purge(&mut self, destination: Option<&str>) -> u64 {
        let meant = |held: &Held| {
            let label = held.spool.label().destination.as_deref();
            destination.is_none_or(|wanted| label.unwrap_or(ANY) == wanted)
        };
        let ids: Vec<u64> =
            self.spools.iter().filter(|(_, held)| meant(held)).map(|(id, _)| *id).collect();
        let mut purged = 0;
        for id in ids {
            while self.spools.get(&id).is_some_and(|held| held.spool.oldest().is_some()) {
                purged += self.drop_first(id, Reason::SpoolPurged);
            }
        }
        purged
    }

    /// Drops the oldest segment of the destination that this spool is for.
    pub(super) fn drop_oldest(&mut self, id: u64, reason: Reason) -> bool {
        let Some(label) = self.spools.get(&id).map(|held| held.spool.label()) else { return false };
        let same = self.spools.iter().filter(|(_, held)| {
            held.spool.label().destination == label.destination && held.spool.oldest().is_some()
        });
        let oldest = same.min_by_key(|(id, held)| (held.spool.oldest().map(|s| s.begun), **id));
        let Some(id) = oldest.map(|(id, _)| *id) else { return false };
        self.drop_first(id, reason);
        true
    }

    /// Drops the oldest segment of a spool; how many messages are lost.
    fn drop_first(&mut self, id: u64, reason: Reason) -> u64 {
        let was_open = self.spools.get(&id).is_some_and(|held| held.spool.is_open());
        let lost = self.change(id, Spool::drop_oldest).unwrap_or(0);
        self.lost(id, reason, lost);
        let is_open = self.spools.get(&id).is_some_and(|held| held.spool.is_open());
        if was_open && !is_open {
            self.closed.push(id);
        }
        self.forget_if_empty(id);
        lost
    }
}
