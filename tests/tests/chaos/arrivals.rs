//! What has arrived in one place: at a collector, or in dump files.

use std::collections::HashMap;

use anyhow::{Context, Result};
use ipfix_balancer_tests::decode::{self, Problem};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::wire;

/// The messages of one place, read by their exporters' own marks.
#[derive(Default)]
pub struct Arrivals {
    /// How often each record has come, by observation domain and serial number.
    records: HashMap<(u32, u32), usize>,
    /// By observation domain, records that the sequence numbers say are missing.
    pub gaps: HashMap<u32, u64>,
    /// The sequence number that each record came with, the last time.
    sequences: HashMap<(u32, u32), u32>,
    /// Sequence number due next in a domain.
    due: HashMap<u32, u32>,
    /// What a collector would complain of: the domain, and whether templates of it were still to come
    /// for the first time.
    pub undecodable: Vec<(u32, bool, Problem)>,
}

/// What one message brings, in the order of its sets.
struct Read {
    domain: u32,
    sequence: u32,
    serials: Vec<u32>,
    templates: bool,
}

impl Arrivals {
    /// Takes the messages of a transport session, or of a file.
    pub fn take(&mut self, messages: &[Vec<u8>]) -> Result<()> {
        let mut templates = HashMap::new();
        let mut numbered = HashMap::new();
        for (place, message) in messages.iter().enumerate() {
            let read = read(message).with_context(|| format!("unreadable: {message:x?}"))?;
            if read.templates {
                templates.entry(read.domain).or_insert(place);
            }
            self.follow(&read, &mut numbered);
            for serial in read.serials {
                *self.records.entry((read.domain, serial)).or_default() += 1;
                self.sequences.insert((read.domain, serial), read.sequence);
            }
        }
        for problem in decode::session(messages).problems {
            let (domain, before) = match &problem {
                Problem::Sequence { .. } => continue,
                Problem::Malformed { .. } => (0, false),
                Problem::UnknownTemplate { message, domain, .. } => {
                    (*domain, templates.get(domain).is_none_or(|first| message < first))
                }
            };
            self.undecodable.push((domain, before, problem));
        }
        Ok(())
    }

    /// Sequence numbers go on over the connections of an exporter's session; a destination that was
    /// configured anew begins at 0. A number below the one that is due belongs to a repetition.
    fn follow(&mut self, read: &Read, numbered: &mut HashMap<u32, ()>) {
        let begins = numbered.insert(read.domain, ()).is_none();
        let due = self.due.entry(read.domain).or_default();
        if begins && read.sequence == 0 {
            *due = 0;
        }
        let step = read.sequence.wrapping_sub(*due);
        if step < u32::MAX / 2 {
            *self.gaps.entry(read.domain).or_default() += u64::from(step);
            let records = u32::try_from(read.serials.len()).unwrap_or(u32::MAX);
            *due = read.sequence.wrapping_add(records);
        }
    }

    /// How often a record has come.
    pub fn count(&self, domain: u32, serial: u32) -> usize {
        self.records.get(&(domain, serial)).copied().unwrap_or(0)
    }

    /// The sequence number that it came with.
    pub fn sequence(&self, domain: u32, serial: u32) -> Option<u32> {
        self.sequences.get(&(domain, serial)).copied()
    }
}

/// Octets of a record of [`Flows::data`], and where the low half of its serial number is.
const FLOW: usize = 45;
const SERIAL: usize = 17;

fn read(message: &[u8]) -> Option<Read> {
    let (plain, options) = ids();
    let domain = wire::domain(message)?;
    let mut read =
        Read { domain, sequence: wire::sequence(message)?, serials: Vec::new(), templates: false };
    for (id, content) in wire::sets(message).ok()? {
        if id == wire::TEMPLATE_SET {
            read.templates = true;
        } else if id == plain {
            let records = content.chunks_exact(FLOW);
            read.serials.extend(records.filter_map(|record| wire::u32_at(record, SERIAL)));
        } else if id == options {
            let mut rest = content;
            while let (Some(serial), Some(length)) = (wire::u32_at(rest, 0), rest.get(4)) {
                read.serials.push(serial);
                rest = rest.get(5 + usize::from(*length)..)?;
            }
        }
    }
    Some(read)
}

/// Template ids of flow and options data.
fn ids() -> (u16, u16) {
    let flows = Flows::new(0);
    (flows.plain().id, flows.options().id)
}
