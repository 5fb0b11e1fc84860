//! The spool of one exporter session for one destination: a row of segments.
//!
//! Messages are numbered, from the first that ever was in the spool. Each segment begins with the
//! templates and options that are live there, so that it can be sent whatever became of the ones
//! before it.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    record::{Kind, Records},
    segment::{Header, Label, Segment, VERSION},
};

/// The spool of one exporter session for one destination.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    label: Label,
    id: u64,
    segments: VecDeque<Segment>,
    /// Whether messages may be appended to the last segment.
    open: bool,
    next_segment: u64,
    /// Number of the next message that comes.
    next: u64,
    cursor: Cursor,
    /// Messages before this number have been read; those before `done` have arrived.
    read: u64,
    done: u64,
    /// `done` as the disk has it.
    noted: u64,
    /// Files that could not be deleted yet.
    condemned: Vec<Segment>,
}

/// Where to read on.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// Number of the segment.
    segment: u64,
    /// Bytes of it that were read.
    offset: u64,
    /// Number of the message behind them.
    message: u64,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// Messages with the templates and options that were live when `messages` came, and perhaps
    /// others that were sent before.
    pub learn: Vec<u8>,
    /// Number of the first message.
    pub first: u64,
    /// Whole messages, in order.
    pub messages: Vec<u8>,
    /// Number of the message behind them.
    pub next: u64,
}

/// What waits in a spool, or has gone from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Bytes of the segments.
    pub bytes: u64,
}

impl Spool {
    /// A spool without segments, which will stand in `dir`.
    pub fn new(dir: &Path, label: Label, id: u64) -> Spool {
        Spool {
            dir: dir.to_owned(),
            label,
            id,
            segments: VecDeque::new(),
            open: false,
            next_segment: 0,
            next: 0,
            cursor: Cursor::default(),
            read: 0,
            done: 0,
            noted: 0,
            condemned: Vec::new(),
        }
    }

    /// The spool that these segments are what is left of, in any order.
    pub fn recover(dir: &Path, mut parts: Vec<(Header, Segment)>) -> Option<Spool> {
        parts.sort_by_key(|(header, _)| header.segment);
        let (last, _) = parts.last()?;
        let mut spool = Spool::new(dir, last.label.clone(), last.spool);
        spool.next_segment = last.segment + 1;
        spool.segments = parts.into_iter().map(|(_, segment)| segment).collect();
        spool.next = spool.segments.back().map_or(0, Segment::end);
        let noted = fs::read_to_string(spool.note()).ok();
        spool.noted = noted.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        spool.read = spool.noted.min(spool.next);
        spool.release(spool.read);
        Some(spool)
    }

    /// Whose messages, and for whom.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// What has not arrived.
    pub fn amount(&self) -> Amount {
        let waiting =
            |segment: &Segment| segment.end() - segment.first.max(self.done).min(segment.end());
        Amount {
            messages: self.segments.iter().map(waiting).sum(),
            bytes: self.segments.iter().map(Segment::bytes).sum(),
        }
    }

