//! Taking entries out of a queue, with their sequence numbers.

use std::collections::{HashMap, VecDeque};

use common::message::{Header, set_sequence};

use super::{Entry, Queue};
use crate::session::Router;

impl Queue {
    /// Takes out the entries for which `which` holds, of those that nothing was written of.
    /// RoundRobin numbers what stays as if they had never been there.
    pub(super) fn remove(
        &mut self,
        router: &mut Router,
        target: usize,
        which: impl Fn(&Entry) -> bool,
    ) {
        let first = self.sent + usize::from(self.part > 0);
        self.settled = self.settled.min(first);
        let (mut next, mut records) = (HashMap::new(), VecDeque::new());
        for entry in self.entries.range(first..).rev() {
            records.push_front(records_of(entry, router, target, &mut next));
        }
        let mut gone = HashMap::new();
        for (mut entry, records) in self.entries.split_off(first).into_iter().zip(records) {
            let before: &mut u32 = gone.entry(entry.domain).or_default();
            if which(&entry) {
                *before = before.wrapping_add(records);
                self.bytes -= entry.bytes.len();
            } else {
                entry.renumber(before.wrapping_neg());
                self.entries.push_back(entry);
            }
        }
        for (domain, records) in gone {
            router.take_back(domain, target, records);
        }
    }
}

impl Entry {
    /// Adds `records` to the sequence number of a single message.
    pub(super) fn renumber(&mut self, records: u32) {
        if records == 0 {
            return;
        }
        let Some(header) = Header::read(&self.bytes) else { return };
        let mut copy = self.bytes.to_vec();
        set_sequence(&mut copy, header.sequence.wrapping_add(records));
        self.bytes = copy.into();
        self.borrowed = false;
    }
}

/// RoundRobin: the records of an entry, given the number of the `next` message of its domain, and
/// for the last one from the router. Elsewhere 0.
fn records_of(entry: &Entry, router: &Router, target: usize, next: &mut HashMap<u32, u32>) -> u32 {
    let number = router.next_number(entry.domain, target);
    let Some((last, header)) = number.zip(Header::read(&entry.bytes)) else { return 0 };
    let next = next.insert(entry.domain, header.sequence).unwrap_or(last);
    next.wrapping_sub(header.sequence)
}
