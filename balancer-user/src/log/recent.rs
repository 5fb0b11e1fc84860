//! The last lines, kept in memory for a web interface.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use utoipa::ToSchema;

use super::{Level, line::Line};

/// Lines that are kept.
pub const MAX_LINES: usize = 2000;
/// The longest text, in bytes.
const MAX_TEXT: usize = 2 << 10;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When, in microseconds since 1970. No two lines have the same: it names the line.
    pub at: u64,
    /// How urgent.
    pub level: Level,
    /// The receiver that it is about.
    pub receiver: Option<String>,
    /// The destination that it is about.
    pub destination: Option<String>,
    /// All of it, in a sentence.
    pub text: String,
}

/// The lines, the oldest first.
static LINES: Mutex<VecDeque<LogLine>> = Mutex::new(VecDeque::new());

/// The lines after one, the oldest first; after 0 all that are kept.
pub fn after(at: u64) -> Vec<LogLine> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let first = lines.partition_point(|line| line.at <= at);
    lines.range(first..).cloned().collect()
}

/// Keeps events.
pub struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_epoch.as_micros()).unwrap_or_default();
        let mut text = line.sentence();
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        let line = LogLine {
            at: now,
            level: Level::of(*event.metadata().level()),
            receiver: line.field("receiver"),
            destination: line.field("destination"),
            text,
        };
        keep(&mut LINES.lock().unwrap_or_else(PoisonError::into_inner), line);
    }
}

fn keep(lines: &mut VecDeque<LogLine>, mut line: LogLine) {
    // The clock may stand, or be set back; the order stays.
    line.at = line.at.max(lines.back().map_or(0, |last| last.at + 1));
    if lines.len() >= MAX_LINES {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_in_order_whatever_the_clock_does() {
        let line = |at: u64| LogLine {
            at,
            level: Level::Info,
            receiver: None,
            destination: None,
            text: String::new(),
        };
        let mut lines = VecDeque::new();
        for at in [10, 10, 3, 20] {
            keep(&mut lines, line(at));
        }
        assert_eq!(lines.iter().map(|line| line.at).collect::<Vec<_>>(), [10, 11, 12, 20]);
        for _ in 0..MAX_LINES {
            keep(&mut lines, line(0));
        }
        assert_eq!((lines.len(), lines.front().unwrap().at), (MAX_LINES, 21));
    }
}
