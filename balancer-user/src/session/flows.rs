//! Counting data records of one observation domain, for the rotation of dump files by their number.
//!
//! The sequence numbers have the count already: a message's records are the difference between the
//! next number and its own. They are believed once that has been seen to be so, and until the
//! difference is more than the message can have held; meanwhile records are cut and counted.

use common::{
    message::{Header, MIN_DATA_SET, Set, Sets},
    record::DataRecords,
};

use super::templates::Templates;

/// The count of one observation domain.
#[derive(Debug, Default)]
pub struct FlowCount {
    /// The sequence numbers have been seen to count records.
    trusted: bool,
    last: Option<Last>,
}

/// The last message.
#[derive(Debug)]
struct Last {
    sequence: u32,
    /// Bytes of its data sets: records that it can have held at most.
    most: u32,
    /// Records that it did hold, where they had to be counted and could be.
    counted: Option<u32>,
}

impl FlowCount {
    /// Data records of the last message, before the one numbered `sequence`. Asked once a message.
    pub fn before(&mut self, sequence: u32) -> u64 {
        let Some(last) = self.last.take() else { return 0 };
        let difference = sequence.wrapping_sub(last.sequence);
        let records = match last.counted {
            Some(counted) => {
                // A message without records proves nothing.
                self.trusted = difference == counted && counted > 0;
                counted
            }
            None if difference <= last.most && (difference == 0) == (last.most == 0) => difference,
            None => {
                // Loss, or numbers that count something else: what it held nobody knows any more.
                self.trusted = false;
                0
            }
        };
        u64::from(records)
    }

    /// Takes note of a message. `templates` are those after it.
    pub fn came(&mut self, header: &Header, message: &[u8], templates: &Templates) {
        let most: usize = data_sets(message).map(|set| set.body().len()).sum();
        self.last = Some(Last {
            sequence: header.sequence,
            most: u32::try_from(most).unwrap_or(u32::MAX),
            counted: if self.trusted { None } else { records(message, templates) },
        });
    }
}

/// Data records of a message, options data included; `None` where a template is not known.
pub fn records(message: &[u8], templates: &Templates) -> Option<u32> {
    let counts = data_sets(message).map(|set| {
        let template = templates.get(set.id)?;
        Some(DataRecords::of(set.body(), &template).take_while(Result::is_ok).count())
    });
    u32::try_from(counts.sum::<Option<usize>>()?).ok()
}

fn data_sets(message: &[u8]) -> impl Iterator<Item = Set<'_>> {
    Sets::of(message).map_while(Result::ok).filter(|set| set.id >= MIN_DATA_SET)
}

#[cfg(test)]
mod tests {
    use common::{
        message::{HEADER_LEN, VERSION},
        template::{Kind, TemplateRecord},
    };

    use super::*;

    /// A domain whose records have four bytes each.
    struct Session {
        templates: Templates,
        count: FlowCount,
        total: u64,
    }

    impl Session {
        fn new() -> Session {
            let mut templates = Templates::default();
            let record = TemplateRecord::read(Kind::Data, &[1, 0, 0, 1, 0, 8, 0, 4]).unwrap();
            templates.apply(&record);
            Session { templates, count: FlowCount::default(), total: 0 }
        }

        fn send(&mut self, sequence: u32, records: u8) {
            let set = [&[1, 0, 0, 4 + 4 * records][..], &[0; 4].repeat(records.into())].concat();
            let length = u16::try_from(HEADER_LEN + set.len()).unwrap();
            let header = Header { version: VERSION, length, export_time: 0, sequence, domain: 1 };
            self.total += self.count.before(sequence);
            let message = [&header.to_bytes()[..], &set].concat();
            self.count.came(&header, &message, &self.templates);
        }
    }

    #[test]
    fn numbers_that_count_records_are_believed() {
        let mut session = Session::new();
        for (sequence, records) in [(u32::MAX - 3, 5), (1, 7), (8, 1), (9, 2), (11, 0)] {
            session.send(sequence, records);
        }
        assert_eq!(session.total, 15);
        assert!(session.count.trusted);
        assert!(session.count.last.unwrap().counted.is_none());
    }

    #[test]
    fn absent_numbers_and_numbers_of_messages_are_not() {
        for step in [0, 1] {
            let mut session = Session::new();
            for number in 0..5 {
                session.send(number * step, 3);
            }
            assert_eq!(session.total, 12);
        }
    }

    #[test]
    fn numbers_alone_count_records_without_a_template() {
        let mut session = Session::new();
        session.templates = Templates::default();
        for sequence in [0, 3, 6, 9] {
            session.send(sequence, 3);
        }
        assert_eq!(session.total, 9);
    }

    #[test]
    fn loss_does_not_count_as_records() {
        let mut session = Session::new();
        for sequence in [0, 3, 6, 1_000_000, 1_000_003, 1_000_006] {
            session.send(sequence, 3);
        }
        // The message before the gap is the one that nobody counted.
        assert_eq!(session.total, 12);
    }
}
