//! The `.env` file: from text to checked [`Receiver`]s, or to the list of all its faults.
//!
//! A text goes through these stages; each one reports what is wrong and goes on:
//! `text` (lines, quotes, comments) → `entries` (keys) → `receivers` (values) → `cross` and `loops`
//! (values against each other and against the machine). `params` and `streams` are the tables that
//! all of them follow.

mod check;
mod cross;
mod destinations;
mod edit;
mod entries;
mod env_file;
mod environment;
mod fault;
mod file;
mod form;
mod instance;
mod launched;
mod loops;
mod manual;
mod markdown;
mod names;
mod nearest;
mod params;
mod receivers;
mod streams;
mod table;
mod text;
mod types;
mod veil;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use fault::Findings;
use receivers::{Candidates, Setting};

pub use check::{Report, check};
pub use edit::{Change, EditError, edit};
pub use env_file::env_file;
pub use environment::Environment;
pub use fault::{Fault, Faults, Note, Reason};
pub use file::{ReplaceError, Stored, previous, read, replace};
pub use form::{Field, Finding, Form, Input, ReceiverForm, blank, form};
pub use instance::instance;
pub use manual::manual;
pub use markdown::markdown;
pub use names::{Accel, Mode, Protocol, SpoolFull, UnknownName};
pub use params::{MAX_COPIES, MAX_DESTINATIONS, MAX_INDEX};
pub use streams::{Stream, StreamInfo};
pub use types::{Config, Destination, Host, Limits, Receiver, ReceiverId, Record, Spool, Ui};
pub use veil::veil;

/// Where the file is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/var/fast_ipfix_balancer/backend/.env";

/// Permission bit: everyone may write.
const WORLD_WRITABLE: u32 = 0o002;

/// A file without faults.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What it says.
    pub config: Config,
    /// What is allowed, but may not be what the operator wanted.
    pub notes: Vec<Note>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Something is wrong with what the file says.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Config {
    /// Reads and checks a file against this machine.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] when it can't be read, [`LoadError::Faults`] with everything that is wrong
    /// with it.
    pub fn load(path: &Path) -> Result<Checked, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        Ok(assess_file(path).map_err(io)?.into_checked()?)
    }

    /// Checks a text. `path` is only named in messages.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Checked, Faults> {
        assess(path, text, environment).into_checked()
    }
}

/// What a file says of the web interface, whatever else is wrong with it: it may be what puts it right.
///
/// # Errors
///
/// What the system says, but for a file that is not there.
pub fn ui(path: &Path) -> io::Result<Ui> {
    let text = String::from_utf8_lossy(&read(path)?.bytes).into_owned();
    Ok(assess(path, &text, &Environment::gather()).config.ui)
}

/// Everything that can be said about a text, right or wrong.
struct Assessment {
    /// Of use only without faults.
    config: Config,
    /// Global parameters.
    globals: Vec<Setting>,
    /// Parameters in effect, for each receiver of `config`.
    receivers: Vec<Vec<Setting>>,
    notes: Vec<Note>,
    faults: Vec<Fault>,
}

impl Assessment {
    fn into_checked(self) -> Result<Checked, Faults> {
        let Self { config, notes, faults, .. } = self;
        if faults.is_empty() {
            Ok(Checked { config, notes })
        } else {
            Err(Faults { faults, notes })
        }
    }
}

fn assess_file(path: &Path) -> io::Result<Assessment> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    // Comments may be in an old encoding; a value that is gets a fault of its own.
    let text = String::from_utf8_lossy(&bytes);
    let mut assessment = assess(path, &text, &Environment::gather());
    if file.metadata()?.permissions().mode() & WORLD_WRITABLE != 0 {
        let text = "everyone may write to this file: take that right away (chmod o-w)";
        let (file, key, text) = (path.to_owned(), String::new(), text.to_owned());
        assessment.notes.insert(0, Note { file, line: None, key, text });
    }
    Ok(assessment)
}

fn assess(path: &Path, text: &str, environment: &Environment) -> Assessment {
    let (candidates, Findings { faults, notes, .. }) = examine(path, text, environment);
    let receivers = candidates.receivers.iter();
    let configured: Vec<_> = receivers.clone().map(|c| Arc::new(c.receiver().clone())).collect();
    Assessment {
        config: Config {
            launched: launched::launched(&configured, environment),
            receivers: configured,
            ui: Ui {
                listen: candidates.globals.ui_listen,
                dir: candidates.globals.ui_dir,
                identity: candidates.globals.ui_cert.zip(candidates.globals.ui_key),
            },
            metrics_listen: candidates.globals.metrics_listen,
            control_group: candidates.globals.control_group,
        },
        globals: candidates.global_settings,
        receivers: receivers.map(|candidate| candidate.settings()).collect(),
        notes,
        faults,
    }
}

/// Reads and checks a text; what is found is in the order of its lines.
fn examine(path: &Path, text: &str, environment: &Environment) -> (Candidates, Findings) {
    let mut findings = Findings::new(path);
    let entries = entries::read(text, &mut findings);
    let mut candidates = receivers::collect(entries, &mut findings);
    number_dpis(&mut candidates);
    cross::check(&candidates, environment, &mut findings);
    if candidates.receivers.is_empty() {
        findings.note_file("no receiver: no key of a stream in the file");
    }
    findings.faults.sort_by_key(|fault| fault.line);
    findings.notes.sort_by_key(|note| note.line);
    (candidates, findings)
}

/// Replaces `DPI_ID` -1 by the position in the stream's list. Where subreceivers are launched it
/// stands for the position of each.
fn number_dpis(candidates: &mut Candidates) {
    for stream in Stream::ALL {
        let receivers = candidates.receivers.iter_mut().map(|c| &mut c.draft.receiver);
        for (position, receiver) in (0..).zip(receivers.filter(|r| r.id.stream == stream)) {
            if receiver.record.dpi_id == -1 && !receiver.auto {
                receiver.record.dpi_id = position;
            }
        }
    }
}
