//! What is wrong with a file, and what is merely worth saying.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{ReceiverId, params::cpu_ranges};

/// Longest offending text that is shown in full.
const SHOWN_CHARS: usize = 120;

/// One thing in the file that must be put right before anything is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named by the caller.
    pub file: PathBuf,
    /// Line number, from 1. Of the receiver's first key when the key itself is missing.
    pub line: usize,
    /// The key as written in the file, or as it should be written when it is missing.
    pub key: String,
    /// The offending text: the value, or the one element of a list; empty when the key is missing.
    pub text: String,
    /// What is wrong with it.
    pub reason: Reason,
    /// What would be right, where that can be said.
    pub allowed: Option<String>,
    /// The nearest right spelling of a key or value.
    pub nearest: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, Shown(&self.key))?;
        if !self.text.is_empty() {
            write!(f, "={}", Shown(&self.text))?;
        }
        write!(f, ": {}", self.complaint())
    }
}

impl Fault {
    /// What is wrong, and what would be right.
    pub fn complaint(&self) -> String {
        let mut text = self.reason.to_string();
        if let Some(allowed) = &self.allowed {
            text.push_str(&format!("; allowed: {allowed}"));
        }
        if let Some(nearest) = &self.nearest {
            text.push_str(&format!("; did you mean {nearest}?"));
        }
        text
    }
}

/// What a [`Fault`] complains of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `ACCEL=require`, but messages come or go over TCP.
    #[error("the kernel path needs UDP input and output, here the {0} is TCP")]
    AccelNeedsUdp(&'static str),
    /// dotenvy refused the value.
    #[error("bad escape sequence in a quoted value")]
    BadEscape,
    /// An element of a list can't be read.
    #[error("bad list element: {0}")]
    BadElement(&'static str),
    /// The number in the brackets can't be read or is too big.
    #[error("bad index")]
    BadIndex,
    /// A value that can't be read.
    #[error("bad value: {0}")]
    BadValue(&'static str),
    /// The same destination twice in one list.
    #[error("the same destination twice")]
    DestinationTwice,
    /// A value is due.
    #[error("the value is missing")]
    Empty,
    /// Messages would come back to the receiver, directly or through another one.
    #[error("a loop: the destination {}", Loop(.0))]
    Loop(Option<ReceiverId>),
    /// A parameter without a default.
    #[error("must be given, there is no default")]
    Missing,
    /// A balancing receiver without destinations.
    #[error("no subreceiver to balance to")]
    NoDestination,
    /// A key alone on its line.
    #[error("no = after the key")]
    NoEquals,
    /// CPUs that are not there or not online.
    #[error("{}", NoSuchCpu(.0))]
    NoSuchCpu(Vec<usize>),
    /// Something else where a number is due.
    #[error("not a number")]
    NotANumber,
    /// Text in another encoding.
    #[error("not UTF-8")]
    NotUtf8,
    /// A number that is too small or too big.
    #[error("out of range")]
    OutOfRange,
    /// Another key of the file has this port.
    #[error("port twice: {port} is already taken by {key}, line {line}")]
    PortTwice {
        /// Port and protocol.
        port: String,
        /// The other key.
        key: String,
        /// Its line.
        line: usize,
    },
    /// A Clickstream receiver would rotate more often than the Fullflow receiver it follows.
    #[error(
        "rotation shorter than that of {fullflow} (line {line}): {seconds} s, there {fullflow_seconds} s"
    )]
    RotationShorter {
        /// The Fullflow receiver with the same index.
        fullflow: ReceiverId,
        /// Line of its rotation, or its first line.
        line: usize,
        /// The Clickstream's rotation.
        seconds: u32,
        /// The Fullflow's rotation.
        fullflow_seconds: u32,
    },
    /// Something other than a comment behind a quoted value.
    #[error("text after the closing quote")]
    TextAfterQuote,
    /// More destinations than a receiver can have.
    #[error("{0} destinations are too many")]
    TooManyDestinations(usize),
    /// The same key twice, whichever way it is spelled.
    #[error("the same key twice, first in line {0}")]
    Twice(usize),
    /// A quote that is never closed.
    #[error("the quote is never closed")]
    UnclosedQuote,
    /// No parameter has this name.
    #[error("unknown parameter")]
    UnknownKey,
    /// None of the words that are allowed.
    #[error("unknown value")]
    UnknownValue,
}

/// Something that is allowed, but may not be what the operator wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file, as it was named by the caller.
    pub file: PathBuf,
    /// Line number, from 1; `None` = the whole file.
    pub line: Option<usize>,
    /// The key as written in the file; empty for the whole file.
    pub key: String,
    /// What there is to say.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}: {}:", Shown(&self.key))?;
        }
        write!(f, " {}", self.text)
    }
}

/// Everything that is wrong with a file, in the order of its lines, one a line when shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Lines(.faults))]
pub struct Faults {
    /// Never empty.
    pub faults: Vec<Fault>,
    /// What there is to say beside the faults.
    pub notes: Vec<Note>,
}

/// Where in the file something was found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub line: usize,
    pub key: String,
    pub text: String,
}

/// Faults and notes of one file while it is being read.
#[derive(Debug)]
pub(super) struct Findings {
    file: PathBuf,
    pub faults: Vec<Fault>,
    pub notes: Vec<Note>,
}

impl Findings {
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), faults: Vec::new(), notes: Vec::new() }
    }

    pub fn fault(&mut self, place: Place, reason: Reason) {
        self.suggest(place, reason, None, None);
    }

    pub fn suggest(
        &mut self,
        place: Place,
        reason: Reason,
        allowed: Option<String>,
        nearest: Option<String>,
    ) {
        let Place { line, key, text } = place;
        self.faults.push(Fault {
            file: self.file.clone(),
            line,
            key,
            text,
            reason,
            allowed,
            nearest,
        });
    }

    pub fn note(&mut self, line: usize, key: &str, text: impl Into<String>) {
        let (file, key, text) = (self.file.clone(), key.to_owned(), text.into());
        self.notes.push(Note { file, line: Some(line), key, text });
    }

    pub fn note_file(&mut self, text: &str) {
        let (file, key, text) = (self.file.clone(), String::new(), text.to_owned());
        self.notes.push(Note { file, line: None, key, text });
    }
}

/// Text from a file, safe to print: on one line, without control characters, not too long.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for char in chars.by_ref().take(SHOWN_CHARS) {
            if char.is_control() {
                write!(f, "{}", char.escape_default())?;
            } else {
                write!(f, "{char}")?;
            }
        }
        if chars.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}

struct Loop<'a>(&'a Option<ReceiverId>);

impl fmt::Display for Loop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(via) => write!(f, "leads back to this receiver through {via}"),
            None => f.write_str("is this receiver itself"),
        }
    }
}

struct NoSuchCpu<'a>(&'a [usize]);

impl fmt::Display for NoSuchCpu<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [cpu] => write!(f, "CPU {cpu} does not exist on this machine"),
            cpus => write!(f, "CPUs {} do not exist on this machine", cpu_ranges(cpus)),
        }
    }
}

struct Lines<'a>(&'a [Fault]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
