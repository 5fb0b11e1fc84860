//! Lines for people: time, level, sentence.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::line::Line;

/// Writes an event as one line, in colours on a terminal.
pub struct Console(pub SystemTime);

impl<S, N> FormatEvent<S, N> for Console
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        self.0.format_time(&mut writer)?;
        let (level, sentence) = (event.metadata().level(), Line::of(event).sentence());
        match writer.has_ansi_escapes() {
            true => writeln!(writer, " \x1b[{}m{level:>5}\x1b[0m {sentence}", colour(level)),
            false => writeln!(writer, " {level:>5} {sentence}"),
        }
    }
}

/// Number of the level's colour: red, yellow, green, blue, purple.
fn colour(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}
