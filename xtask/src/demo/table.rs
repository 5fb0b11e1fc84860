//! The live table: what each collector has so far, redrawn on a terminal, else as plain lines.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::decode;

use super::receiver::Receiver;

/// Between two tables on a terminal, and elsewhere.
const REDRAW: Duration = Duration::from_millis(500);
const PRINT: Duration = Duration::from_secs(3);

/// What a collector has.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Exporter sessions that these counts are of.
    sessions: usize,
    messages: usize,
    records: usize,
    missing_templates: usize,
    gaps: usize,
}

impl Counts {
    fn add(&mut self, messages: &[Vec<u8>]) {
        let decoded = decode::session(messages);
        self.sessions += 1;
        self.messages += messages.len();
        self.records += decoded.records.len();
        self.missing_templates += decoded.unknown_templates();
        self.gaps += decoded.gaps();
    }
}

/// The table on the screen.
#[derive(Debug)]
pub struct Table {
    terminal: bool,
    /// Lines to go back before drawing again.
    drawn: usize,
    next: Instant,
    /// Of each collector's sessions but the last: those don't change any more.
    finished: Vec<Counts>,
}

impl Table {
    /// A table that has not been drawn yet.
    pub fn new() -> Self {
        let terminal = stdout().is_terminal();
        Self { terminal, drawn: 0, next: Instant::now(), finished: Vec::new() }
    }

    /// Draws the table if it is time to.
    pub fn refresh(&mut self, receivers: &[Receiver]) {
        if Instant::now() >= self.next {
            self.draw(receivers);
            self.next = Instant::now() + if self.terminal { REDRAW } else { PRINT };
        }
    }

    /// Draws the table.
    pub fn draw(&mut self, receivers: &[Receiver]) {
        let mut text = format!(
            "{:<15} {:<11} {:<22} {:>8} {:>8} {:>9} {:>17} {:>13}\n",
            "receiver",
            "mode",
            "destination",
            "sessions",
            "messages",
            "records",
            "missing templates",
            "sequence gaps"
        );
        let mut row = 0;
        for receiver in receivers {
            for collector in &receiver.collectors {
                self.line(&mut text, row, receiver, collector);
                row += 1;
            }
        }
        if self.terminal && self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
        }
        self.drawn = text.lines().count();
        println!("{}", text.trim_end());
        if !self.terminal {
            println!();
        }
    }

    fn line(&mut self, text: &mut String, row: usize, receiver: &Receiver, collector: &Collector) {
        let counts = self.count(row, collector);
        let destination = format!("{}/{}", collector.address(), collector.protocol());
        let mode = if receiver.kind.all { "All" } else { "RoundRobin" };
        let name = format!("{}[0]", receiver.kind.stream);
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{name:<15} {mode:<11} {destination:<22} {:>8} {:>8} {:>9} {:>17} {:>13}",
            counts.sessions, counts.messages, counts.records, counts.missing_templates, counts.gaps,
        );
    }

    /// Decodes what is new; a session is over when the next one has begun.
    fn count(&mut self, row: usize, collector: &Collector) -> Counts {
        if self.finished.len() <= row {
            self.finished.resize(row + 1, Counts::default());
        }
        let Some(finished) = self.finished.get_mut(row) else { return Counts::default() };
        let sessions = collector.sessions();
        // The last but one may still be on its way while the last begins.
        let over = sessions.len().saturating_sub(2);
        for session in sessions.iter().take(over).skip(finished.sessions) {
            finished.add(&session.messages);
        }
        let mut counts = *finished;
        for session in sessions.iter().skip(over) {
            counts.add(&session.messages);
        }
        counts
    }
}
