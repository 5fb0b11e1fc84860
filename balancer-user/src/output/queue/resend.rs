//! What was written to a connection: until when it is kept, and what goes first on the next one.

use bytes::{Buf, Bytes};
use common::message::{HEADER_LEN, Header};

use super::{Entry, Queue, headers};
use crate::session::{Before, Router};

/// What a broken connection leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// Messages that have arrived, but were not counted when they were written, because they were
    /// part of a run that was not written whole.
    pub arrived: u64,
    /// Messages that were counted when they were written, and will be written again.
    pub again: u64,
}

impl Queue {
    /// Of what was written the collector's TCP has not acknowledged the last `unacknowledged`
    /// bytes, and the collector may not have read `unread` bytes before these: everything earlier
    /// is done with.
    pub fn acknowledge(&mut self, unacknowledged: usize, unread: usize) {
        self.unacknowledged = unacknowledged.min(self.written);
        let done = self.written - self.unacknowledged.saturating_add(unread).min(self.written);
        self.release(done);
    }

    /// Releases the entries that lie within the first `bytes` bytes; says how many bytes are left.
    fn release(&mut self, bytes: usize) -> usize {
        let mut rest = bytes;
        while self.sent > 0
            && let Some(first) = self.entries.front().filter(|first| first.bytes.len() <= rest)
        {
            rest -= first.bytes.len();
            self.written -= first.bytes.len();
            self.sent -= 1;
            self.pop();
        }
        rest
    }

    /// The connection is gone. Everything that may not have arrived waits again, from the first
    /// whole message on: a collector throws the half of a message away (RFC 7011 section 9.1 has
    /// no way to go on with it). `unread` bytes that were acknowledged were perhaps not read.
    pub fn restart(&mut self, unread: usize) -> Broken {
        let kept = self.unacknowledged.saturating_add(unread).min(self.written);
        let mut broken = Broken::default();
        let rest = self.release(self.written - kept);
        let cut = self.cut_front(rest);
        if self.sent == 0 {
            // A run that was written in part.
            broken.arrived = cut;
        }
        broken.again = self.entries.range(..self.sent).map(|e| u64::from(e.messages)).sum();
        (self.sent, self.written, self.part, self.unacknowledged) = (0, 0, 0, 0);
        broken
    }

    /// Takes the whole messages within the first `bytes` bytes off the first entry; says how many.
    fn cut_front(&mut self, bytes: usize) -> u64 {
        let Some(first) = self.entries.front_mut() else { return 0 };
        let (mut rest, mut cut) = (bytes, 0);
        while let Some(len) = Header::read(&first.bytes).map(|h| usize::from(h.length)) {
            if len > rest || len < HEADER_LEN {
                break;
            }
            first.bytes.advance(len);
            first.messages = first.messages.saturating_sub(1);
            self.bytes -= len;
            rest -= len;
            cut += 1;
        }
        cut
    }

    /// A new transport session to `target` begins: puts ahead what a collector needs to decode the
    /// waiting messages, and tells the router that everything else has to be repeated.
    pub fn resume(&mut self, router: &mut Router, target: usize) {
        // The last connection's, if it broke early.
        self.remove(router, target, |entry| entry.preamble);
        let heads = self.heads();
        let waiting: Vec<u32> = heads.iter().map(|(header, _)| header.domain).collect();
        let mut preambles = Vec::new();
        for (header, before) in &heads {
            let (messages, records) = router.preamble(target, header, before.as_ref());
            self.renumber(header.domain, records);
            preambles.extend(messages.into_iter().map(|message| (header.domain, message)));
        }
        self.push_front(preambles);
        router.reconnected(target, &waiting);
    }

    /// Puts messages ahead of everything. Not while the first entry is half written.
    fn push_front(&mut self, messages: Vec<(u32, Bytes)>) {
        for (domain, bytes) in messages.into_iter().rev() {
            let entry = Entry { preamble: true, ..Entry::state(domain, bytes) };
            self.grow(&entry);
            self.entries.push_front(entry);
            self.settled += 1;
        }
    }

    /// The first waiting message of each observation domain, with the templates it was encoded by
    /// where they have changed since.
    pub(super) fn heads(&self) -> Vec<(Header, Option<Before>)> {
        let mut heads: Vec<(Header, Option<Before>)> = Vec::new();
        for entry in &self.entries {
            for header in headers(&entry.bytes) {
                if !heads.iter().any(|(known, _)| known.domain == header.domain) {
                    heads.push((header, None));
                }
            }
            let Some(before) = &entry.before else { continue };
            let head = heads.iter_mut().find(|(header, _)| header.domain == before.domain);
            if let Some((_, first)) = head {
                first.get_or_insert_with(|| before.clone());
            }
        }
        heads
    }

    /// Adds `records` to the sequence numbers of a domain's waiting messages, which RoundRobin
    /// never joins to runs.
    pub(super) fn renumber(&mut self, domain: u32, records: u32) {
        for entry in self.entries.iter_mut().filter(|entry| entry.domain == domain) {
            entry.renumber(records);
        }
    }
}
