//! Template records (RFC 7011 section 3.4), read in place.

use crate::message::{MIN_DATA_SET, Malformed, OPTIONS_TEMPLATE_SET, Set, TEMPLATE_SET};

/// Length in a field specifier that stands for "variable" (RFC 7011 section 7).
pub const VARIABLE: u16 = 0xffff;
const ENTERPRISE_BIT: u16 = 0x8000;

/// What a template describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Flow data, from a template set.
    Data,
    /// Options data, from an options template set.
    Options,
}

impl Kind {
    /// The kind that a set with this id defines, if it defines templates at all.
    pub fn of_set(id: u16) -> Option<Kind> {
        match id {
            TEMPLATE_SET => Some(Kind::Data),
            OPTIONS_TEMPLATE_SET => Some(Kind::Options),
            _ => None,
        }
    }

    /// Id of the set in which such templates are sent.
    pub fn set_id(self) -> u16 {
        match self {
            Kind::Data => TEMPLATE_SET,
            Kind::Options => OPTIONS_TEMPLATE_SET,
        }
    }
}

/// One (options) template record or withdrawal, as it stands in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRecord<'a> {
    /// Kind, after the set it stands in.
    pub kind: Kind,
    /// Template id. 256 or more, but in the withdrawal of all templates of a kind: the set id.
    pub id: u16,
    /// Number of fields, scope fields included; 0 makes the record a withdrawal (section 8.1).
    pub field_count: u16,
    /// How many of the fields are scope fields; 0 for flow data.
    pub scope_count: u16,
    /// The whole record, header included.
    pub bytes: &'a [u8],
    /// The field specifiers alone.
    pub specifiers: &'a [u8],
}

impl<'a> TemplateRecord<'a> {
    /// Whether the record withdraws its template, or all of its kind.
    pub fn is_withdrawal(&self) -> bool {
        self.field_count == 0
    }

    /// Whether the record withdraws every template of its kind.
    pub fn withdraws_all(&self) -> bool {
        self.is_withdrawal() && self.id == self.kind.set_id()
    }

    /// The fields, in order.
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.specifiers }
    }

    /// Reads the record that `bytes` start with.
    pub fn read(kind: Kind, bytes: &'a [u8]) -> Result<TemplateRecord<'a>, Malformed> {
        let (&[i0, i1, c0, c1], mut rest) = bytes.split_first_chunk().ok_or(Malformed::Template)?;
        let (id, field_count) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([c0, c1]));
        let withdraws_all = field_count == 0 && id == kind.set_id();
        if id < MIN_DATA_SET && !withdraws_all {
            return Err(Malformed::Template);
        }
        let mut scope_count = 0;
        if kind == Kind::Options && field_count > 0 {
            let (&scope, after) = rest.split_first_chunk().ok_or(Malformed::Template)?;
            (scope_count, rest) = (u16::from_be_bytes(scope), after);
        }
        if scope_count > field_count {
            return Err(Malformed::Template);
        }
        let header_len = bytes.len() - rest.len();
        let specifiers_len = specifiers_len(rest, field_count)?;
        Ok(TemplateRecord {
            kind,
            id,
            field_count,
            scope_count,
            bytes: bytes.get(..header_len + specifiers_len).ok_or(Malformed::Template)?,
            specifiers: rest.get(..specifiers_len).ok_or(Malformed::Template)?,
        })
    }
}

/// Bytes that `count` field specifiers take; each has 4, or 8 with an enterprise number.
fn specifiers_len(bytes: &[u8], count: u16) -> Result<usize, Malformed> {
    let mut fields = Fields { rest: bytes };
    for _ in 0..count {
        fields.next().ok_or(Malformed::Template)?;
    }
    Ok(bytes.len() - fields.rest.len())
}

/// One field specifier (RFC 7011 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Information element id, without the enterprise bit.
    pub element: u16,
    /// Bytes in a record, or [`VARIABLE`].
    pub length: u16,
    /// Enterprise number; 0 for an IANA element.
    pub enterprise: u32,
}

