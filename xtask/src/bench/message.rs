//! The messages that the exporter sends: one template, and batches of data messages that are built
//! once and get new sequence numbers and times on each use.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result};
use nix::time::{ClockId, clock_gettime};

/// Bytes of a data record.
pub const RECORD_LEN: usize = 60;
/// Where the sequence number stands in a message.
pub const SEQUENCE_AT: usize = 8;
/// Where the time stamp stands in a data message: the first field of the first record.
pub const STAMP_AT: usize = OVERHEAD;
/// Its bytes; all 0 where there is none.
const STAMP_LEN: usize = 8;
/// Bytes before the first record: message header and set header.
pub const OVERHEAD: usize = HEADER + 4;
/// Bytes of the message header.
const HEADER: usize = 16;
/// Set id of a template set.
pub const TEMPLATE_SET: u16 = 2;

/// Information elements and their lengths; the first holds the time stamp.
const FIELDS: [(u16, u16); 11] = [
    (148, 8), // flowId
    (1, 8),   // octetDeltaCount
    (2, 8),   // packetDeltaCount
    (152, 8), // flowStartMilliseconds
    (153, 8), // flowEndMilliseconds
    (8, 4),   // sourceIPv4Address
    (12, 4),  // destinationIPv4Address
    (10, 4),  // ingressInterface
    (14, 4),  // egressInterface
    (7, 2),   // sourceTransportPort
    (11, 2),  // destinationTransportPort
];
/// Bytes that the interfaces' places take, where records have a name instead: its length and itself.
const NAME: [u8; 8] = [7, b'e', b't', b'h', b'0', b'/', b'0', b'0'];
/// The elements whose places a name takes, and the name's: interfaceName, of variable length.
const INTERFACES: [u16; 2] = [10, 14];
const INTERFACE_NAME: (u16, u16) = (82, u16::MAX);

/// The first template of all data.
pub const TEMPLATE_ID: u16 = 256;
/// Template records in a message of at most 1400 bytes.
const TEMPLATES_PER_MESSAGE: usize = 28;
/// The observation domain of all messages.
pub const DOMAIN: u32 = 1;

/// How long the messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All of so many bytes.
    Equal(u16),
    /// 200 to 1400 bytes, no two neighbours the same.
    Varied,
    /// The same, and every record has a field of variable length.
    Variable,
}

impl Sizes {
    /// What an exporter with much to say sends on Ethernet.
    pub const FULL: Self = Self::Equal(1400);

    /// Records in the message at a place of the batch, and padding after them.
    fn shape(self, index: usize) -> (usize, usize) {
        match self {
            Self::Equal(length) => {
                let room = usize::from(length).saturating_sub(OVERHEAD);
                (room / RECORD_LEN, room % RECORD_LEN)
            }
            // The step has no factor in common with 21: every size comes once in 21 messages.
            Self::Varied | Self::Variable => (3 + (index * 8) % 21, 0),
        }
    }

    fn fields(self) -> Vec<(u16, u16)> {
        if self != Self::Variable {
            return FIELDS.to_vec();
        }
        let kept = FIELDS.into_iter().filter(|(element, _)| !INTERFACES.contains(element));
        kept.chain([INTERFACE_NAME]).collect()
    }

    fn record(self) -> Vec<u8> {
        // Without a time stamp.
        let mut record = vec![0; STAMP_LEN];
        record.resize(RECORD_LEN, 0x11);
        if self == Self::Variable {
            record.truncate(RECORD_LEN - NAME.len());
            record.extend(NAME);
        }
        record
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(length) => length.fmt(f),
            Self::Varied => f.write_str("varied"),
            Self::Variable => f.write_str("variable"),
        }
    }
}

impl FromStr for Sizes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "varied" => Ok(Self::Varied),
            "variable" => Ok(Self::Variable),
            length => Ok(Self::Equal(length.parse().context("bytes, varied, or variable")?)),
        }
    }
}

/// A message with the template.
pub fn template(sizes: Sizes) -> Vec<u8> {
    templates(sizes, 1).concat()
}

/// Messages with so many templates, which differ in their ids alone.
pub fn templates(sizes: Sizes, count: u16) -> Vec<Vec<u8>> {
    let ids = (TEMPLATE_ID..).take(count.into());
    let records: Vec<_> = ids.map(|id| template_record(id, &sizes.fields())).collect();
    let messages = records.chunks(TEMPLATES_PER_MESSAGE);
    messages.map(|records| message(&[set(TEMPLATE_SET, &records.concat())])).collect()
}

fn template_record(id: u16, fields: &[(u16, u16)]) -> Vec<u8> {
    let mut record = Vec::new();
    record.extend(id.to_be_bytes());
    record.extend(short(fields.len()).to_be_bytes());
    for (element, length) in fields {
        record.extend(element.to_be_bytes());
        record.extend(length.to_be_bytes());
    }
    record
}

/// A data message of this many sets, with a record in each.
pub fn sets(count: usize) -> Vec<u8> {
    message(&vec![set(TEMPLATE_ID, &[0x11; RECORD_LEN]); count])
}

