//! Taking entries out of a queue, with their sequence numbers: for other destinations, or because they
//! are of no use any more.

use std::collections::{BTreeSet, HashMap, VecDeque};

use common::message::{Header, set_sequence};

use super::{Entry, Queue};
use crate::session::Router;

/// A message that was taken out of a queue, for another destination.
#[derive(Debug)]
pub struct Taken {
    /// The message.
    pub entry: Entry,
    /// Its data records; `None` for the exporter's last message, as long as the next one has not told.
    pub records: Option<u32>,
    /// Who takes it.
    pub to: usize,
}

impl Queue {
    /// RoundRobin: takes the messages out that were `target`'s turn and for which `taker` names
    /// another destination. A message that was encoded by templates which have been redefined or
    /// withdrawn since stays: the others have the new ones.
    pub fn take_turns(
        &mut self,
        router: &mut Router,
        target: usize,
        mut taker: impl FnMut(&Router, &Entry) -> Option<usize>,
    ) -> Vec<Taken> {
        let mut redefinitions: HashMap<u32, usize> = HashMap::new();
        for before in self.entries.iter().filter_map(|entry| entry.before.as_ref()) {
            *redefinitions.entry(before.domain).or_default() += 1;
        }
        let taken = self.take(router, target, |router, entry| {
            let to_come = redefinitions.get_mut(&entry.domain).filter(|count| **count > 0);
            match to_come {
                Some(count) => {
                    *count -= usize::from(entry.before.is_some());
                    None
                }
                None if entry.can_go_elsewhere() => taker(router, entry),
                None => None,
            }
        });
        taken.into_iter().map(|(entry, records, to)| Taken { entry, records, to }).collect()
    }

    /// Whether there is a message of a turn that nothing was written of.
    pub fn has_turns(&self) -> bool {
        self.entries.range(self.untouched()..).any(Entry::can_go_elsewhere)
    }

    /// The observation domains of the messages of turns.
    pub fn domains(&self) -> BTreeSet<u32> {
        self.entries.iter().filter(|entry| entry.turn).map(|entry| entry.domain).collect()
    }

    /// The last message of a domain.
    pub fn last_of(&self, domain: u32) -> Option<&[u8]> {
        self.entries.iter().rev().find(|entry| entry.domain == domain).map(|entry| &entry.bytes[..])
    }

    /// Takes out the entries for which `which` holds, of those that nothing was written of.
    pub(super) fn remove(
        &mut self,
        router: &mut Router,
        target: usize,
        which: impl Fn(&Entry) -> bool,
    ) {
        self.take(router, target, |_, entry| which(entry).then_some(()));
    }

    /// Takes out the entries for which `which` has something to say, of those that nothing was
    /// written of; with their records. RoundRobin numbers what stays as if they had never been there.
    fn take<T>(
        &mut self,
        router: &mut Router,
        target: usize,
        mut which: impl FnMut(&Router, &Entry) -> Option<T>,
    ) -> Vec<(Entry, Option<u32>, T)> {
        let first = self.untouched();
        self.settled = self.settled.min(first);
        let (mut next, mut records) = (HashMap::new(), VecDeque::new());
        for entry in self.entries.range(first..).rev() {
            records.push_front(records_of(entry, router, target, &mut next));
        }
        let (mut taken, mut gone) = (Vec::new(), HashMap::new());
        for (mut entry, records) in self.entries.split_off(first).into_iter().zip(records) {
            let before: &mut u32 = gone.entry(entry.domain).or_default();
            match which(router, &entry) {
                Some(what) => {
                    self.shrink(&entry);
                    let header = Header::read(&entry.bytes);
                    // Its templates the destination needs all the same.
                    let templates = entry.turn && entry.control;
                    let templates = templates.then(|| router.lesson(&entry.bytes)).flatten();
                    if let Some((templates, header)) = templates.zip(header) {
                        let mut templates = Entry::state(entry.domain, templates);
                        templates.set_number(header.sequence.wrapping_sub(*before));
                        self.push(templates);
                    }
                    *before = before.wrapping_add(records.unwrap_or(0));
                    taken.push((entry, records, what));
                }
                None => {
                    entry.renumber(before.wrapping_neg());
                    self.entries.push_back(entry);
                }
            }
        }
        for (domain, records) in gone {
            router.take_back(domain, target, records);
        }
        taken
    }

    /// The place of the first entry that nothing was written of.
    fn untouched(&self) -> usize {
        self.sent + usize::from(self.part > 0)
    }
}

impl Entry {
    /// Whether others can get it: not what is in the destination's spool as well.
    fn can_go_elsewhere(&self) -> bool {
        self.turn && self.spooled.is_none()
    }

    /// Adds `records` to the sequence number of a single message.
    pub(super) fn renumber(&mut self, records: u32) {
        if records == 0 {
            return;
        }
        let Some(header) = Header::read(&self.bytes) else { return };
        self.set_number(header.sequence.wrapping_add(records));
    }

    /// Gives a single message another sequence number.
    pub fn set_number(&mut self, number: u32) {
        let mut copy = self.bytes.to_vec();
        set_sequence(&mut copy, number);
        self.bytes = copy.into();
        self.borrowed = false;
    }
}

/// RoundRobin: the records of an entry, given the number of the `next` message of its domain, and
/// for the last one from the router; `None` where that does not know, either. Elsewhere 0.
fn records_of(
    entry: &Entry,
    router: &Router,
    target: usize,
    next: &mut HashMap<u32, u32>,
) -> Option<u32> {
    let number = router.next_number(entry.domain, target);
    let Some((last, header)) = number.zip(Header::read(&entry.bytes)) else { return Some(0) };
    match next.insert(entry.domain, header.sequence) {
        Some(next) => Some(next.wrapping_sub(header.sequence)),
        None if router.is_settled(entry.domain, target) => Some(last.wrapping_sub(header.sequence)),
        None => None,
    }
}
