//! The template parser: records follow one another without a gap, and each one's fields are the
//! bytes of its specifiers. The first input byte chooses the kind of set.

use common::message::{MIN_DATA_SET, OPTIONS_TEMPLATE_SET, SET_HEADER_LEN, Set, TEMPLATE_SET};
use common::template::{TemplateRecord, TemplateRecords};

/// Runs one input.
pub fn run(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let id = if choice & 1 == 0 { TEMPLATE_SET } else { OPTIONS_TEMPLATE_SET };
    let bytes = [&[0; SET_HEADER_LEN], body].concat();
    let records = TemplateRecords::of(Set { id, bytes: &bytes }).expect("a template set");
    let mut at = 0;
    for record in records {
        let Ok(record) = record else { break };
        assert_eq!(record.bytes, &body[at..at + record.bytes.len()]);
        at += record.bytes.len();
        check(&record);
    }
}

fn check(record: &TemplateRecord<'_>) {
    assert!(record.bytes.ends_with(record.specifiers));
    assert!(record.scope_count <= record.field_count);
    assert!(record.id >= MIN_DATA_SET || record.withdraws_all());
    assert_eq!(record.fields().count(), usize::from(record.field_count));
    let again = TemplateRecord::read(record.kind, record.bytes);
    assert_eq!(again.as_ref(), Ok(record), "a record reads back from its own bytes");
    assert_eq!(specifiers(record), record.specifiers);
}

/// The wire form of the record's fields.
fn specifiers(record: &TemplateRecord<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = record.specifiers;
    for field in record.fields() {
        // Enterprise number 0 behind the enterprise bit is legal to read: the bit is in the bytes.
        let enterprise = rest[0] & 0x80 != 0;
        let element = field.element | if enterprise { 0x8000 } else { 0 };
        bytes.extend(element.to_be_bytes());
        bytes.extend(field.length.to_be_bytes());
        if enterprise {
            bytes.extend(field.enterprise.to_be_bytes());
        }
        rest = &record.specifiers[bytes.len()..];
    }
    bytes
}
