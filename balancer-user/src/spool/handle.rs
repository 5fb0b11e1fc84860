//! The spool of one exporter session, at the handler's end.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    context::MAX_WAITING_BYTES, segment::Label, segments::Portion, spooler::Spooler, worker::Job,
};
use crate::stats::SpoolStats;

/// The longest a segment is appended to: what is old can be dropped before long.
const SEGMENT_TIME: Duration = Duration::from_secs(600);
/// A segment is a part of what may wait for a destination ...
pub const SEGMENTS: u64 = 128;
/// ... of at least, and at most, so many bytes.
const SEGMENT_BYTES: (u64, u64) = (64 << 10, 64 << 20);
/// An exporter may be held back when so much waits: room is left above for what one read brings.
const HOLD_FROM: u64 = MAX_WAITING_BYTES / 4 * 3;
/// Bytes that are gathered before they go to the thread, within a batch.
const GATHER: usize = 256 << 10;

/// The spool of one exporter session for one destination, at the handler's end.
#[derive(Debug)]
pub struct Handle {
    spooler: Rc<Spooler>,
    id: u64,
    label: Label,
    stats: Arc<SpoolStats>,
    gathered: Vec<u8>,
    /// Messages in it.
    count: u64,
    /// Messages that were appended since the beginning, and those of them that were read.
    appended: u64,
    read: u64,
    /// Whether it is known what comes first: not so where an earlier session has left it ...
    begun: bool,
    /// ... and whether it is known what comes last.
    end_known: bool,
    reading: bool,
    /// Whether messages can be appended to the segment of now.
    open: bool,
    segment_bytes: u64,
    segment_messages: u64,
    segment_begun: Instant,
}

impl Handle {
    pub(super) fn new(spooler: &Rc<Spooler>, id: u64, label: Label) -> Handle {
        Handle {
            spooler: Rc::clone(spooler),
            id,
            stats: spooler.context.stats.spool(label.destination.as_deref()),
            label,
            gathered: Vec::new(),
            count: 0,
            appended: 0,
            read: 0,
            begun: true,
            end_known: true,
            reading: false,
            open: false,
            segment_bytes: 0,
            segment_messages: 0,
            segment_begun: Instant::now(),
        }
    }

    /// Of a spool that an earlier session has left.
    pub(super) fn of_earlier(spooler: &Rc<Spooler>, id: u64, label: Label) -> Handle {
        Handle { begun: false, end_known: false, ..Handle::new(spooler, id, label) }
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whose messages, and for whom.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Whether the next messages need a new segment, with templates and options of their own.
    pub fn wants_segment(&self) -> bool {
        let (least, most) = SEGMENT_BYTES;
        let bytes = (self.spooler.max_bytes.get() / SEGMENTS).clamp(least, most);
        let long = self.segment_bytes >= bytes || self.segment_begun.elapsed() >= SEGMENT_TIME;
        !self.open || (long && self.segment_messages > 0)
    }

    /// Begins a segment with messages of all live templates and options.
    pub fn begin(&mut self, preamble: Vec<u8>) {
        self.flush();
        self.queue(preamble.len());
        self.open = true;
        self.segment_bytes = to_u64(preamble.len());
        self.segment_messages = 0;
        self.segment_begun = Instant::now();
        let label = self.label.clone();
        self.spooler.send(Job::Begin { spool: self.id, label, preamble });
    }

    /// Appends whole messages.
    pub fn push(&mut self, messages: &[u8], count: u32) {
        self.gathered.extend_from_slice(messages);
        self.count += u64::from(count);
        self.appended += u64::from(count);
        self.segment_bytes += to_u64(messages.len());
        self.segment_messages += u64::from(count);
        if self.gathered.len() >= GATHER {
            self.flush();
        }
    }

    /// Hands over what has gathered: to be called at the end of a batch.
    pub fn flush(&mut self) {
        if self.count == 0 {
            return;
        }
        let messages = std::mem::take(&mut self.gathered);
        let count = std::mem::take(&mut self.count);
        self.queue(messages.len());
        self.spooler.send(Job::Append { spool: self.id, messages, count });
    }

    fn queue(&self, bytes: usize) {
        self.spooler.context.queued.fetch_add(to_u64(bytes), Relaxed);
    }

    /// Whether no more should be appended: the spool is full (`SPOOL_FULL=hold`), or much waits for
    /// the disk.
    pub fn is_full(&self) -> bool {
        let limit = self.spooler.max_bytes.get();
        self.spooler.holds.get() && self.stats.bytes.get() >= limit
            || self.spooler.context.waiting() >= HOLD_FROM
    }

    /// Whether so much waits for the disk that no more can be kept.
    pub fn is_behind(&self) -> bool {
        self.spooler.context.waiting() >= MAX_WAITING_BYTES
    }

    /// Whether even twice as much does.
    pub fn is_far_behind(&self) -> bool {
        self.spooler.context.waiting() >= 2 * MAX_WAITING_BYTES
    }

    /// Number of the next message that is appended.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Reading goes on with the message of this number: those before it are in memory. To be said
    /// before they are appended, so that they are not taken for lost where the disk has no room.
    pub fn read_from(&mut self, number: u64) {
        self.read = number;
        self.spooler.send(Job::ReadFrom { spool: self.id, number });
    }

    /// Whether all that was appended has been read.
    pub fn is_read(&self) -> bool {
        self.end_known && self.read >= self.appended
    }

    /// Asks for the next messages, unless they are under way.
    pub fn ask(&mut self) {
        if !std::mem::replace(&mut self.reading, true) {
            self.flush();
            self.spooler.send(Job::Read { spool: self.id });
        }
    }

    /// The messages have come. True when others were dropped before them.
    pub fn came(&mut self, portion: &Portion) -> bool {
        self.reading = false;
        let gap = !self.begun || portion.first > self.read;
        self.begun = true;
        self.end_known |= portion.messages.is_empty();
        self.read = self.read.max(portion.next);
        self.appended = self.appended.max(self.read);
        gap
    }

    /// The segment of now was dropped.
    pub fn closed(&mut self) {
        self.open = false;
    }

    /// All was read, and what comes next does not come here.
    pub fn seal(&mut self) {
        self.open = false;
        self.spooler.send(Job::Seal { spool: self.id });
    }

    /// Messages before this number have arrived.
    pub fn release(&self, upto: u64) {
        self.spooler.send(Job::Release { spool: self.id, upto });
    }
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
