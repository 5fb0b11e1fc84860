//! CSV (RFC 4180): a row for each data record, and a header row wherever the columns change.

use std::io::{self, Write};

use super::{
    record::Record,
    report::{Message, Output},
};

/// The columns before those of the template.
const FIRST_COLUMNS: [&str; 4] = ["time", "exporter", "domain", "template"];

/// Writes CSV.
pub struct Csv<W: Write> {
    out: csv::Writer<W>,
    /// What the last header row said.
    header: Vec<String>,
}

impl<W: Write> Csv<W> {
    /// CSV to `out`.
    pub fn new(out: W) -> Self {
        // Rows of another template have another length.
        let out = csv::WriterBuilder::new().flexible(true).from_writer(out);
        Csv { out, header: Vec::new() }
    }
}

impl<W: Write> Output for Csv<W> {
    fn record(&mut self, message: &Message, record: &Record<'_>) -> io::Result<()> {
        let names = record.layout.fields.iter().map(|column| &*column.element.name);
        let header = FIRST_COLUMNS.into_iter().chain(names);
        if !self.header.iter().eq(header.clone()) {
            self.header = header.map(str::to_owned).collect();
            self.out.write_record(&self.header)?;
        }
        let exporter = message.session.exporter.map(|exporter| exporter.to_string());
        let first = [
            message.time().to_string(),
            exporter.unwrap_or_default(),
            message.header.domain.to_string(),
            record.layout.id.to_string(),
        ];
        let values = record.values().map(|(_, value)| value.to_string());
        Ok(self.out.write_record(first.into_iter().chain(values))?)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
