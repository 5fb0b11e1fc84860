//! Cutting a message that is too large for a datagram, on record boundaries.

use bytes::Bytes;
use common::{
    message::{Header, Sets},
    record::DataRecords,
    template::{Kind, TemplateRecords},
};

use super::{compose::Composer, templates::Templates};

/// The pieces of `message`, each of at most `limit` bytes and numbered from `number` on. `None`
/// where it can't be done: a data set without a known template, a record longer than the limit.
pub fn split(
    message: &[u8],
    number: u32,
    templates: &Templates,
    limit: usize,
) -> Option<Vec<Bytes>> {
    let header = Header::read(message)?;
    let mut composer = Composer::new(&header, number, limit);
    for set in Sets::of(message) {
        let set = set.ok()?;
        if let Some(records) = TemplateRecords::of(set) {
            for record in records {
                composer.template(set.id, record.ok()?.bytes);
            }
        } else {
            let template = templates.get(set.id)?;
            for record in DataRecords::of(set.body(), &template) {
                composer.data(set.id, record.ok()?.bytes);
            }
        }
    }
    let pieces = composer.finish();
    let fit = pieces.iter().all(|piece| piece.len() <= limit);
    (fit && !pieces.is_empty()).then_some(pieces)
}

/// The templates and options data of `message` alone, numbered `number`: what the destinations
/// whose turn it is not get of a mixed message. Set order is kept.
pub fn templates_and_options(
    message: &[u8],
    number: u32,
    is_options: impl Fn(u16) -> bool,
) -> Option<Bytes> {
    let header = Header::read(message)?;
    let mut composer = Composer::new(&header, number, message.len());
    for set in Sets::of(message).map_while(Result::ok) {
        if Kind::of_set(set.id).is_some() || is_options(set.id) {
            composer.set(set.bytes, 0);
        }
    }
    composer.finish().pop()
}

#[cfg(test)]
mod tests {
    use common::{message::HEADER_LEN, template::TemplateRecord};

    use super::*;

    fn message(sets: &[&[u8]]) -> Vec<u8> {
        let body = sets.concat();
        let header = Header {
            version: 10,
            length: u16::try_from(HEADER_LEN + body.len()).unwrap(),
            export_time: 1,
            sequence: 50,
            domain: 2,
        };
        [&header.to_bytes()[..], &body].concat()
    }

    fn four_byte_records() -> Templates {
        let mut templates = Templates::default();
        let bytes = [1, 0, 0, 1, 0, 8, 0, 4];
        templates.apply(&TemplateRecord::read(Kind::Data, &bytes).unwrap());
        templates
    }

    #[test]
    fn pieces_hold_every_record_once_and_their_numbers_go_on() {
        let data = [1, 0, 0, 20, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4];
        let pieces = split(&message(&[&data]), 50, &four_byte_records(), 30).unwrap();
        let numbers: Vec<_> = pieces.iter().map(|p| Header::read(p).unwrap().sequence).collect();
        assert_eq!(numbers, [50, 52]);
        let records: Vec<u8> = pieces.iter().flat_map(|p| p[HEADER_LEN + 4..].to_vec()).collect();
        assert_eq!(records, data[4..]);
    }

    #[test]
    fn what_has_no_known_template_or_too_long_a_record_is_not_split() {
        let unknown = [2, 0, 0, 8, 1, 1, 1, 1];
        assert_eq!(split(&message(&[&unknown]), 0, &four_byte_records(), 30), None);
        let data = [1, 0, 0, 8, 1, 1, 1, 1];
        assert_eq!(split(&message(&[&data]), 0, &four_byte_records(), 20), None);
    }

    #[test]
    fn templates_and_options_alone_in_their_order() {
        let template = [0, 2, 0, 12, 1, 0, 0, 1, 0, 8, 0, 4];
        let data = [1, 0, 0, 8, 1, 1, 1, 1];
        let options = [1, 1, 0, 5, 9];
        let bytes = message(&[&options, &data, &template]);
        let copy = templates_and_options(&bytes, 77, |id| id == 257).unwrap();
        assert_eq!(Header::read(&copy).unwrap().sequence, 77);
        assert_eq!(&copy[HEADER_LEN..], [&options[..], &template].concat());
    }
}
