//! Judges what a collector got in one transport session.
//!
//! Own code, written from RFC 7011 and sharing nothing with the balancer: neither of the Rust
//! decoders that were tried is right on the corpus. `netgauze-flow-pkt` 0.13 reads a
//! variable-length field of an enterprise it does not know as 65535 octets and gives up a whole
//! message at the first unknown template; `netflow_parser` 1.0.6 takes a variable-length value of
//! length 0 for an error and silently leaves out the rest of the set. Where the latter is right
//! it serves as second opinion, and `tshark` as third, in the tests of this module.
//!
//! Usage: [`session`] for messages at hand, [`Decoder`] for a stream of them; then look at
//! [`Decoded::problems`] and compare records with [`Tally`] or [`round_robin`].

mod compare;
mod template;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

pub use compare::{Difference, Tally, records_once, round_robin};
pub use template::Layout;

use crate::wire;

/// One data record in a form that can be compared: equal if, and only if, they say the same of
/// the same observation domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// Observation domain id.
    pub domain: u32,
    /// What the values are; options records differ from flow records by their scope.
    pub layout: Arc<Layout>,
    /// The record as it was on the wire.
    pub values: Vec<u8>,
}

impl Record {
    /// True for a record of an options template.
    pub fn is_options(&self) -> bool {
        self.layout.scope > 0
    }
}

/// Something that a collector would complain of. `message` counts from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A data set whose template this session has not brought (or has withdrawn).
    UnknownTemplate {
        /// Position in the session.
        message: usize,
        /// Observation domain id.
        domain: u32,
        /// The data set's id.
        set: u16,
    },
    /// The sequence number is not the previous one plus the records that it counted.
    Sequence {
        /// Position in the session.
        message: usize,
        /// Observation domain id.
        domain: u32,
        /// The number due.
        expected: u32,
        /// The number found.
        found: u32,
    },
    /// Lengths that do not add up.
    Malformed {
        /// Position in the session.
        message: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTemplate { message, domain, set } => {
                write!(f, "message {message}, domain {domain}: no template {set}")
            }
            Self::Sequence { message, domain, expected, found } => write!(
                f,
                "message {message}, domain {domain}: sequence number {found} instead of {expected}"
            ),
            Self::Malformed { message, what } => write!(f, "message {message}: {what}"),
        }
    }
}

/// Counts of one observation domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// Sequence number of its first message.
    pub first_sequence: u32,
    /// Sequence number due next; none after a data set whose records could not be counted.
    pub next_sequence: Option<u32>,
    /// Flow records.
    pub flows: usize,
    /// Options records.
    pub options: usize,
}

/// What a session brought.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Messages fed.
    pub messages: usize,
    /// Records in order.
    pub records: Vec<Record>,
    /// Template records.
    pub templates: usize,
    /// Options template records.
    pub options_templates: usize,
    /// Template withdrawals.
    pub withdrawals: usize,
    /// Everything a collector would complain of, in order.
    pub problems: Vec<Problem>,
    /// By observation domain.
    pub domains: BTreeMap<u32, Domain>,
}

impl Decoded {
    /// The flow records (no options records).
    pub fn flows(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| !record.is_options())
    }

    /// The options records.
    pub fn options(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.is_options())
    }

    /// Data sets whose template is unknown.
    pub fn unknown_templates(&self) -> usize {
        let unknown = |problem: &&Problem| matches!(problem, Problem::UnknownTemplate { .. });
        self.problems.iter().filter(unknown).count()
    }

    /// Places where the sequence number jumps.
    pub fn gaps(&self) -> usize {
        let gap = |problem: &&Problem| matches!(problem, Problem::Sequence { .. });
        self.problems.iter().filter(gap).count()
    }
}

/// Decodes the messages of one transport session.
pub fn session<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Decoded {
    let mut decoder = Decoder::default();
    for message in messages {
        decoder.feed(message.as_ref());
    }
    decoder.finish()
}

/// For each message of a session, whether it takes a turn in RoundRobin: whether there is
/// anything in it besides templates and options (a data set without a template counts as flows).
pub fn turns<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Vec<bool> {
    let mut decoder = Decoder::default();
    let mut seen = 0;
    let turn = |message: M| {
        decoder.feed(message.as_ref());
        let flows: usize = decoder.decoded.domains.values().map(|domain| domain.flows).sum();
        let now = flows + decoder.decoded.unknown_templates();
        std::mem::replace(&mut seen, now) < now
    };
    messages.into_iter().map(turn).collect()
}

