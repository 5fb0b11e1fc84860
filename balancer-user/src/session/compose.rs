//! Messages that the balancer composes itself: template refreshes, copies of the templates and
//! options of a mixed message, the pieces of a split one.

use bytes::Bytes;
use common::message::{HEADER_LEN, Header, MAX_LEN, SET_HEADER_LEN, VERSION};

/// Collects records into sets and sets into messages of bounded length.
#[derive(Debug)]
pub struct Composer {
    export_time: u32,
    domain: u32,
    limit: usize,
    number: u32,
    records: u32,
    message: Vec<u8>,
    open_set: Option<(u16, usize)>,
    done: Vec<Bytes>,
}

impl Composer {
    /// Messages with the export time and domain of `like`, numbered from `number`, each of at most
    /// `limit` bytes. A single record that is longer gets a longer message of its own.
    pub fn new(like: &Header, number: u32, limit: usize) -> Composer {
        Composer {
            export_time: like.export_time,
            domain: like.domain,
            limit: limit.min(MAX_LEN),
            number,
            records: 0,
            message: vec![0; HEADER_LEN],
            open_set: None,
            done: Vec::new(),
        }
    }

    /// Appends a template record, which the sequence number does not count.
    pub fn template(&mut self, set_id: u16, record: &[u8]) {
        self.record(set_id, record);
    }

    /// Appends a data record, which the sequence number counts.
    pub fn data(&mut self, set_id: u16, record: &[u8]) {
        self.record(set_id, record);
        self.records = self.records.wrapping_add(1);
    }

    /// Appends a whole set as it is, with the number of data records in it.
    pub fn set(&mut self, bytes: &[u8], records: u32) {
        self.close_set();
        self.make_room(bytes.len());
        self.message.extend_from_slice(bytes);
        self.records = self.records.wrapping_add(records);
    }

    /// The messages, in order.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.end_message();
        self.done
    }

    fn record(&mut self, set_id: u16, record: &[u8]) {
        if self.open_set.is_none_or(|(id, _)| id != set_id) {
            self.close_set();
        }
        let set_header = if self.open_set.is_some() { 0 } else { SET_HEADER_LEN };
        self.make_room(set_header + record.len());
        if self.open_set.is_none() {
            self.open_set = Some((set_id, self.message.len()));
            self.message.extend_from_slice(&set_id.to_be_bytes());
            self.message.extend_from_slice(&[0, 0]);
        }
        self.message.extend_from_slice(record);
    }

    fn make_room(&mut self, bytes: usize) {
        // A set header may come anew in the next message: ask for its room, too.
        let needed = self.message.len() + bytes;
        if needed > self.limit && self.message.len() > HEADER_LEN {
            self.end_message();
        }
    }

    fn close_set(&mut self) {
        let Some((_, start)) = self.open_set.take() else { return };
        let length = wire_len(self.message.len() - start);
        if let Some(field) = self.message.get_mut(start + 2..start + SET_HEADER_LEN) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }

    fn end_message(&mut self) {
        self.close_set();
        if self.message.len() == HEADER_LEN {
            return;
        }
        let header = Header {
            version: VERSION,
            length: wire_len(self.message.len()),
            export_time: self.export_time,
            sequence: self.number,
            domain: self.domain,
        };
        if let Some(place) = self.message.first_chunk_mut() {
            *place = header.to_bytes();
        }
        let message = std::mem::replace(&mut self.message, vec![0; HEADER_LEN]);
        self.done.push(message.into());
        self.number = self.number.wrapping_add(self.records);
        self.records = 0;
    }
}

/// A length field. Records come out of messages of at most 65,535 bytes, so that the longest
/// message made of one record fits as well.
fn wire_len(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use common::message::Sets;

    use super::*;

    const LIKE: Header = Header { version: 10, length: 0, export_time: 7, sequence: 0, domain: 3 };

    #[test]
    fn records_of_one_set_stand_together_and_messages_are_numbered_on() {
        let mut composer = Composer::new(&LIKE, 5, HEADER_LEN + 4 + 8);
        for record in [[1; 4], [2; 4], [3; 4]] {
            composer.data(256, &record);
        }
        let messages = composer.finish();
        let headers: Vec<_> = messages.iter().map(|m| Header::read(m).unwrap()).collect();
        assert_eq!(headers.iter().map(|h| h.sequence).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(headers.iter().map(|h| h.length).collect::<Vec<_>>(), [28, 24]);
        assert!(headers.iter().all(|h| (h.export_time, h.domain) == (7, 3)));
        let sets: Vec<_> = Sets::of(&messages[0]).map(Result::unwrap).collect();
        assert_eq!(sets.len(), 1);
        assert_eq!(sets[0].body(), [1, 1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn a_record_above_the_limit_gets_a_message_of_its_own() {
        let mut composer = Composer::new(&LIKE, 0, 40);
        composer.template(2, &[1; 4]);
        composer.template(2, &[2; 100]);
        composer.template(2, &[3; 4]);
        let lengths: Vec<_> = composer.finish().iter().map(Bytes::len).collect();
        assert_eq!(lengths, [24, 120, 24]);
    }

    #[test]
    fn whole_sets_keep_their_bytes() {
        let mut composer = Composer::new(&LIKE, 0, MAX_LEN);
        composer.template(2, &[1; 4]);
        composer.set(&[1, 0, 0, 6, 9, 9], 2);
        let messages = composer.finish();
        assert_eq!(messages.len(), 1);
        assert_eq!(&messages[0][HEADER_LEN..], [0, 2, 0, 8, 1, 1, 1, 1, 1, 0, 0, 6, 9, 9]);
    }

    #[test]
    fn nothing_appended_is_no_message() {
        assert!(Composer::new(&LIKE, 0, MAX_LEN).finish().is_empty());
    }
}
