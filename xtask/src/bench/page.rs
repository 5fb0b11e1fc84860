//! Counters that the parts of a measurement share: each part writes its own, the bench reads them
//! at any time without disturbing anyone.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use super::sys::SharedWords;

/// Words of one part: two cache lines, so that parts do not slow each other.
const PART_WORDS: usize = 16;
/// Place of the exporter. Place 0 is the phase's.
pub const EXPORTER: usize = 1;
/// Place of the first sink; the others follow.
pub const FIRST_SINK: usize = 2;

/// What the exporter is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub enum Phase {
    /// Templates only, until everything is connected.
    Setup = 0,
    /// Data.
    Run = 1,
    /// Data with time stamps.
    Stamp = 2,
    /// Nothing more.
    Stop = 3,
    /// The sinks are to end, too.
    Finish = 4,
}

/// What a part counts.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub enum Count {
    /// Port it listens on; 0 until it does.
    Port,
    /// Connections it has accepted.
    Connections,
    /// Data messages.
    Messages,
    /// Messages with a template.
    Templates,
    /// Messages whose sequence number was not the expected one.
    Gaps,
    /// Records that the sequence numbers say are missing.
    Missing,
    /// Pieces of input that are no IPFIX.
    Malformed,
    /// 1 when the part has finished its work.
    Done,
}

/// The shared page.
#[derive(Debug)]
pub struct Page {
    words: SharedWords,
}

impl Page {
    /// Opens the page, and makes the file where there is none yet.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| path.display().to_string())?;
        Ok(Self { words: SharedWords::map(&file)? })
    }

    /// The counters of a part.
    pub fn part(&self, place: usize) -> Result<Part<'_>> {
        let words = self.words.get().chunks(PART_WORDS).nth(place).context("no such part")?;
        Ok(Part { words })
    }

    /// What the exporter is to do now.
    pub fn phase(&self) -> Phase {
        match self.words.get().first().map_or(0, |word| word.load(Ordering::Relaxed)) {
            0 => Phase::Setup,
            1 => Phase::Run,
            2 => Phase::Stamp,
            3 => Phase::Stop,
            _ => Phase::Finish,
        }
    }

    /// Tells the exporter what to do.
    pub fn set_phase(&self, phase: Phase) {
        if let Some(word) = self.words.get().first() {
            word.store(phase as u64, Ordering::Relaxed);
        }
    }
}

/// The counters of one part. One process writes them, any may read.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    words: &'a [AtomicU64],
}

impl Part<'_> {
    /// Reads a counter.
    pub fn read(&self, count: Count) -> u64 {
        self.words.get(count as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Writes a counter of one's own.
    pub fn set(&self, count: Count, value: u64) {
        if let Some(word) = self.words.get(count as usize) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Adds to a counter of one's own.
    pub fn add(&self, count: Count, amount: u64) {
        self.set(count, self.read(count) + amount);
    }
}
