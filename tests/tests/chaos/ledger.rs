//! What exporters have sent.

use std::time::{Duration, Instant};

use ipfix_balancer_tests::exporter::Flows;

use crate::dice::Dice;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub kind: Content,
    /// When, counted from the begin of the run.
    pub at: Duration,
}

/// What is in a message. Each of its records has a serial number; they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Templates,
    /// One options record.
    Options,
    /// So many flow records.
    Flows(usize),
}

impl Content {
    /// Serial numbers that it takes.
    pub fn records(&self) -> usize {
        match self {
            Content::Templates => 0,
            Content::Options => 1,
            Content::Flows(count) => *count,
        }
    }
}

/// An exporter session: its observation domain is its name in all records.
#[derive(Clone, Debug)]
pub struct Session {
    pub receiver: usize,
    pub domain: u32,
    /// From when to when it was open, counted from the begin of the run.
    pub open: (Duration, Duration),
    pub sent: Vec<Sent>,
    /// Its exporter had a session before, which the balancer has ended.
    pub again: bool,
}

/// Makes the messages of one session, and notes them.
pub struct Author {
    pub session: Session,
    flows: Flows,
    begin: Instant,
}

/// A message in so many has templates, options.
const TEMPLATES_EVERY: usize = 60;
const OPTIONS_EVERY: usize = 45;
/// Flow records of a message.
const RECORDS: (u64, u64) = (1, 8);

impl Author {
    pub fn new(receiver: usize, domain: u32, begin: Instant) -> Self {
        let open = (begin.elapsed(), Duration::MAX);
        let session = Session { receiver, domain, open, sent: Vec::new(), again: false };
        Self { session, flows: Flows::new(domain), begin }
    }

    /// The session's next message, which is to be sent now: templates first.
    pub fn next(&mut self, dice: &mut Dice) -> anyhow::Result<Vec<u8>> {
        let number = self.session.sent.len();
        Ok(if number.is_multiple_of(TEMPLATES_EVERY) {
            self.templates()
        } else if number.is_multiple_of(OPTIONS_EVERY) {
            self.options()
        } else {
            self.data(usize::try_from(dice.number(RECORDS.0, RECORDS.1)?)?)
        })
    }

    pub fn templates(&mut self) -> Vec<u8> {
        self.note(Content::Templates);
        self.flows.templates()
    }

    pub fn data(&mut self, records: usize) -> Vec<u8> {
        self.note(Content::Flows(records));
        self.flows.data(records)
    }

    fn options(&mut self) -> Vec<u8> {
        self.note(Content::Options);
        self.flows.options_data(1)
    }

    /// The session is over.
    pub fn close(mut self) -> Session {
        self.session.open.1 = self.begin.elapsed();
        self.session
    }

    fn note(&mut self, kind: Content) {
        self.session.sent.push(Sent { kind, at: self.begin.elapsed() });
    }
}
