//! Where log lines go: the journal with fields, a terminal, or JSON for other programs.
//!
//! All lines have the same fields: `receiver`, `destination`, `exporter`, `interface`, `file`, and
//! `reason` from [`common::reason`]. `left_out` counts lines of the same kind that a
//! [`RateLimit`](crate::rate_limit::RateLimit) has kept back since the one before.

mod console;
mod journal;
mod line;
mod recent;

use std::{env, fmt, io::IsTerminal, os::fd::AsFd, sync::OnceLock};

use anyhow::Context;
use clap::ValueEnum;
use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::time::SystemTime, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};
use utoipa::ToSchema;

use console::Console;
use journal::Journal;
use recent::Recent;
pub use recent::{LogLine, MAX_LINES, after};

/// The name of the lines in the journal: `journalctl -t`, or `journalctl | grep`.
pub const IDENTIFIER: &str = "IPFIXcol2";
/// The environment variable with the level at start.
const VARIABLE: &str = "IPFIX_BALANCER_LOG";

/// In which form log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// `journald` where standard error is connected with the journal, else `console`.
    #[default]
    Auto,
    /// To the journal, with fields: RECEIVER, DESTINATION, EXPORTER, REASON, ...
    Journald,
    /// Lines for people, to standard error.
    Console,
    /// One JSON object a line, to standard error.
    Json,
}

/// Which lines are written: those of this level, and more urgent ones. The most urgent is the least.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something can't be done.
    Error,
    /// Something is lost, or may be soon.
    Warn,
    /// What happens, without what is wrong.
    Info,
    /// How it comes to that.
    Debug,
    /// Every step.
    Trace,
}

impl Level {
    fn of(level: tracing::Level) -> Level {
        match level {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        })
    }
}

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log, in this form.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env(VARIABLE)
        .unwrap_or_else(|_| EnvFilter::new(Level::Info.to_string()));
    let (filter, handle) = reload::Layer::new(filter);
    // A second subscriber in the same process is refused, and the first one stays.
    let layers = tracing_subscriber::registry().with(filter).with(Recent).with(output(format));
    let _ = layers.try_init();
    let _ = FILTER.set(handle);
}

/// Changes which lines are written, from now on.
///
/// # Errors
///
/// Nothing is logged at all.
pub fn set_level(level: Level) -> anyhow::Result<()> {
    let filter = FILTER.get().context("nothing is logged")?;
    Ok(filter.reload(EnvFilter::new(level.to_string()))?)
}

/// Which lines are written; as in `IPFIX_BALANCER_LOG`, if that is still in force.
pub fn level() -> String {
    let filter = FILTER.get().and_then(|handle| handle.with_current(EnvFilter::to_string).ok());
    filter.unwrap_or_default()
}

fn output<S>(format: Format) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let journald = match format {
        Format::Auto => is_journal(env::var("JOURNAL_STREAM").ok().as_deref(), std::io::stderr()),
        Format::Journald => true,
        Format::Console | Format::Json => false,
    };
    if journald && let Ok(journal) = Journal::open(journal::SOCKET) {
        return journal.boxed();
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if format == Format::Json {
        return lines.json().flatten_event(true).with_target(false).boxed();
    }
    let colour = std::io::stderr().is_terminal();
    lines.with_ansi(colour).event_format(Console(SystemTime)).boxed()
}

/// Whether `JOURNAL_STREAM`, device and inode of the journal's stream, names this file: the variable
/// is inherited by programs whose output goes elsewhere.
fn is_journal(variable: Option<&str>, file: impl AsFd) -> bool {
    let named = variable.and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    let stat = fstat(file).ok();
    matches!((named, stat), (Some(named), Some(stat)) if named == (stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_its_stream() {
        let file = tempfile::tempfile().unwrap();
        let stat = fstat(&file).unwrap();
        let (device, inode) = (stat.st_dev, stat.st_ino);
        assert!(is_journal(Some(&format!("{device}:{inode}")), &file));
        assert!(!is_journal(Some(&format!("{device}:{}", inode + 1)), &file));
        assert!(!is_journal(Some("8:"), &file));
        assert!(!is_journal(None, &file));
    }
}
