//! JSON lines for programs: an object for each data record.

use std::io::{self, Write};

use common::template::Kind;
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    record::{Occurs, Record},
    report::{Message, Output},
    session::Session,
    value::Value,
};

/// Writes JSON lines.
pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    /// JSON lines to `out`.
    pub fn new(out: W) -> Self {
        Json { out }
    }
}

impl<W: Write> Output for Json<W> {
    fn record(&mut self, message: &Message, record: &Record<'_>) -> io::Result<()> {
        let line = Line {
            time: message.time(),
            session: message.session,
            domain: message.header.domain,
            template: record.layout.id,
            options: record.layout.kind == Kind::Options,
            fields: Fields(record),
        };
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    /// When the message was exported.
    time: Timestamp,
    #[serde(flatten)]
    session: Session,
    domain: u32,
    template: u16,
    options: bool,
    fields: Fields<'a>,
}

/// The values by name, in the template's order. A name that is there several times has an array of
/// its values, where it is there first.
struct Fields<'a>(&'a Record<'a>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = serializer.serialize_map(None)?;
        for (column, value) in record.layout.fields.iter().zip(record.values()) {
            let (name, value) = value;
            match column.occurs {
                Occurs::Once => map.serialize_entry(name, &value)?,
                Occurs::First => map.serialize_entry(name, &all(record, name))?,
                Occurs::Again => {}
            }
        }
        map.end()
    }
}

fn all<'a>(record: &Record<'a>, name: &str) -> Vec<Value<'a>> {
    record.values().filter(|(other, _)| *other == name).map(|(_, value)| value).collect()
}
