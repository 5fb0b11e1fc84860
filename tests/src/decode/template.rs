//! Templates as a collector sees them.

use crate::wire::{self, VARIABLE};

/// The fields of a template: what its records consist of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout {
    /// Scope fields; 0 for a data template.
    pub scope: u16,
    /// (enterprise number or 0, element id, length) of each field.
    pub fields: Vec<(u32, u16, u16)>,
}

impl Layout {
    /// Cuts the content of a data set into records; what is shorter than the shortest record is
    /// padding. `None` if a record overruns the set, or can't have any length.
    pub fn records<'a>(&self, content: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let shortest = self.shortest();
        let mut records = Vec::new();
        let mut rest = content;
        while rest.len() >= shortest && !rest.is_empty() {
            let (record, after) = rest.split_at_checked(self.record_length(rest)?)?;
            if record.is_empty() {
                return None;
            }
            records.push(record);
            rest = after;
        }
        Some(records)
    }

    fn shortest(&self) -> usize {
        let least = |length: u16| if length == VARIABLE { 1 } else { usize::from(length) };
        self.fields.iter().map(|(_, _, length)| least(*length)).sum()
    }

    fn record_length(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        for (_, _, length) in &self.fields {
            at += match *length {
                VARIABLE => variable_length(bytes, at)?,
                fixed => usize::from(fixed),
            };
        }
        Some(at)
    }
}

/// Octets of a variable-length value, its length prefix included.
fn variable_length(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        u8::MAX => Some(3 + usize::from(wire::u16_at(bytes, at + 1)?)),
        short => Some(1 + usize::from(short)),
    }
}

/// Reads one (options) template record: its id, its layout (none: a withdrawal), and what follows.
pub(super) fn parse(bytes: &[u8], options: bool) -> Option<(u16, Option<Layout>, &[u8])> {
    let id = wire::u16_at(bytes, 0)?;
    let count = wire::u16_at(bytes, 2)?;
    if count == 0 {
        return Some((id, None, bytes.get(4..)?));
    }
    let (scope, mut at) = if options { (wire::u16_at(bytes, 4)?, 6) } else { (0, 4) };
    let mut fields = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (element, length) = (wire::u16_at(bytes, at)?, wire::u16_at(bytes, at + 2)?);
        at += 4;
        let enterprise = if element & 0x8000 == 0 {
            0
        } else {
            at += 4;
            wire::u32_at(bytes, at - 4)?
        };
        fields.push((enterprise, element & 0x7fff, length));
    }
    Some((id, Some(Layout { scope, fields }), bytes.get(at..)?))
}
