//! Text for people: a line for each message, below it one for each template and record.

use std::{
    io::{self, Write},
    path::Path,
};

use common::template::Kind;

use super::{
    record::{Layout, Record},
    report::{Message, Output},
    sessions::Step,
    value::Value,
};

/// Writes text.
pub struct Text<W> {
    out: W,
    /// The message whose line has yet to come: it comes with the first thing in it.
    waiting: Option<Message>,
}

impl<W: Write> Text<W> {
    /// Text to `out`.
    pub fn new(out: W) -> Self {
        Text { out, waiting: None }
    }

    fn headline(&mut self) -> io::Result<()> {
        let Some(message) = self.waiting.take() else { return Ok(()) };
        let Message { session, header, offset, step, .. } = message;
        write!(
            self.out,
            "{}  domain {}  sequence {}  bytes {} at {offset}",
            message.time(),
            header.domain,
            header.sequence,
            header.length,
        )?;
        match step {
            Step::Due => {}
            Step::Missing(records) => write!(self.out, "  records missing before it {records}")?,
            Step::Back => write!(self.out, "  sequence goes back")?,
        }
        let session = session.to_string();
        let space = if session.is_empty() { "" } else { "  " };
        writeln!(self.out, "{space}{session}")
    }
}

impl<W: Write> Output for Text<W> {
    fn begin(&mut self, file: &Path) -> io::Result<()> {
        writeln!(self.out, "{}", file.display())
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        self.waiting = Some(*message);
        Ok(())
    }

    fn template(&mut self, _message: &Message, layout: &Layout) -> io::Result<()> {
        self.headline()?;
        let Layout { id, kind, scope_count, fields } = layout;
        match kind {
            Kind::Data => write!(self.out, "  template {id}:")?,
            Kind::Options => write!(self.out, "  options template {id}, {scope_count} scope:")?,
        }
        fields.iter().try_for_each(|column| write!(self.out, " {column}"))?;
        writeln!(self.out)
    }

    fn record(&mut self, _message: &Message, record: &Record<'_>) -> io::Result<()> {
        self.headline()?;
        let kind = if record.layout.kind == Kind::Options { "options " } else { "" };
        write!(self.out, "  {kind}{}:", record.layout.id)?;
        for (name, value) in record.values() {
            match value {
                Value::Text(text) => write!(self.out, " {name}={text:?}")?,
                value => write!(self.out, " {name}={value}")?,
            }
        }
        writeln!(self.out)
    }

    fn without_template(&mut self, _message: &Message, id: u16, len: usize) -> io::Result<()> {
        self.headline()?;
        writeln!(self.out, "  {id}: template not known, bytes {len}")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
