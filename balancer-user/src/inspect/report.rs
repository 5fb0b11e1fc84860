//! The two ways out: what is shown, and what is said of a file that is not as it should be.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use common::message::Header;
use jiff::Timestamp;

use super::{
    fault::Fault,
    record::{Layout, Record},
    session::Session,
    sessions::Step,
};

/// Faults of one file that are spelled out; of more only the number is said.
pub const MAX_FAULTS: u64 = 20;

/// The message in which something stands.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Number of its session in the file.
    pub session_number: usize,
    /// Who sent it to whom.
    pub session: Session,
    /// Its header.
    pub header: Header,
    /// Where in the file it is.
    pub offset: u64,
    /// What its sequence number says.
    pub step: Step,
}

impl Message {
    /// When it was exported.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_second(i64::from(self.header.export_time)).unwrap_or_default()
    }
}

/// Takes what is shown, in the file's order.
pub trait Output {
    /// A file begins.
    fn begin(&mut self, _file: &Path) -> io::Result<()> {
        Ok(())
    }

    /// A message begins.
    fn message(&mut self, _message: &Message) -> io::Result<()> {
        Ok(())
    }

    /// A template that was not known, or not like this.
    fn template(&mut self, _message: &Message, _layout: &Layout) -> io::Result<()> {
        Ok(())
    }

    /// A data record.
    fn record(&mut self, message: &Message, record: &Record<'_>) -> io::Result<()>;

    /// A data set of so many bytes that can't be read: nobody has said its template.
    fn without_template(&mut self, _message: &Message, _id: u16, _len: usize) -> io::Result<()> {
        Ok(())
    }

    /// The file has ended.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Everything has been shown.
    fn finish(&mut self) -> io::Result<()>;
}

/// Says what is wrong with files, a line each.
pub struct Report<'a> {
    out: Box<dyn Write + 'a>,
    file: PathBuf,
    faults: u64,
    without_template: u64,
    clean: bool,
}

impl<'a> Report<'a> {
    /// A report that is written to `out`. That it can't be written stops nothing.
    pub fn new(out: impl Write + 'a) -> Self {
        let (out, file) = (Box::new(out), PathBuf::new());
        Report { out, file, faults: 0, without_template: 0, clean: true }
    }

    /// Whether there was no fault in any file.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    pub(super) fn begin(&mut self, file: &Path) {
        (self.faults, self.without_template) = (0, 0);
        file.clone_into(&mut self.file);
    }

    pub(super) fn fault(&mut self, offset: u64, fault: &Fault) {
        self.clean = false;
        self.faults += 1;
        if self.faults <= MAX_FAULTS {
            self.say(&format!("at byte {offset}: {fault}"));
        }
    }

    /// A data set came before its template. That is no fault of the file: whoever captures UDP
    /// does not begin with the templates.
    pub(super) fn without_template(&mut self) {
        self.without_template += 1;
    }

    pub(super) fn end(&mut self) {
        if self.faults > MAX_FAULTS {
            self.say(&format!("further faults: {}", self.faults - MAX_FAULTS));
        }
        if self.without_template > 0 {
            self.say(&format!("data sets without a known template: {}", self.without_template));
        }
    }

    fn say(&mut self, what: &str) {
        let _ = writeln!(self.out, "{}: {what}", self.file.display());
    }
}