impl Field {
    /// Reads the field specifier that `bytes` start with; what follows it.
    pub fn read(bytes: &[u8]) -> Option<(Field, &[u8])> {
        let (&[e0, e1, l0, l1], mut rest) = bytes.split_first_chunk()?;
        let element = u16::from_be_bytes([e0, e1]);
        let mut enterprise = 0;
        if element & ENTERPRISE_BIT != 0 {
            let (&number, after) = rest.split_first_chunk()?;
            (enterprise, rest) = (u32::from_be_bytes(number), after);
        }
        let element = element & !ENTERPRISE_BIT;
        Some((Field { element, length: u16::from_be_bytes([l0, l1]), enterprise }, rest))
    }
}

/// The field specifiers of a template, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        let (field, rest) = Field::read(self.rest)?;
        self.rest = rest;
        Some(field)
    }
}

/// The records of a template set or options template set. After the first error the walk is over.
#[derive(Clone, Debug)]
pub struct TemplateRecords<'a> {
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> TemplateRecords<'a> {
    /// The template records of `set`; `None` where it is a data set.
    pub fn of(set: Set<'a>) -> Option<TemplateRecords<'a>> {
        Some(TemplateRecords { kind: Kind::of_set(set.id)?, rest: set.body() })
    }
}

impl<'a> Iterator for TemplateRecords<'a> {
    type Item = Result<TemplateRecord<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        // Fewer bytes than any record has, or a first id of zero, are padding (section 3.3.1; what
        // it holds is not checked, because exporters put anything there).
        if self.rest.len() < 4 || self.rest.first_chunk() == Some(&[0, 0]) {
            return None;
        }
        let record = TemplateRecord::read(self.kind, self.rest);
        self.rest = match record {
            Ok(record) => self.rest.get(record.bytes.len()..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn records(id: u16, body: &[u8]) -> Vec<Result<TemplateRecord<'_>, Malformed>> {
        let kind = Kind::of_set(id).unwrap();
        TemplateRecords { kind, rest: body }.collect()
    }

    #[test]
    fn a_template_with_an_enterprise_field_and_padding() {
        let body = [
            1, 0, 0, 2, 0, 8, 0, 4, 0x80, 1, 0xff, 0xff, 0, 0, 0xab, 0x33, // 256: two fields
            0, 0, 0, 0,
        ];
        let records = records(TEMPLATE_SET, &body);
        let [Ok(record)] = records[..] else { panic!("{records:?}") };
        assert_eq!((record.id, record.field_count, record.bytes.len()), (256, 2, 16));
        let fields: Vec<_> = record.fields().collect();
        assert_eq!(fields[0], Field { element: 8, length: 4, enterprise: 0 });
        assert_eq!(fields[1], Field { element: 1, length: VARIABLE, enterprise: 43827 });
    }

    #[test]
    fn an_options_template_says_how_many_fields_are_scope() {
        let body = [1, 2, 0, 2, 0, 1, 0, 149, 0, 4, 0, 41, 0, 8];
        let records = records(OPTIONS_TEMPLATE_SET, &body);
        let [Ok(record)] = records[..] else { panic!("{records:?}") };
        assert_eq!((record.id, record.scope_count, record.bytes), (258, 1, &body[..]));
    }

    #[test]
    fn withdrawals_of_one_and_of_all() {
        let one = records(TEMPLATE_SET, &[1, 0, 0, 0])[0].unwrap();
        assert!(one.is_withdrawal() && !one.withdraws_all());
        let all = records(TEMPLATE_SET, &[0, 2, 0, 0])[0].unwrap();
        assert!(all.withdraws_all());
        let all = records(OPTIONS_TEMPLATE_SET, &[0, 3, 0, 0])[0].unwrap();
        assert!(all.withdraws_all());
        assert_eq!(records(TEMPLATE_SET, &[0, 3, 0, 0]), [Err(Malformed::Template)]);
    }

    #[test]
    fn what_overruns_the_set_or_has_a_reserved_id_is_malformed() {
        for body in [
            &[1, 0, 0, 1][..],
            &[1, 0, 0, 1, 0, 8, 0],
            &[1, 0, 0, 1, 0x80, 8, 0, 4, 0, 0],
            &[0, 255, 0, 1, 0, 8, 0, 4],
        ] {
            assert_eq!(records(TEMPLATE_SET, body), [Err(Malformed::Template)], "{body:?}");
        }
        let more_scope_than_fields = [1, 0, 0, 1, 0, 2, 0, 8, 0, 4];
        assert_eq!(
            records(OPTIONS_TEMPLATE_SET, &more_scope_than_fields),
            [Err(Malformed::Template)]
        );
    }
}
