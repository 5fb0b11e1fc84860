//! An event as one sentence and its fields.

use std::fmt::{Debug, Write};

use tracing::{
    Event,
    field::{Field, Visit},
};

/// Fields that say where something happened. They begin the sentence, in this order.
const PLACES: [&str; 5] = ["receiver", "destination", "interface", "neighbour", "file"];
/// Counts lines that were kept back.
const LEFT_OUT: &str = "left_out";

/// What an event says.
#[derive(Debug, Default)]
pub struct Line {
    /// What happened.
    pub message: String,
    /// Names and values of its fields, but for a `left_out` of 0.
    pub fields: Vec<(&'static str, String)>,
}

impl Line {
    /// Takes an event apart.
    pub fn of(event: &Event<'_>) -> Line {
        let mut line = Line::default();
        event.record(&mut line);
        line
    }

    /// All of it for people: `FULLFLOW[0] 10.0.0.1/1500/tcp: what happened (exporter 10.9.9.9:1)`.
    pub fn sentence(&self) -> String {
        let value = |name: &&str| self.fields.iter().find(|(field, _)| field == name);
        let places: Vec<_> =
            PLACES.iter().filter_map(value).map(|(_, value)| value.as_str()).collect();
        let mut text = places.join(" ");
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&self.message);
        let details = self.fields.iter().filter(|(name, _)| !PLACES.contains(name));
        let details: Vec<_> = details
            .map(|(name, value)| match *name {
                LEFT_OUT => format!("{value} such lines left out before"),
                name => format!("{name} {value}"),
            })
            .collect();
        if !details.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(text, " ({})", details.join(", "));
        }
        text
    }

    /// The value of a field, if it is there.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.fields.iter();
        fields.find(|(field, _)| *field == name).map(|(_, value)| value.clone())
    }

    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            LEFT_OUT if value == "0" => {}
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: &[(&'static str, &str)]) -> Line {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Line { message: "destination is down".to_owned(), fields }
    }

    #[test]
    fn a_sentence_begins_with_the_place() {
        let down = line(&[
            ("exporter", "192.0.2.1:5000"),
            ("destination", "10.0.0.1/1500/tcp"),
            ("receiver", "FULLFLOW[0]"),
            ("left_out", "3"),
        ]);
        assert_eq!(
            down.sentence(),
            "FULLFLOW[0] 10.0.0.1/1500/tcp: destination is down \
             (exporter 192.0.2.1:5000, 3 such lines left out before)"
        );
        assert_eq!(line(&[]).sentence(), "destination is down");
    }
}