    /// Whether nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.condemned.is_empty()
    }

    /// Whether messages can be appended.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The oldest segment.
    pub fn oldest(&self) -> Option<&Segment> {
        self.segments.front()
    }

    /// Bytes that are in memory alone.
    pub fn unwritten_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::unwritten_bytes).sum()
    }

    /// Begins a segment. `preamble` are messages with the templates and options that are live.
    pub fn begin(&mut self, preamble: &[u8], now: u64) {
        let header = Header {
            version: VERSION,
            label: self.label.clone(),
            spool: self.id,
            segment: self.next_segment,
            first: self.next,
            begun: now,
        };
        self.next_segment += 1;
        self.segments.push_back(Segment::begin(&self.dir, &header, preamble));
        self.open = true;
    }

    /// Appends `count` whole messages. Where the segment that they belong to was dropped they are, too:
    /// says how many messages are lost.
    pub fn append(&mut self, messages: &[u8], count: u64, now: u64) -> u64 {
        let first = self.next;
        self.next += count;
        match self.segments.back_mut().filter(|_| self.open) {
            Some(segment) => {
                segment.append(messages, now);
                0
            }
            None => self.next - self.read.clamp(first, self.next),
        }
    }

    /// Nothing more is appended before a new segment begins.
    pub fn seal(&mut self) {
        self.open = false;
        self.remove_done();
    }

    /// Brings what is in memory to the disk. What it does not take stays in memory.
    pub fn write(&mut self) -> io::Result<()> {
        self.segments.iter_mut().try_for_each(Segment::write)
    }

    /// Waits until the disk has all that was written, and notes what has arrived.
    pub fn sync(&mut self) -> io::Result<()> {
        self.segments.iter_mut().try_for_each(Segment::sync)?;
        if self.noted != self.done && !self.segments.is_empty() {
            let (path, new) = (self.note(), self.note().with_extension("new"));
            fs::write(&new, self.done.to_string())?;
            fs::rename(&new, &path)?;
            self.noted = self.done;
        }
        self.condemned.retain(|segment| segment.remove().is_err());
        Ok(())
    }

    /// Reading goes on with the message of this number, which may still have to come.
    pub fn read_from(&mut self, number: u64) {
        if number < self.read {
            self.cursor = Cursor::default();
        }
        self.read = number;
    }

    /// Reads on: messages of one segment, about `max` bytes of them. Empty when all was read.
    ///
    /// # Errors
    ///
    /// The disk does not give it. Trying again may help, [`Spool::skip`] does.
    pub fn read(&mut self, max: usize) -> io::Result<Portion> {
        let portion = self.read_on(max);
        if portion.is_err() {
            // What was read of templates has to be read again.
            self.cursor.offset = 0;
        }
        portion
    }

    fn read_on(&mut self, max: usize) -> io::Result<Portion> {
        let mut portion = Portion::default();
        while let Some(segment) = self.segments.iter().find(|s| s.number >= self.cursor.segment) {
            if segment.number > self.cursor.segment || self.cursor.offset == 0 {
                portion.learn.clear();
                self.cursor = Cursor { segment: segment.number, offset: 0, message: segment.first };
            }
            let bytes = segment.read(self.cursor.offset, max)?;
            let is_last = self.segments.back().is_some_and(|last| last.number == segment.number);
            let read = self.take(&bytes, &mut portion)?;
            if !portion.messages.is_empty() {
                self.read = portion.next;
                return Ok(portion);
            }
            if read == 0 {
                if is_last {
                    break;
                }
                self.cursor = Cursor { segment: self.cursor.segment + 1, offset: 0, message: 0 };
            }
        }
        self.read = self.next;
        Ok(Portion { first: self.next, next: self.next, ..portion })
    }

    /// Takes the whole records of `bytes`, and moves on behind them: how many bytes that are.
    fn take(&mut self, bytes: &[u8], portion: &mut Portion) -> io::Result<usize> {
        let mut records = Records::of(bytes);
        for record in records.by_ref() {
            // What is whole is taken before it is said that the next is not.
            let Ok(record) = record else { break };
            match record.kind {
                Kind::Header => continue,
                Kind::Preamble => {
                    portion.learn.extend_from_slice(record.bytes);
                    continue;
                }
                // Where reading begins anew within a segment, its first messages were sent before.
                Kind::Message if self.cursor.message < self.read => {
                    portion.learn.extend_from_slice(record.bytes);
                }
                Kind::Message => {
                    if portion.messages.is_empty() {
                        portion.first = self.cursor.message;
                    }
                    portion.messages.extend_from_slice(record.bytes);
                    portion.next = self.cursor.message + 1;
                }
            }
            self.cursor.message += 1;
        }
        let read = records.read();
        if read == 0 && records.is_broken() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a checksum is wrong"));
        }
        self.cursor.offset += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }

    /// Gives up the segment that can't be read: how many messages are lost.
    pub fn skip(&mut self) -> u64 {
        let unreadable = self.segments.iter().position(|s| s.number >= self.cursor.segment);
        unreadable.map_or(0, |place| self.remove(place))
    }

    /// Drops the oldest segment: how many messages are lost.
    pub fn drop_oldest(&mut self) -> u64 {
        self.remove(0)
    }

    /// Drops a segment whose file somebody has taken away: how many messages are lost. `None` where
    /// there is no such segment.
    pub fn drop_vanished(&mut self) -> Option<u64> {
        let place = self.segments.iter().position(Segment::has_vanished)?;
        Some(self.remove(place))
    }

    /// Messages before this number have arrived.
    pub fn release(&mut self, upto: u64) {
        self.done = self.done.max(upto.min(self.next));
        self.remove_done();
    }

    fn remove_done(&mut self) {
        while let Some(first) = self.segments.front() {
            let in_use = self.open && self.segments.len() == 1;
            if in_use || first.end() > self.done {
                break;
            }
            self.remove(0);
        }
    }

    /// Takes a segment away; the messages in it that had not been read.
    fn remove(&mut self, place: usize) -> u64 {
        let Some(segment) = self.segments.remove(place) else { return 0 };
        self.open &= place < self.segments.len();
        if self.segments.is_empty() {
            let _ = fs::remove_file(self.note());
        }
        let unread = segment.end() - self.read.clamp(segment.first, segment.end());
        if segment.remove().is_err() {
            self.condemned.push(segment.without_content());
        }
        unread
    }

    /// Where it is noted which messages have arrived.
    fn note(&self) -> PathBuf {
        note(&self.dir, self.id)
    }
}

/// Where it is noted which messages of a spool have arrived.
pub fn note(dir: &Path, spool: u64) -> PathBuf {
    dir.join(format!("{spool:016x}.done"))
}
