//! Templates and the records they describe.

use anyhow::{Result, bail};

use crate::wire::VARIABLE;

/// One field of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Information element id, without the enterprise bit.
    pub id: u16,
    /// Octets, or [`VARIABLE`].
    pub length: u16,
    /// Private enterprise number, none for IANA's elements.
    pub enterprise: Option<u32>,
}

impl Field {
    /// An IANA element.
    pub const fn iana(id: u16, length: u16) -> Self {
        Self { id, length, enterprise: None }
    }

    /// An element of an enterprise.
    pub const fn enterprise(enterprise: u32, id: u16, length: u16) -> Self {
        Self { id, length, enterprise: Some(enterprise) }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let bit = if self.enterprise.is_some() { 0x8000 } else { 0 };
        out.extend((self.id | bit).to_be_bytes());
        out.extend(self.length.to_be_bytes());
        if let Some(number) = self.enterprise {
            out.extend(number.to_be_bytes());
        }
    }
}

/// A template or, with scope fields, an options template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Template id, 256 and above.
    pub id: u16,
    /// How many of the fields, from the first, are scope fields; 0 for a data template.
    pub scope: u16,
    /// The fields, scope fields first.
    pub fields: Vec<Field>,
}

impl Template {
    /// A template for flow data.
    pub fn data(id: u16, fields: impl Into<Vec<Field>>) -> Self {
        Self { id, scope: 0, fields: fields.into() }
    }

    /// An options template whose first `scope` fields are the scope.
    pub fn options(id: u16, scope: u16, fields: impl Into<Vec<Field>>) -> Self {
        Self { id, scope, fields: fields.into() }
    }

    /// True for an options template.
    pub fn is_options(&self) -> bool {
        self.scope > 0
    }

    /// The template record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        let count = u16::try_from(self.fields.len()).unwrap_or(u16::MAX);
        out.extend(count.to_be_bytes());
        if self.is_options() {
            out.extend(self.scope.to_be_bytes());
        }
        for field in &self.fields {
            field.encode(&mut out);
        }
        out
    }

    /// A data record: one value a field, each of the field's length.
    pub fn record(&self, values: &[&[u8]]) -> Result<Vec<u8>> {
        if values.len() != self.fields.len() {
            bail!("{} values for {} fields", values.len(), self.fields.len());
        }
        let mut out = Vec::new();
        for (field, value) in self.fields.iter().zip(values) {
            match field.length {
                VARIABLE => variable(value, &mut out),
                length if usize::from(length) == value.len() => out.extend_from_slice(value),
                length => bail!("{} octets for field {} of {length}", value.len(), field.id),
            }
        }
        Ok(out)
    }
}

/// Writes a variable-length value: its length in one octet, or in 255 and two more, then itself
/// (RFC 7011 section 7). Nothing longer than 65535 octets fits, and it is cut there.
pub(super) fn variable(value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    match u8::try_from(length) {
        Ok(short) if short < u8::MAX => out.push(short),
        _ => {
            out.push(u8::MAX);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(value.iter().take(usize::from(length)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_record_as_in_the_rfc() {
        let template =
            Template::data(256, [Field::iana(8, 4), Field::enterprise(43_823, 1, 65535)]);
        let expected = [1, 0, 0, 2, 0, 8, 0, 4, 0x80, 1, 0xff, 0xff, 0, 0, 0xab, 0x2f];
        assert_eq!(template.encode(), expected);
    }

    #[test]
    fn an_options_template_has_its_scope_count() {
        let template = Template::options(257, 1, [Field::iana(149, 4), Field::iana(41, 8)]);
        assert_eq!(template.encode()[..6], [1, 1, 0, 2, 0, 1]);
    }

    #[test]
    fn records_take_short_and_long_values() {
        let template = Template::data(256, [Field::iana(96, VARIABLE)]);
        assert_eq!(template.record(&[b"ab"]).unwrap(), [2, b'a', b'b']);
        assert_eq!(template.record(&[&[7; 255]]).unwrap()[..4], [255, 0, 255, 7]);
        assert!(template.record(&[]).is_err());
        let fixed = Template::data(256, [Field::iana(8, 4)]);
        assert!(fixed.record(&[&[1, 2, 3]]).is_err());
    }
}
