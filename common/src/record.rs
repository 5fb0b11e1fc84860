//! Data records, cut by their template's field lengths. Needed only where a message is split or
//! options records are kept: forwarding parses no record.

use crate::template::{Fields, TemplateRecord, VARIABLE};

/// First byte of a variable length that is followed by two more (RFC 7011 section 7).
const LONG_LENGTH: u8 = 255;

/// One data record: its bytes, and how many of them are scope fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRecord<'a> {
    /// The whole record.
    pub bytes: &'a [u8],
    /// Its scope fields, which come first; empty for flow data.
    pub scope: &'a [u8],
}

/// What ends a walk over data records too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// A variable-length field goes beyond the set.
    Overrun,
    /// The template describes records of no bytes: they cannot be counted.
    Empty,
}

/// The data records of a set's body. What is left and shorter than any record is padding.
#[derive(Clone, Debug)]
pub struct DataRecords<'a> {
    fields: Fields<'a>,
    scope_count: u16,
    shortest: usize,
    rest: &'a [u8],
}

impl<'a> DataRecords<'a> {
    /// Cuts `body` by `template`.
    pub fn of(body: &'a [u8], template: &TemplateRecord<'a>) -> DataRecords<'a> {
        DataRecords {
            fields: template.fields(),
            scope_count: template.scope_count,
            shortest: shortest_record(template.fields()),
            rest: body,
        }
    }

    fn cut(&self) -> Result<DataRecord<'a>, BadRecord> {
        let (mut rest, mut scope_len) = (self.rest, 0);
        for (index, field) in self.fields.clone().enumerate() {
            (_, rest) = split_value(field.length, rest).ok_or(BadRecord::Overrun)?;
            if index < usize::from(self.scope_count) {
                scope_len = self.rest.len() - rest.len();
            }
        }
        let len = self.rest.len() - rest.len();
        let bytes = self.rest.get(..len).ok_or(BadRecord::Overrun)?;
        Ok(DataRecord { bytes, scope: bytes.get(..scope_len).unwrap_or_default() })
    }
}

impl<'a> Iterator for DataRecords<'a> {
    type Item = Result<DataRecord<'a>, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if self.shortest == 0 {
            self.rest = &[];
            return Some(Err(BadRecord::Empty));
        }
        if self.rest.len() < self.shortest {
            return None;
        }
        let record = self.cut();
        self.rest = match record {
            Ok(record) => self.rest.get(record.bytes.len()..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(record)
    }
}

fn shortest_record(fields: Fields<'_>) -> usize {
    fields.map(|field| if field.length == VARIABLE { 1 } else { usize::from(field.length) }).sum()
}

/// The value that `bytes` start with, without its length prefix, and what follows; `length` is
/// that of the template. `None` where the value goes beyond.
pub fn split_value(length: u16, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match (length, bytes) {
        (VARIABLE, [LONG_LENGTH, high, low, rest @ ..]) => {
            rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))
        }
        (VARIABLE, [LONG_LENGTH, ..] | []) => None,
        (VARIABLE, [short, rest @ ..]) => rest.split_at_checked(usize::from(*short)),
        (fixed, bytes) => bytes.split_at_checked(usize::from(fixed)),
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::template::Kind;

    fn cut(template: &[u8], kind: Kind, body: &[u8]) -> Vec<Result<Vec<u8>, BadRecord>> {
        let template = TemplateRecord::read(kind, template).unwrap();
        DataRecords::of(body, &template).map(|r| r.map(|r| r.bytes.to_vec())).collect()
    }

    const FIXED: [u8; 12] = [1, 0, 0, 2, 0, 1, 0, 2, 0, 2, 0, 1];
    const MIXED: [u8; 12] = [1, 0, 0, 2, 0, 1, 0, 1, 0, 82, 0xff, 0xff];

    #[test]
    fn fixed_records_and_padding() {
        let records = cut(&FIXED, Kind::Data, &[1, 2, 3, 4, 5, 6, 0, 0]);
        assert_eq!(records, [Ok(vec![1, 2, 3]), Ok(vec![4, 5, 6])]);
    }

    #[test]
    fn variable_lengths_short_long_and_empty() {
        let records = cut(&MIXED, Kind::Data, &[9, 2, 7, 7, 8, 255, 0, 1, 5, 6, 0]);
        assert_eq!(records, [Ok(vec![9, 2, 7, 7]), Ok(vec![8, 255, 0, 1, 5]), Ok(vec![6, 0])]);
    }

    #[test]
    fn a_field_beyond_the_set_is_an_error() {
        assert_eq!(cut(&MIXED, Kind::Data, &[9, 3, 7, 7]), [Err(BadRecord::Overrun)]);
        assert_eq!(cut(&MIXED, Kind::Data, &[9, 255, 0]), [Err(BadRecord::Overrun)]);
    }

    #[test]
    fn fields_of_no_length_cannot_be_counted() {
        let empty = [1, 0, 0, 1, 0, 1, 0, 0];
        assert_eq!(cut(&empty, Kind::Data, &[1, 2]), [Err(BadRecord::Empty)]);
    }

    #[test]
    fn values_are_split_off_without_their_prefix() {
        let bytes = [1, 2, 2, 8, 9, 255, 0, 1, 7];
        let (value, rest) = split_value(2, &bytes).unwrap();
        assert_eq!(value, [1, 2]);
        let (value, rest) = split_value(VARIABLE, rest).unwrap();
        assert_eq!(value, [8, 9]);
        assert_eq!(split_value(VARIABLE, rest), Some((&[7][..], &[][..])));
        assert_eq!(split_value(VARIABLE, &[]), None);
        assert_eq!(split_value(1, &[]), None);
    }

    #[test]
    fn scope_fields_come_first() {
        let template = [1, 0, 0, 2, 0, 1, 0, 149, 0, 2, 0, 41, 0, 1];
        let template = TemplateRecord::read(Kind::Options, &template).unwrap();
        let records: Vec<_> = DataRecords::of(&[1, 2, 3], &template).collect();
        assert_eq!(records, [Ok(DataRecord { bytes: &[1, 2, 3], scope: &[1, 2] })]);
    }
}