fn message(sets: &[Vec<u8>]) -> Vec<u8> {
    let body = sets.concat();
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(10_u16.to_be_bytes());
    bytes.extend(short(HEADER + body.len()).to_be_bytes());
    bytes.extend(1_700_000_000_u32.to_be_bytes());
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend(DOMAIN.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn set(id: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(OVERHEAD - HEADER + body.len());
    bytes.extend(id.to_be_bytes());
    bytes.extend(short(OVERHEAD - HEADER + body.len()).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Where a message ends in a batch, and how many records it has.
#[derive(Clone, Copy, Debug)]
struct Span {
    end: usize,
    records: u32,
}

/// Data messages, one after another.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    templates: u16,
    /// The template of the next message, counted from 0.
    template: u16,
}

impl Batch {
    /// `count` messages of one template.
    pub fn new(count: usize, sizes: Sizes) -> Self {
        let spans = Vec::with_capacity(count);
        let mut batch = Self { bytes: Vec::new(), spans, templates: 1, template: 0 };
        for index in 0..count {
            let (records, padding) = sizes.shape(index);
            let body = [sizes.record().repeat(records), vec![0; padding]].concat();
            let data = set(TEMPLATE_ID, &body);
            batch.bytes.extend(message(&[data]));
            let span = Span { end: batch.bytes.len(), records: u32::from(short(records)) };
            batch.spans.push(span);
        }
        batch
    }

    /// Has the messages use so many templates in turn, from one use of the batch to the next.
    pub fn with_templates(self, templates: u16) -> Self {
        Self { templates: templates.max(1), ..self }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// How many records each message has.
    pub fn records(&self) -> Vec<u32> {
        self.spans.iter().map(|span| span.records).collect()
    }

    /// Bytes of the first message.
    pub fn first_len(&self) -> usize {
        self.spans.first().map_or(0, |span| span.end)
    }

    /// Numbers and stamps the first `count` messages and gives them their templates; `sequence` moves
    /// on. Gives their bytes.
    pub fn prepare(&mut self, count: usize, sequence: &mut u32, stamp: u64) -> &mut [u8] {
        let mut start = 0;
        for span in self.spans.iter().take(count) {
            if let Some(message) = self.bytes.get_mut(start..span.end) {
                put(message, SEQUENCE_AT, &sequence.to_be_bytes());
                put(message, STAMP_AT, &stamp.to_be_bytes());
                put(message, HEADER, &TEMPLATE_ID.saturating_add(self.template).to_be_bytes());
            }
            self.template = (self.template + 1) % self.templates;
            *sequence = sequence.wrapping_add(span.records);
            start = span.end;
        }
        self.bytes.get_mut(..start).unwrap_or_default()
    }

    /// The first `count` messages, each by itself.
    pub fn messages(&mut self, count: usize) -> Vec<&mut [u8]> {
        let mut rest = self.bytes.as_mut_slice();
        let mut start = 0;
        let mut messages = Vec::with_capacity(count);
        for span in self.spans.iter().take(count) {
            let Some((message, after)) = rest.split_at_mut_checked(span.end - start) else { break };
            messages.push(message);
            rest = after;
            start = span.end;
        }
        messages
    }
}

fn put<const N: usize>(message: &mut [u8], at: usize, value: &[u8; N]) {
    if let Some(place) = message.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = *value;
    }
}

/// Nanoseconds of the clock that all processes share.
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use ipfix_balancer_tests::decode::session;
    use ipfix_balancer_tests::wire;

    use super::*;

    #[test]
    fn equal_messages_are_1400_bytes_and_number_their_records() {
        let mut batch = Batch::new(3, Sizes::FULL);
        let mut sequence = u32::MAX;
        let bytes = batch.prepare(2, &mut sequence, 7).to_vec();
        assert_eq!(bytes.len(), 2800);
        assert_eq!(sequence, 45);
        assert_eq!(bytes[1400 + SEQUENCE_AT..][..4], 22_u32.to_be_bytes());
        assert_eq!(bytes[1400 + STAMP_AT..][..8], 7_u64.to_be_bytes());
    }

    #[test]
    fn equal_messages_have_the_length_asked_for() {
        for length in [100, 500, 16_000] {
            assert_eq!(Batch::new(1, Sizes::Equal(length)).first_len(), usize::from(length));
        }
    }

    #[test]
    fn records_fill_their_templates() {
        for sizes in [Sizes::FULL, Sizes::Variable] {
            let mut batch = Batch::new(2, sizes);
            let records: u32 = batch.records().iter().sum();
            let mut messages = vec![template(sizes)];
            let bytes = batch.prepare(2, &mut 0, 0);
            messages.extend(wire::cut(bytes).0.into_iter().map(<[u8]>::to_vec));
            let decoded = session(messages);
            assert_eq!(decoded.problems, []);
            assert_eq!(decoded.records.len(), usize::try_from(records).unwrap());
        }
    }

    #[test]
    fn messages_use_their_templates_in_turn() {
        let messages = templates(Sizes::FULL, 57);
        assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), [1364, 1364, 68]);
        let mut batch = Batch::new(40, Sizes::FULL).with_templates(57);
        let mut sent = messages;
        let mut sequence = 0;
        for _ in 0..3 {
            let bytes = batch.prepare(40, &mut sequence, 0);
            sent.extend(wire::cut(bytes).0.into_iter().map(<[u8]>::to_vec));
        }
        let decoded = session(sent);
        assert_eq!(decoded.problems, []);
        assert_eq!(decoded.records.len(), 120 * 23);
        let last = batch.prepare(1, &mut sequence, 0);
        assert_eq!(last[HEADER..][..2], (TEMPLATE_ID + 120 % 57).to_be_bytes());
    }

    #[test]
    fn varied_neighbours_differ() {
        let mut batch = Batch::new(64, Sizes::Varied);
        let lengths: Vec<usize> = batch.messages(64).iter().map(|message| message.len()).collect();
        assert!(lengths.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(lengths.iter().min(), Some(&200));
        assert_eq!(lengths.iter().max(), Some(&1400));
    }
}
