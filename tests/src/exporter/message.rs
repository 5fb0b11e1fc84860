//! Builds one message, right or wrong.

use super::Template;
use crate::wire::{MESSAGE_HEADER, OPTIONS_TEMPLATE_SET, SET_HEADER, TEMPLATE_SET};

/// Export time of a message that does not set its own: tests must not depend on the clock.
const EXPORT_TIME: u32 = 1_700_000_000;

/// A message under construction: header values, then sets in the order in which they were added.
#[derive(Clone, Debug)]
pub struct Message {
    version: u16,
    export_time: u32,
    sequence: u32,
    domain: u32,
    length: Option<u16>,
    body: Vec<u8>,
}

impl Message {
    /// An empty message of an observation domain with its sequence number.
    pub fn new(domain: u32, sequence: u32) -> Self {
        Self {
            version: 10,
            export_time: EXPORT_TIME,
            sequence,
            domain,
            length: None,
            body: Vec::new(),
        }
    }

    /// Another version than 10.
    pub fn version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// Export time, seconds since 1970.
    pub fn export_time(mut self, seconds: u32) -> Self {
        self.export_time = seconds;
        self
    }

    /// A length other than the real one.
    pub fn length(mut self, length: u16) -> Self {
        self.length = Some(length);
        self
    }

    /// A set of templates, or of options templates: which one, the first decides.
    pub fn templates(self, templates: &[&Template]) -> Self {
        let options = templates.first().is_some_and(|template| template.is_options());
        let set = if options { OPTIONS_TEMPLATE_SET } else { TEMPLATE_SET };
        let records: Vec<u8> = templates.iter().flat_map(|template| template.encode()).collect();
        self.set(set, &records)
    }

    /// A set with one template or options template.
    pub fn template(self, template: &Template) -> Self {
        self.templates(&[template])
    }

    /// The withdrawal of one template.
    pub fn withdraw(self, template: &Template) -> Self {
        let set = if template.is_options() { OPTIONS_TEMPLATE_SET } else { TEMPLATE_SET };
        let [high, low] = template.id.to_be_bytes();
        self.set(set, &[high, low, 0, 0])
    }

    /// The withdrawal of all data templates, or all options templates.
    pub fn withdraw_all(self, options: bool) -> Self {
        let set = if options { OPTIONS_TEMPLATE_SET } else { TEMPLATE_SET };
        let [high, low] = set.to_be_bytes();
        self.set(set, &[high, low, 0, 0])
    }

    /// A data set of encoded records ([`Template::record`]).
    pub fn data(self, template: &Template, records: &[Vec<u8>]) -> Self {
        self.set(template.id, &records.concat())
    }

    /// A set with any id and content.
    pub fn set(self, id: u16, content: &[u8]) -> Self {
        let length = u16::try_from(SET_HEADER + content.len()).unwrap_or(u16::MAX);
        self.set_claiming(id, length, content)
    }

    /// A set that claims another length than it has.
    pub fn set_claiming(mut self, id: u16, length: u16, content: &[u8]) -> Self {
        self.body.extend(id.to_be_bytes());
        self.body.extend(length.to_be_bytes());
        self.body.extend_from_slice(content);
        self
    }

    /// Octets the message has so far.
    pub fn len(&self) -> usize {
        MESSAGE_HEADER + self.body.len()
    }

    /// True while the message has no set.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The bytes. A message longer than 65535 octets gets the length 65535: callers who want a
    /// right one don't build it.
    pub fn build(&self) -> Vec<u8> {
        let length = self.length.unwrap_or_else(|| u16::try_from(self.len()).unwrap_or(u16::MAX));
        let mut out = self.version.to_be_bytes().to_vec();
        out.extend(length.to_be_bytes());
        for word in [self.export_time, self.sequence, self.domain] {
            out.extend(word.to_be_bytes());
        }
        out.extend_from_slice(&self.body);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::Field;
    use crate::wire;

    #[test]
    fn header_and_sets_are_where_they_belong() {
        let template = Template::data(256, [Field::iana(8, 4)]);
        let record = template.record(&[&[1, 2, 3, 4]]).unwrap();
        let message = Message::new(7, 9).template(&template).data(&template, &[record]).build();
        assert_eq!(wire::domain(&message), Some(7));
        assert_eq!(wire::sequence(&message), Some(9));
        assert_eq!(wire::length(&message), Some(message.len()));
        let sets = wire::sets(&message).unwrap();
        assert_eq!(sets[0], (2, &[1, 0, 0, 1, 0, 8, 0, 4][..]));
        assert_eq!(sets[1], (256, &[1, 2, 3, 4][..]));
    }

    #[test]
    fn wrong_messages_are_wrong_where_asked() {
        let message = Message::new(1, 0).version(9).length(12).build();
        assert_eq!(message[..4], [0, 9, 0, 12]);
        let overrun = Message::new(1, 0).set_claiming(256, 100, &[0; 8]).build();
        assert_eq!(wire::sets(&overrun), Err(16));
    }

    #[test]
    fn withdrawals_name_the_template_without_fields() {
        let options = Template::options(300, 1, [Field::iana(149, 4)]);
        let message = Message::new(1, 0).withdraw(&options).withdraw_all(false).build();
        let sets = wire::sets(&message).unwrap();
        assert_eq!(sets, [(3, &[1, 44, 0, 0][..]), (2, &[0, 2, 0, 0][..])]);
    }
}
