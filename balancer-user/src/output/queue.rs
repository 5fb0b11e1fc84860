//! Messages that wait for one transport session, in order.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use common::message::{HEADER_LEN, Header, set_sequence};

use crate::session::{Before, Router};

/// One message, or a run of messages that came and leave together.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whole messages.
    pub bytes: Bytes,
    /// How many.
    pub messages: u32,
    /// Observation domain, of a single message.
    pub domain: u32,
    /// Whether it is a single message with templates or options.
    pub control: bool,
    /// Old templates, where the message redefines or withdraws some.
    pub before: Option<Before>,
    /// Whether `bytes` stand in a receive buffer that should not be kept for their sake.
    pub borrowed: bool,
}

/// A queue of entries. It has no bound of its own: who pushes looks at [`Queue::bytes`].
#[derive(Debug, Default)]
pub struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Bytes of the first entry that have been written to a TCP connection.
    written: usize,
    /// Entries at the front that have been looked at by [`Queue::settle`].
    settled: usize,
}

/// What has left the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Messages that were completed.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Queue {
    /// Appends.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes.len();
        self.entries.push_back(entry);
    }

    /// Puts messages ahead of everything. Not while the first entry is half written.
    fn push_front(&mut self, messages: Vec<Bytes>) {
        for bytes in messages.into_iter().rev() {
            self.bytes += bytes.len();
            let entry = Entry {
                bytes,
                messages: 1,
                domain: 0,
                control: true,
                before: None,
                borrowed: false,
            };
            self.entries.push_front(entry);
            self.settled += 1;
        }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that wait.
    pub fn messages(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.messages)).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is to be written next, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.written;
        self.entries.iter().map(move |entry| {
            let from = std::mem::take(&mut skip);
            entry.bytes.get(from..).unwrap_or_default()
        })
    }

    /// `count` bytes have been written to a connection.
    pub fn advance_bytes(&mut self, count: usize) -> Left {
        let mut left = Left { messages: 0, bytes: u64::try_from(count).unwrap_or(0) };
        self.written += count;
        while let Some(first) = self.entries.front().filter(|e| e.bytes.len() <= self.written) {
            left.messages += u64::from(first.messages);
            self.written -= first.bytes.len();
            self.pop();
        }
        left
    }

    /// `count` entries have been sent, a datagram each.
    pub fn advance_entries(&mut self, count: usize) -> Left {
        let mut left = Left::default();
        for _ in 0..count {
            let Some(entry) = self.pop() else { break };
            left.messages += u64::from(entry.messages);
            left.bytes += u64::try_from(entry.bytes.len()).unwrap_or(0);
        }
        left
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes.len();
        self.settled = self.settled.saturating_sub(1);
        Some(entry)
    }

    /// The connection is gone: a message that was half written starts anew on the next one.
    /// Says how many messages of a run had been written whole.
    pub fn restart(&mut self) -> u32 {
        let Some(first) = self.entries.front_mut() else { return 0 };
        let mut whole = 0;
        while let Some(len) = Header::read(&first.bytes).map(|h| usize::from(h.length)) {
            if len > self.written || len < HEADER_LEN {
                break;
            }
            first.bytes.advance(len);
            first.messages = first.messages.saturating_sub(1);
            self.bytes -= len;
            self.written -= len;
            whole += 1;
        }
        self.written = 0;
        whole
    }

    /// A new transport session to `target` begins: puts ahead what a collector needs to decode the
    /// waiting messages, and tells the router that everything else has to be repeated.
    pub fn resume(&mut self, router: &mut Router, target: usize) {
        let heads = self.heads();
        let waiting: Vec<u32> = heads.iter().map(|(header, _)| header.domain).collect();
        let mut preambles = Vec::new();
        for (header, before) in &heads {
            let (messages, records) = router.preamble(target, header, before.as_ref());
            self.renumber(header.domain, records);
            preambles.extend(messages);
        }
        self.push_front(preambles);
        router.reconnected(target, &waiting);
    }

    /// The first waiting message of each observation domain, with the templates it was encoded by
    /// where they have changed since.
    fn heads(&self) -> Vec<(Header, Option<Before>)> {
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
    fn renumber(&mut self, domain: u32, records: u32) {
        if records == 0 {
            return;
        }
        for entry in &mut self.entries {
            let Some(header) = Header::read(&entry.bytes).filter(|h| h.domain == domain) else {
                continue;
            };
            let mut copy = entry.bytes.to_vec();
            set_sequence(&mut copy, header.sequence.wrapping_add(records));
            entry.bytes = copy.into();
        }
    }

    /// Copies what is left of the entries pushed since the last call and borrowed, so that a
    /// receive buffer of `buffer` bytes is not kept for the sake of a few: where they fill a
    /// quarter of it, they may keep it.
    pub fn settle(&mut self, buffer: usize) {
        let first = std::mem::replace(&mut self.settled, self.entries.len());
        let borrowed = |entry: &&mut Entry| entry.borrowed;
        let bytes: usize =
            self.entries.range_mut(first..).filter(borrowed).map(|entry| entry.bytes.len()).sum();
        if bytes == 0 || bytes.saturating_mul(4) >= buffer {
            return;
        }
        let mut copies = BytesMut::with_capacity(bytes);
        for entry in self.entries.range_mut(first..).filter(borrowed) {
            copies.extend_from_slice(&entry.bytes);
            entry.bytes = copies.split().freeze();
            entry.borrowed = false;
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Queue::default();
    }
}

/// The headers of the messages in `run`.
fn headers(mut run: &[u8]) -> impl Iterator<Item = Header> {
    std::iter::from_fn(move || {
        let header = Header::read(run)?;
        run = run.get(usize::from(header.length).max(HEADER_LEN)..).unwrap_or_default();
        Some(header)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(domain: u32, sequence: u32, len: u16) -> Vec<u8> {
        let header = Header { version: 10, length: len, export_time: 0, sequence, domain };
        let mut bytes = header.to_bytes().to_vec();
        bytes.resize(usize::from(len), 0);
        bytes
    }

    fn entry(bytes: Vec<u8>, messages: u32) -> Entry {
        let bytes = bytes.into();
        Entry { bytes, messages, domain: 0, control: false, before: None, borrowed: true }
    }

    #[test]
    fn bytes_leave_in_any_portion_and_messages_count_when_complete() {
        let mut queue = Queue::default();
        queue.push(entry(message(1, 0, 20), 1));
        queue.push(entry(message(1, 5, 30), 1));
        assert_eq!(queue.advance_bytes(25), Left { messages: 1, bytes: 25 });
        assert_eq!(queue.pieces().map(<[u8]>::len).collect::<Vec<_>>(), [25]);
        assert_eq!(queue.advance_bytes(25), Left { messages: 1, bytes: 25 });
        assert!(queue.is_empty() && queue.bytes() == 0);
    }

    #[test]
    fn a_half_written_message_starts_anew_and_whole_ones_of_its_run_do_not() {
        let mut queue = Queue::default();
        queue.push(entry([message(1, 0, 20), message(1, 1, 20), message(1, 2, 20)].concat(), 3));
        queue.advance_bytes(45);
        assert_eq!(queue.restart(), 2);
        assert_eq!((queue.messages(), queue.bytes()), (1, 20));
        assert_eq!(queue.pieces().next().unwrap(), message(1, 2, 20));
    }

    #[test]
    fn heads_are_the_first_messages_of_each_domain_in_runs_too() {
        let mut queue = Queue::default();
        queue.push(entry([message(1, 7, 20), message(2, 8, 20)].concat(), 2));
        queue.push(entry(message(1, 9, 20), 1));
        let heads: Vec<_> = queue.heads().iter().map(|(h, _)| (h.domain, h.sequence)).collect();
        assert_eq!(heads, [(1, 7), (2, 8)]);
    }

    #[test]
    fn renumbering_touches_one_domain() {
        let mut queue = Queue::default();
        queue.push(entry(message(1, 7, 20), 1));
        queue.push(entry(message(2, 7, 20), 1));
        queue.renumber(1, 3);
        let numbers: Vec<_> = queue.pieces().map(|m| Header::read(m).unwrap().sequence).collect();
        assert_eq!(numbers, [10, 7]);
    }

    #[test]
    fn few_borrowed_bytes_are_copied_many_are_not() {
        let buffer = Bytes::from(message(1, 0, 400));
        for (size, copied) in [(4000, true), (1000, false)] {
            let mut queue = Queue::default();
            queue.push(entry(message(1, 0, 20), 1));
            queue.settle(0);
            queue.push(Entry { bytes: buffer.clone(), ..entry(Vec::new(), 1) });
            queue.settle(size);
            let kept = queue.pieces().nth(1).unwrap();
            assert_eq!(kept, buffer);
            assert_eq!(kept.as_ptr() != buffer.as_ptr(), copied);
        }
    }
}
