//! `ipfix-balancer inspect`: what is in IPFIX Files, dump files and captures.
//!
//! Data flows one way: `source` finds messages, `sessions` keeps what their exporters have said
//! before, `record` and `value` decode, [`Filter`] lets through, an [`Output`] writes.

mod capture;
mod csv;
mod element;
mod fault;
mod filter;
mod framer;
mod json;
mod record;
mod report;
mod session;
mod sessions;
mod source;
mod summary;
mod tcp;
mod text;
mod value;

use std::{io::Read, path::Path};

use common::{
    message::{Header, Malformed, Sets},
    record::DataRecords,
    template::TemplateRecords,
};

pub use self::{
    csv::Csv,
    fault::Fault,
    filter::Filter,
    json::Json,
    report::{MAX_FAULTS, Message, Output, Report},
    source::Stop,
    summary::{Form, Summary},
    text::Text,
};
use self::{
    record::{Layout, Record},
    sessions::{Place, Sessions},
    source::{Flow, Sink},
};

/// Reads one file after the other and writes what the filter lets through.
pub struct Inspection<'a> {
    filter: Filter,
    output: Box<dyn Output + 'a>,
    report: Report<'a>,
}

impl<'a> Inspection<'a> {
    /// An inspection that writes records to `output` and says in `report` what is wrong.
    pub fn new(filter: Filter, output: Box<dyn Output + 'a>, report: Report<'a>) -> Self {
        Inspection { filter, output, report }
    }

    /// Inspects the file at `path`, or standard input for `-`.
    pub fn file(&mut self, path: &Path) -> Result<(), Stop> {
        self.one(path, |reading| source::read(path, reading))
    }

    /// Inspects what `input` holds, as if it were the file at `path`.
    pub fn input(&mut self, path: &Path, input: impl Read + Send) -> Result<(), Stop> {
        self.one(path, |reading| source::read_from(input, false, reading))
    }

    /// Ends the output; whether all of every file could be read.
    pub fn finish(mut self) -> Result<bool, Stop> {
        self.output.finish()?;
        Ok(self.report.is_clean())
    }

    fn one(
        &mut self,
        path: &Path,
        read: impl FnOnce(&mut Reading<'_, 'a>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.output.begin(path)?;
        self.report.begin(path);
        read(&mut Reading { inspection: self, path, sessions: Sessions::default() })?;
        self.report.end();
        self.output.end()?;
        Ok(())
    }
}

/// One file on its way through. Templates of another file have no meaning in it.
struct Reading<'r, 'a> {
    inspection: &'r mut Inspection<'a>,
    path: &'r Path,
    sessions: Sessions,
}

impl Sink for Reading<'_, '_> {
    fn message(&mut self, flow: Option<&Flow>, offset: u64, bytes: &[u8]) -> Result<(), Stop> {
        let header = match check(bytes) {
            Ok(header) => header,
            Err(reason) => {
                return self.fault(offset, Fault::Malformed { length: bytes.len(), reason });
            }
        };
        let Inspection { filter, output, report } = self.inspection;
        match self.sessions.place(flow, header.domain, self.path) {
            Ok(place) => {
                let message = Message {
                    session_number: place.session_number,
                    session: *place.session,
                    step: place.domain.step(header.sequence),
                    header,
                    offset,
                };
                let output = filter.takes(&message).then_some(&mut **output);
                Content { place, message, filter, output, report }.read(bytes)
            }
            Err(fault) => self.fault(offset, fault),
        }
    }

    fn fault(&mut self, offset: u64, fault: Fault) -> Result<(), Stop> {
        self.inspection.report.fault(offset, &fault);
        Ok(())
    }

    fn ended(&mut self, flow: &Flow) {
        self.sessions.forget(flow);
    }
}

/// Whether all sets and templates of a message add up: else nothing of it counts (RFC 7011
/// section 9.1).
fn check(message: &[u8]) -> Result<Header, Malformed> {
    for set in Sets::of(message) {
        for record in TemplateRecords::of(set?).into_iter().flatten() {
            record?;
        }
    }
    Header::framed(message)
}

/// A message that is being read.
struct Content<'m, 'a> {
    place: Place<'m>,
    message: Message,
    filter: &'m Filter,
    /// `None` where the filter does not want the message.
    output: Option<&'m mut (dyn Output + 'a)>,
    report: &'m mut Report<'a>,
}

impl Content<'_, '_> {
    fn read(mut self, bytes: &[u8]) -> Result<(), Stop> {
        if let Some(output) = &mut self.output {
            output.message(&self.message)?;
        }
        let mut records = Some(0_u32);
        for set in Sets::of(bytes).map_while(Result::ok) {
            if let Some(templates) = TemplateRecords::of(set) {
                self.templates(templates)?;
                continue;
            }
            let more = self.data(set.id, set.body())?;
            records = records.zip(more).map(|(records, more)| records.wrapping_add(more));
        }
        self.place.domain.counted(self.message.header.sequence, records);
        Ok(())
    }

    fn templates(&mut self, templates: TemplateRecords<'_>) -> Result<(), Stop> {
        for template in templates.map_while(Result::ok) {
            match self.place.learn(&template) {
                Ok(true) if self.filter.takes_template(template.id) => {
                    if let Some(output) = &mut self.output {
                        output.template(&self.message, &Layout::of(&template))?;
                    }
                }
                Ok(_) => {}
                Err(fault) => self.report.fault(self.message.offset, &fault),
            }
        }
        Ok(())
    }

    /// Writes the records of a data set. How many there are, if that can be said.
    fn data(&mut self, id: u16, body: &[u8]) -> Result<Option<u32>, Stop> {
        let mut output = self.output.as_mut().filter(|_| self.filter.takes_template(id));
        let Some(template) = self.place.domain.templates.get(id) else {
            if let Some(output) = output {
                output.without_template(&self.message, id, body.len())?;
            }
            self.report.without_template();
            return Ok(None);
        };
        let layout = Layout::of(&template);
        let mut count = 0;
        for record in DataRecords::of(body, &template) {
            let Ok(record) = record else {
                self.report.fault(self.message.offset, &Fault::BadRecord(id));
                return Ok(None);
            };
            let record = Record::new(&layout, record);
            count += 1;
            self.place.session.learn(&record);
            self.message.session = *self.place.session;
            if let Some(output) = &mut output {
                output.record(&self.message, &record)?;
            }
        }
        Ok(Some(count))
    }
}
