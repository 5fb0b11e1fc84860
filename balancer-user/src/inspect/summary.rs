//! `--summary`: what there is of everything in a file, instead of every record.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

use common::template::Kind;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    record::{Layout, Record},
    report::{Message, Output},
    session::Session,
    sessions::Step,
};

/// Domains, and templates of all domains, that are listed one by one.
const MAX_LISTED: usize = 65_536;

/// In which form a summary is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// A JSON object for each file.
    Json,
}

/// Writes a summary of each file.
pub struct Summary<W> {
    out: W,
    form: Form,
    file: FileSummary,
}

#[derive(Debug, Default, Serialize)]
struct FileSummary {
    file: PathBuf,
    #[serde(flatten)]
    counts: Counts,
    domains: Vec<DomainSummary>,
    #[serde(skip)]
    by_number: BTreeMap<(usize, u32), usize>,
    #[serde(skip)]
    listed: usize,
    /// Domains and templates beyond those that are listed.
    not_listed: u64,
}

/// What there is of everything.
#[derive(Clone, Debug, Default, Serialize)]
struct Counts {
    messages: u64,
    bytes: u64,
    /// Lowest and highest export time.
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    flow_records: u64,
    options_records: u64,
    /// Data sets that could not be read.
    sets_without_template: u64,
    /// Sequence numbers above the one that was due.
    sequence_gaps: u64,
    /// Records that were missing there.
    missing_records: u64,
    /// Sequence numbers below the one that was due.
    sequence_back: u64,
}

/// An observation domain of a session.
#[derive(Debug, Serialize)]
struct DomainSummary {
    #[serde(flatten)]
    session: Session,
    domain: u32,
    #[serde(flatten)]
    counts: Counts,
    templates: BTreeMap<u16, TemplateSummary>,
}

#[derive(Debug, Serialize)]
struct TemplateSummary {
    options: bool,
    fields: Vec<String>,
    /// How often the id was defined anew, with other fields.
    redefined: u64,
    records: u64,
}

impl<W: Write> Summary<W> {
    /// Summaries to `out`.
    pub fn new(out: W, form: Form) -> Self {
        Summary { out, form, file: FileSummary::default() }
    }
}

impl<W: Write> Output for Summary<W> {
    fn begin(&mut self, file: &Path) -> io::Result<()> {
        self.file = FileSummary { file: file.to_owned(), ..FileSummary::default() };
        Ok(())
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        self.file.count(message, |counts| counts.message(message));
        Ok(())
    }

    fn template(&mut self, message: &Message, layout: &Layout) -> io::Result<()> {
        self.file.template(message, layout);
        Ok(())
    }

    fn record(&mut self, message: &Message, record: &Record<'_>) -> io::Result<()> {
        let Layout { id, kind, .. } = *record.layout;
        self.file.count(message, |counts| match kind {
            Kind::Data => counts.flow_records += 1,
            Kind::Options => counts.options_records += 1,
        });
        let domain = self.file.domain(message);
        if let Some(template) = domain.and_then(|domain| domain.templates.get_mut(&id)) {
            template.records += 1;
        }
        Ok(())
    }