/// Decodes a transport session message by message.
#[derive(Debug, Default)]
pub struct Decoder {
    templates: HashMap<(u32, u16), Arc<Layout>>,
    decoded: Decoded,
}

impl Decoder {
    /// Takes the session's next message.
    pub fn feed(&mut self, message: &[u8]) {
        let (Some(domain), Some(sequence)) = (wire::domain(message), wire::sequence(message))
        else {
            return self.malformed("no message header");
        };
        self.check_sequence(domain, sequence);
        match wire::sets(message) {
            Err(_) => self.malformed("the sets do not add up"),
            Ok(_) if wire::length(message) != Some(message.len()) => {
                self.malformed("the length is not the message's");
            }
            Ok(sets) => sets.into_iter().for_each(|(id, content)| self.set(domain, id, content)),
        }
        self.decoded.messages += 1;
    }

    /// What has been fed so far.
    pub fn finish(self) -> Decoded {
        self.decoded
    }

    fn check_sequence(&mut self, domain: u32, found: u32) {
        let first = Domain { first_sequence: found, ..Domain::default() };
        let state = self.decoded.domains.entry(domain).or_insert(first);
        if let Some(expected) = state.next_sequence.filter(|expected| *expected != found) {
            let message = self.decoded.messages;
            let problem = Problem::Sequence { message, domain, expected, found };
            self.decoded.problems.push(problem);
        }
        state.next_sequence = Some(found);
    }

    fn set(&mut self, domain: u32, id: u16, content: &[u8]) {
        match id {
            wire::TEMPLATE_SET | wire::OPTIONS_TEMPLATE_SET => {
                self.template_set(domain, id, content);
            }
            4..=255 | 0 | 1 => self.malformed("a reserved set id"),
            _ => self.data_set(domain, id, content),
        }
    }

    fn template_set(&mut self, domain: u32, set: u16, content: &[u8]) {
        let options = set == wire::OPTIONS_TEMPLATE_SET;
        let mut rest = content;
        // Less than the shortest record is padding.
        while rest.len() >= 4 {
            let Some((id, layout, after)) = template::parse(rest, options) else {
                return self.malformed("a template overruns its set");
            };
            rest = after;
            match layout {
                Some(layout) if options => {
                    self.define(domain, id, layout, |d| &mut d.options_templates)
                }
                Some(layout) => self.define(domain, id, layout, |d| &mut d.templates),
                None => self.withdraw(domain, set, id),
            }
        }
    }

    fn define(
        &mut self,
        domain: u32,
        id: u16,
        layout: Layout,
        counter: fn(&mut Decoded) -> &mut usize,
    ) {
        self.templates.insert((domain, id), Arc::new(layout));
        *counter(&mut self.decoded) += 1;
    }

    /// A template id below 256 is the set id: all templates of that kind (RFC 7011 section 8.1).
    fn withdraw(&mut self, domain: u32, set: u16, id: u16) {
        let options = set == wire::OPTIONS_TEMPLATE_SET;
        self.decoded.withdrawals += 1;
        self.templates.retain(|(of, known), layout| {
            let same_kind = (layout.scope > 0) == options;
            *of != domain || !(*known == id || (id == set && same_kind))
        });
    }

    fn data_set(&mut self, domain: u32, id: u16, content: &[u8]) {
        let Some(layout) = self.templates.get(&(domain, id)).map(Arc::clone) else {
            let message = self.decoded.messages;
            self.decoded.problems.push(Problem::UnknownTemplate { message, domain, set: id });
            return self.uncounted(domain);
        };
        let Some(records) = layout.records(content) else {
            self.uncounted(domain);
            return self.malformed("a record overruns its set");
        };
        self.count(domain, layout.scope > 0, records.len());
        let record =
            |values: &[u8]| Record { domain, layout: Arc::clone(&layout), values: values.to_vec() };
        self.decoded.records.extend(records.into_iter().map(record));
    }

    fn count(&mut self, domain: u32, options: bool, records: usize) {
        let state = self.decoded.domains.entry(domain).or_default();
        let step = u32::try_from(records).unwrap_or(u32::MAX);
        state.next_sequence = state.next_sequence.map(|next| next.wrapping_add(step));
        *if options { &mut state.options } else { &mut state.flows } += records;
    }

    /// From here to the next message nobody can say how many records there were.
    fn uncounted(&mut self, domain: u32) {
        self.decoded.domains.entry(domain).or_default().next_sequence = None;
    }

    fn malformed(&mut self, what: &'static str) {
        let message = self.decoded.messages;
        self.decoded.problems.push(Problem::Malformed { message, what });
    }
}
