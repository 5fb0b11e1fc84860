//! Messages of one transport session, in order: those that were written to a TCP connection and
//! may have to be sent again, and behind them those that wait.

mod removal;
mod resend;
mod spooled;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use common::message::{HEADER_LEN, Header};

pub use removal::Taken;

use crate::session::Before;

/// An entry's place in a queue, and what an allocation of its own takes.
const OVERHEAD: usize = 128;

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
    /// RoundRobin: whether it is what its destination was given in turn, and others were not.
    pub turn: bool,
    /// Whether it was put ahead of the queue when a connection began, for what came behind it.
    pub preamble: bool,
    /// Number of the message behind it in the spool, if it is there as well.
    pub spooled: Option<u64>,
    /// Old templates, where the message redefines or withdraws some.
    pub before: Option<Before>,
    /// Whether `bytes` stand in a receive buffer that should not be kept for their sake.
    pub borrowed: bool,
}

/// A queue of entries. It has no bound of its own: who pushes looks at [`Queue::bytes`].
///
/// What is sent over UDP leaves it at once. What is written to a TCP connection stays until it is
/// known to have arrived, see [`Queue::acknowledge`].
#[derive(Debug, Default)]
pub struct Queue {
    entries: VecDeque<Entry>,
    /// Bytes of all entries.
    bytes: usize,
    /// Memory that they take beside these.
    overhead: usize,
    /// Entries at the front that have been written whole to the connection.
    sent: usize,
    /// Their bytes, and those that have been written of the entry behind them.
    written: usize,
    /// Bytes written of the entry behind the sent ones.
    part: usize,
    /// Of the written bytes, those that the collector's TCP is not known to have acknowledged.
    unacknowledged: usize,
    /// Entries at the front that have been looked at by [`Queue::settle`].
    settled: usize,
    /// Bytes that were ever pushed, messages composed for a new connection not counted.
    pushed: u64,
    /// Number of the message behind the last one of the spool that has left.
    left_of_spool: u64,
}

/// What has left the queue, or was written to a connection for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Messages that were completed.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Entry {
    /// Memory that it takes beside its bytes, about. Old templates are counted in each queue that
    /// keeps them.
    fn overhead(&self) -> usize {
        OVERHEAD + self.before.as_ref().map_or(0, Before::bytes)
    }

    /// A message of templates and options that the balancer has composed.
    pub fn state(domain: u32, bytes: Bytes) -> Entry {
        Entry {
            bytes,
            messages: 1,
            domain,
            control: true,
            turn: false,
            preamble: false,
            spooled: None,
            before: None,
            borrowed: false,
        }
    }
}

impl Queue {
    /// Appends.
    pub fn push(&mut self, entry: Entry) {
        self.pushed += u64::try_from(entry.bytes.len()).unwrap_or(0);
        self.grow(&entry);
        self.entries.push_back(entry);
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that is taken, about: what is kept, and for each entry its place and old templates.
    pub fn memory(&self) -> usize {
        self.bytes + self.overhead
    }

    /// Bytes that wait to be written, or to be acknowledged.
    pub fn outstanding(&self) -> usize {
        self.bytes - self.written + self.unacknowledged
    }

    /// Bytes that wait to be written.
    pub fn unwritten(&self) -> usize {
        self.bytes - self.written
    }

    /// Bytes that have been pushed so far: a mark for [`Queue::has_arrived`].
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Whether everything has arrived that had been pushed when [`Queue::pushed`] said `mark`.
    pub fn has_arrived(&self, mark: u64) -> bool {
        u64::try_from(self.outstanding()).is_ok_and(|bytes| bytes <= self.pushed - mark)
    }

    /// Bytes that were written and are not known to have been acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// Messages in [`Queue::outstanding`].
    pub fn messages(&self) -> u64 {
        let mut arrived = self.written - self.unacknowledged;
        let outstanding = self.entries.iter().skip_while(|entry| {
            let whole = entry.bytes.len() <= arrived;
            arrived = arrived.saturating_sub(entry.bytes.len());
            whole
        });
        outstanding.map(|entry| u64::from(entry.messages)).sum()
    }

    /// Everything that is kept.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether everything was written to the connection.
    pub fn is_written(&self) -> bool {
        self.sent == self.entries.len()
    }

    /// What is to be written next, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.part;
        self.entries.range(self.sent..).map(move |entry| {
            let from = std::mem::take(&mut skip);
            entry.bytes.get(from..).unwrap_or_default()
        })
    }

    /// `count` bytes have been written to a connection.
    pub fn advance_bytes(&mut self, count: usize) -> Left {
        let mut left = Left { messages: 0, bytes: u64::try_from(count).unwrap_or(0) };
        self.written += count;
        self.unacknowledged += count;
        self.part += count;
        while let Some(entry) = self.entries.get(self.sent).filter(|e| e.bytes.len() <= self.part) {
            left.messages += u64::from(entry.messages);
            self.part -= entry.bytes.len();
            self.sent += 1;
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
        self.shrink(&entry);
        self.settled = self.settled.saturating_sub(1);
        self.left_of_spool = self.left_of_spool.max(entry.spooled.unwrap_or(0));
        Some(entry)
    }

    /// Copies the entries pushed since the last call and borrowed, if the receive buffer is not to
    /// be kept for their sake. One of `Some` bytes may be kept by what is still to be written, if
    /// that fills a quarter of it, and until [`Queue::copy`] by what was written.
    pub fn settle(&mut self, buffer: Option<usize>) {
        let first = std::mem::replace(&mut self.settled, self.entries.len());
        match buffer {
            Some(bytes) => self.copy_borrowed(first.max(self.sent), bytes.div_ceil(4)),
            None => self.copy_borrowed(first, usize::MAX),
        }
    }

    /// Copies everything that stands in receive buffers, what was written as well.
    pub fn copy(&mut self) {
        self.settled = self.entries.len();
        self.copy_borrowed(0, usize::MAX);
    }

    /// Copies the borrowed entries from `first` on, if they have fewer than `enough` bytes.
    fn copy_borrowed(&mut self, first: usize, enough: usize) {
        let borrowed = |entry: &&mut Entry| entry.borrowed;
        let bytes: usize =
            self.entries.range_mut(first..).filter(borrowed).map(|entry| entry.bytes.len()).sum();
        if bytes == 0 || bytes >= enough {
            return;
        }
        let mut copies = BytesMut::with_capacity(bytes);
        for entry in self.entries.range_mut(first..).filter(borrowed) {
            copies.extend_from_slice(&entry.bytes);
            entry.bytes = copies.split().freeze();
            entry.borrowed = false;
        }
    }

    /// Templates are redefined by a message that is not put into the queue: what is in it was encoded by
    /// the old ones.
    pub fn keep_before(&mut self, before: &Before) {
        let of_domain =
            |entry: &&mut Entry| headers(&entry.bytes).any(|h| h.domain == before.domain);
        // One that has old templates has older ones.
        let last = self.entries.iter_mut().rev().find(of_domain);
        if let Some(entry) = last.filter(|entry| entry.before.is_none()) {
            entry.before = Some(before.clone());
            self.overhead += before.bytes();
        }
    }

    fn grow(&mut self, entry: &Entry) {
        self.bytes += entry.bytes.len();
        self.overhead += entry.overhead();
    }

    fn shrink(&mut self, entry: &Entry) {
        self.bytes -= entry.bytes.len();
        self.overhead -= entry.overhead();
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