    fn without_template(&mut self, message: &Message, _id: u16, _len: usize) -> io::Result<()> {
        self.file.count(message, |counts| counts.sets_without_template += 1);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match self.form {
            Form::Text => self.file.write(&mut self.out),
            Form::Json => {
                serde_json::to_writer(&mut self.out, &self.file)?;
                self.out.write_all(b"\n")
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl FileSummary {
    fn count(&mut self, message: &Message, count: impl Fn(&mut Counts)) {
        count(&mut self.counts);
        if let Some(domain) = self.domain(message) {
            count(&mut domain.counts);
        }
    }

    /// The domain of a message, listed if there is room for it.
    fn domain(&mut self, message: &Message) -> Option<&mut DomainSummary> {
        let key = (message.session_number, message.header.domain);
        let index = match self.by_number.get(&key) {
            Some(index) => *index,
            None if self.listed >= MAX_LISTED => {
                self.not_listed += 1;
                return None;
            }
            None => {
                self.listed += 1;
                self.by_number.insert(key, self.domains.len());
                self.domains.push(DomainSummary {
                    session: message.session,
                    domain: message.header.domain,
                    counts: Counts::default(),
                    templates: BTreeMap::new(),
                });
                self.domains.len() - 1
            }
        };
        let domain = self.domains.get_mut(index)?;
        // What names the session may come after the first message has begun.
        domain.session = message.session;
        Some(domain)
    }

    fn template(&mut self, message: &Message, layout: &Layout) {
        let room = self.listed < MAX_LISTED;
        let Some(domain) = self.domain(message) else { return };
        let fields = layout.fields.iter().map(|column| column.to_string()).collect();
        let options = layout.kind == Kind::Options;
        if let Some(known) = domain.templates.get_mut(&layout.id) {
            known.redefined += u64::from(known.fields != fields || known.options != options);
            (known.fields, known.options) = (fields, options);
        } else if room {
            let new = TemplateSummary { options, fields, redefined: 0, records: 0 };
            domain.templates.insert(layout.id, new);
            self.listed += 1;
        } else {
            self.not_listed += 1;
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}\n  {}", self.file.display(), self.counts)?;
        for DomainSummary { session, domain, counts, templates } in &self.domains {
            let session = session.to_string();
            let space = if session.is_empty() { "" } else { "  " };
            writeln!(out, "  domain {domain}{space}{session}\n    {counts}")?;
            for (id, template) in templates {
                writeln!(out, "    {}", template.describe(*id))?;
            }
        }
        match self.not_listed {
            0 => Ok(()),
            _ => writeln!(out, "  more domains and templates than can be listed"),
        }
    }
}

impl Counts {
    fn message(&mut self, message: &Message) {
        let time = message.time();
        self.messages += 1;
        self.bytes += u64::from(message.header.length);
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
        match message.step {
            Step::Due => {}
            Step::Missing(records) => {
                self.sequence_gaps += 1;
                self.missing_records += u64::from(records);
            }
            Step::Back => self.sequence_back += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages {}  bytes {}", self.messages, self.bytes)?;
        if let (Some(first), Some(last)) = (self.first, self.last) {
            write!(f, "  from {first} to {last}")?;
        }
        write!(f, "  flow records {}", self.flow_records)?;
        write!(f, "  options records {}", self.options_records)?;
        write!(f, "  sequence gaps {}", self.sequence_gaps)?;
        for (what, count) in [
            ("missing records", self.missing_records),
            ("sequence goes back", self.sequence_back),
            ("sets without template", self.sets_without_template),
        ] {
            if count > 0 {
                write!(f, "  {what} {count}")?;
            }
        }
        Ok(())
    }
}

impl TemplateSummary {
    fn describe(&self, id: u16) -> String {
        let TemplateSummary { options, fields, redefined, records } = self;
        let kind = if *options { "options template" } else { "template" };
        let again = if *redefined > 0 { format!("  redefined {redefined}") } else { String::new() };
        format!("{kind} {id}  records {records}{again}  {}", fields.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use common::message::Header;

    use super::*;

    fn message(domain: u32, step: Step) -> Message {
        let header = Header { version: 10, length: 20, export_time: 60, sequence: 0, domain };
        Message { session_number: 0, session: Session::default(), header, offset: 0, step }
    }

    #[test]
    fn domains_beyond_those_that_are_listed_are_counted_all_the_same() {
        let mut summary = FileSummary { listed: MAX_LISTED - 1, ..FileSummary::default() };
        for (domain, step) in [(1, Step::Due), (2, Step::Missing(7)), (1, Step::Back)] {
            let message = message(domain, step);
            summary.count(&message, |counts| counts.message(&message));
        }
        assert_eq!((summary.domains.len(), summary.not_listed), (1, 1));
        assert_eq!((summary.counts.messages, summary.counts.bytes), (3, 60));
        assert_eq!((summary.counts.sequence_gaps, summary.counts.missing_records), (1, 7));
        assert_eq!(summary.domains[0].counts.sequence_back, 1);
        let mut text = Vec::new();
        summary.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("messages 3  bytes 60  from 1970-01-01T00:01:00Z to "), "{text}");
        assert!(text.contains("more domains and templates than can be listed"), "{text}");
    }
}
