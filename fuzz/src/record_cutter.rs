//! Cutting data records by a template: the records are the set's bytes, each once and in order, and
//! what is left after them is shorter than any record, or an error was reported.
//! Input: kind of template, its field count in one byte, the template's rest, then the set's body.

use common::record::DataRecords;
use common::template::{Kind, TemplateRecord, VARIABLE};

/// Runs one input.
pub fn run(input: &[u8]) {
    let Some((&[choice, fields], rest)) = input.split_first_chunk() else { return };
    let kind = if choice & 1 == 0 { Kind::Data } else { Kind::Options };
    let header = [1, 0, 0, fields % 64];
    let template = [&header, rest].concat();
    let Ok(template) = TemplateRecord::read(kind, &template) else { return };
    if !template.is_withdrawal() {
        cut(&template, &rest[template.bytes.len() - header.len()..]);
    }
}

fn cut(template: &TemplateRecord<'_>, body: &[u8]) {
    let shortest: usize = template
        .fields()
        .map(|field| if field.length == VARIABLE { 1 } else { usize::from(field.length) })
        .sum();
    let (mut at, mut whole) = (0, true);
    for record in DataRecords::of(body, template) {
        assert!(whole, "a record after an error");
        let Ok(record) = record else {
            whole = false;
            continue;
        };
        assert!(record.bytes.len() >= shortest && !record.bytes.is_empty());
        assert!(record.bytes.starts_with(record.scope));
        assert_eq!(record.bytes, &body[at..at + record.bytes.len()]);
        at += record.bytes.len();
    }
    let left = body.len() - at;
    assert!(!whole || left == 0 || left < shortest, "records were left over");
}
