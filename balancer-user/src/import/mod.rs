//! Other programs' configurations as an `.env` file.
//!
//! Each program has a reader, which says what receivers it wants and, in words, what has no place in
//! them. Nothing is left out in silence.

mod ipfixcol2;
mod pmacct;
mod samplicator;

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::config::{Change, EditError, Mode, Protocol, ReceiverId, Stream, edit};

pub use ipfixcol2::read as ipfixcol2;
pub use pmacct::read as pmacct;
pub use samplicator::{Samplicate, read as samplicator};

/// Why nothing can be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// It says nothing that this program could do.
    #[error("nothing to import: {0}")]
    Nothing(&'static str),
    /// A value does not fit into an `.env` file.
    #[error(transparent)]
    Unwritable(#[from] EditError),
}

/// One receiver that a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it comes from, for a comment.
    origin: String,
    /// Names of parameters and their values.
    settings: Vec<(&'static str, String)>,
    /// What could not be carried over.
    notes: Vec<String>,
}

/// What a configuration comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The text of an `.env` file.
    pub env: String,
    /// What could not be carried over; it stands in comments of the text, too.
    pub notes: Vec<String>,
}

/// Writes the receivers as those of `stream`, their indices counted from `first`.
///
/// # Errors
///
/// [`ImportError::Unwritable`].
pub fn write(receivers: &[Wanted], stream: Stream, first: u32) -> Result<Imported, ImportError> {
    let (mut env, mut notes) = (String::new(), Vec::new());
    for (index, wanted) in (first..).zip(receivers) {
        let id = ReceiverId { stream, index, subreceiver: None };
        let set = |(name, value): &(&str, String)| Change::Set {
            key: format!("IPFIX_{stream}_{name}[{index}]"),
            value: value.clone(),
        };
        let changes: Vec<_> = wanted.settings.iter().map(set).collect();
        let keys = edit(b"", &changes)?;
        env.push_str(if env.is_empty() { "" } else { "\n" });
        env.push_str(&format!("# {}\n", wanted.origin));
        for note in &wanted.notes {
            env.push_str(&format!("# Not carried over: {note}\n"));
            notes.push(format!("{id}: {note}"));
        }
        env.push_str(&String::from_utf8_lossy(&keys));
    }
    Ok(Imported { env, notes })
}

impl Wanted {
    fn new(origin: impl Into<String>) -> Wanted {
        // One line, whatever the other program's file says.
        let origin = origin.into().split_whitespace().collect::<Vec<_>>().join(" ");
        Wanted { origin, settings: Vec::new(), notes: Vec::new() }
    }

    fn set(&mut self, name: &'static str, value: impl ToString) {
        self.settings.push((name, value.to_string()));
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into().split_whitespace().collect::<Vec<_>>().join(" "));
    }

    fn listen(&mut self, protocol: Protocol, port: &str, bind: Option<&str>) {
        self.set("PORT_TYPE", protocol);
        self.set("PORT", port);
        if let Some(bind) = bind {
            self.set("BIND", bind);
        }
    }

    fn balance(&mut self, mode: Mode, protocol: Protocol, destinations: &[String]) {
        self.set("BALANCER", mode);
        self.set("BALANCER_SUB", destinations.join(", "));
        self.set("BALANCER_SUB_PROTO", protocol);
    }
}

/// `host/port`, as `BALANCER_SUB` has it.
fn destination(host: &str, port: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]/{port}"),
        _ => format!("{host}/{port}"),
    }
}

fn read_file(path: &Path) -> Result<String, ImportError> {
    let bytes =
        std::fs::read(path).map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
