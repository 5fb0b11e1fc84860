//! A session's worth of messages whose records are all different.

use super::{Field, Message, Template, template};
use crate::wire::VARIABLE;

/// Makes the messages of one observation domain, with right sequence numbers.
///
/// Three templates: IPv4 flows of IANA elements only (every collector can count them), flows with
/// an enterprise's variable-length string, and options (interface names, scope: interface).
#[derive(Clone, Debug)]
pub struct Flows {
    domain: u32,
    sequence: u32,
    next: u32,
    plain: Template,
    named: Template,
    options: Template,
}

impl Flows {
    /// Enterprise number of the string field.
    pub const ENTERPRISE: u32 = 43_823;

    /// A domain's messages from sequence number 0 on, with template ids from 256.
    pub fn new(domain: u32) -> Self {
        Self::with_ids(domain, 256)
    }

    /// The same with template ids from `first_id`.
    pub fn with_ids(domain: u32, first_id: u16) -> Self {
        Self {
            domain,
            sequence: 0,
            next: 0,
            plain: plain_template(first_id),
            named: named_template(first_id.wrapping_add(1)),
            options: options_template(first_id.wrapping_add(2)),
        }
    }

    /// Starts at another sequence number than 0.
    pub fn starting_at(mut self, sequence: u32) -> Self {
        self.sequence = sequence;
        self
    }

    /// The template of [`Flows::data`].
    pub fn plain(&self) -> &Template {
        &self.plain
    }

    /// The template of [`Flows::named_data`].
    pub fn named(&self) -> &Template {
        &self.named
    }

    /// The template of [`Flows::options_data`].
    pub fn options(&self) -> &Template {
        &self.options
    }

    /// Sequence number of the next message.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// The observation domain.
    pub fn domain(&self) -> u32 {
        self.domain
    }

    /// An empty message with the right sequence number, to compose others; count what it holds
    /// with [`Flows::count`].
    pub fn message(&self) -> Message {
        Message::new(self.domain, self.sequence)
    }

    /// Counts the records of a message that the caller composed.
    pub fn count(&mut self, records: usize) {
        self.sequence = self.sequence.wrapping_add(u32::try_from(records).unwrap_or(0));
    }

    /// All three templates in one message.
    pub fn templates(&self) -> Vec<u8> {
        self.message().templates(&[&self.plain, &self.named]).template(&self.options).build()
    }

    /// `count` plain flows in one message.
    pub fn data(&mut self, count: usize) -> Vec<u8> {
        let records = self.plain_records(count);
        let message = self.message().data(&self.plain, &records).build();
        self.count(count);
        message
    }

    /// `count` flows with a string of `length` octets each.
    pub fn named_data(&mut self, count: usize, length: usize) -> Vec<u8> {
        let records = self.named_records(count, length);
        let message = self.message().data(&self.named, &records).build();
        self.count(count);
        message
    }

    /// `count` options records in one message.
    pub fn options_data(&mut self, count: usize) -> Vec<u8> {
        let records = self.options_records(count);
        let message = self.message().data(&self.options, &records).build();
        self.count(count);
        message
    }

    /// One message that mixes a template set, options data and `count` plain flows, in this order.
    pub fn mixed(&mut self, count: usize) -> Vec<u8> {
        let options = self.options_records(1);
        let flows = self.plain_records(count);
        let message = self
            .message()
            .template(&self.plain)
            .data(&self.options, &options)
            .data(&self.plain, &flows)
            .build();
        self.count(count + 1);
        message
    }

    /// The templates, then `messages` messages of `records` plain flows each.
    pub fn session(&mut self, messages: usize, records: usize) -> Vec<Vec<u8>> {
        let mut all = vec![self.templates()];
        all.extend((0..messages).map(|_| self.data(records)));
        all
    }

    /// Encoded plain flows, for messages that the caller composes.
    pub fn plain_records(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| plain_record(self.domain, self.serial())).collect()
    }

    /// Encoded flows with a string, likewise.
    pub fn named_records(&mut self, count: usize, length: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| named_record(self.serial(), length)).collect()
    }

    /// Encoded options records, likewise.
    pub fn options_records(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| options_record(self.serial())).collect()
    }

    fn serial(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }
}

fn plain_template(id: u16) -> Template {
    Template::data(
        id,
        [
            Field::iana(8, 4),   // sourceIPv4Address
            Field::iana(12, 4),  // destinationIPv4Address
            Field::iana(7, 2),   // sourceTransportPort
            Field::iana(11, 2),  // destinationTransportPort
            Field::iana(4, 1),   // protocolIdentifier
            Field::iana(1, 8),   // octetDeltaCount
            Field::iana(2, 8),   // packetDeltaCount
            Field::iana(152, 8), // flowStartMilliseconds
            Field::iana(153, 8), // flowEndMilliseconds
        ],
    )
}

fn named_template(id: u16) -> Template {
    Template::data(
        id,
        [
            Field::iana(8, 4),
            Field::iana(1, 8),
            Field::enterprise(Flows::ENTERPRISE, 100, VARIABLE),
            Field::iana(2, 8),
        ],
    )
}

fn options_template(id: u16) -> Template {
    // ingressInterface (scope), interfaceName
    Template::options(id, 1, [Field::iana(10, 4), Field::iana(82, VARIABLE)])
}

/// The serial number is source address, and octet count; the domain is in the destination.
fn plain_record(domain: u32, serial: u32) -> Vec<u8> {
    let started = 1_700_000_000_000_u64 + u64::from(serial);
    let mut record = (0x0a00_0000 | (serial & 0x00ff_ffff)).to_be_bytes().to_vec();
    record.extend((0xac10_0000 | (domain & 0xffff)).to_be_bytes());
    record.extend([0x9c, 0x40, 0x01, 0xbb, 6]);
    record.extend(u64::from(serial).to_be_bytes());
    record.extend(1_u64.to_be_bytes());
    record.extend(started.to_be_bytes());
    record.extend((started + 5).to_be_bytes());
    record
}

fn named_record(serial: u32, length: usize) -> Vec<u8> {
    let name: Vec<u8> = format!("host-{serial}.example/").bytes().cycle().take(length).collect();
    let mut record = (0x0b00_0000 | (serial & 0x00ff_ffff)).to_be_bytes().to_vec();
    record.extend(u64::from(serial).to_be_bytes());
    template::variable(&name, &mut record);
    record.extend(1_u64.to_be_bytes());
    record
}

fn options_record(serial: u32) -> Vec<u8> {
    let mut record = serial.to_be_bytes().to_vec();
    template::variable(format!("eth{serial}").as_bytes(), &mut record);
    record
}
