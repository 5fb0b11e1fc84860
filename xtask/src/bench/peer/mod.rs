//! Programs that operators use for the same: how each is configured and started.
//!
//! Each is given what its documentation says of busy networks, and the largest buffers.

pub mod nfcapd;
mod nginx;
mod pmacct;
mod template;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

use super::case::Route;
use super::side::Task;

/// A program to be compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Nfacctd,
    Nfcapd,
    Nginx,
    /// Anything else, by a command.
    Template(String),
}

/// Programs of packages.
const PACKAGED: [(&str, Kind); 3] =
    [("nfacctd", Kind::Nfacctd), ("nfcapd", Kind::Nfcapd), ("nginx", Kind::Nginx)];

/// What stands for a peer on the command line: `NAME=COMMAND`.
impl FromStr for Peer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, command) = text.split_once('=').context("not NAME=COMMAND")?;
        let listens = command.contains("{listen}") || command.contains("{port}");
        ensure!(!name.is_empty() && listens, "no name, or neither {{listen}} nor {{port}}");
        Ok(Self { name: name.to_owned(), kind: Kind::Template(command.to_owned()) })
    }
}

/// The peers of packages, if wanted, and those that the command line adds. What is missing is said.
pub fn present(added: &[Peer], packaged: bool) -> Vec<Peer> {
    let mut present = Vec::new();
    for (name, kind) in PACKAGED.into_iter().filter(|_| packaged) {
        let peer = Peer { name: name.to_owned(), kind };
        match peer.version() {
            Ok(version) => {
                println!("{name}: {version}");
                present.push(peer);
            }
            Err(_) => println!("{name}: left out, `cargo xtask setup --peers` installs it"),
        }
    }
    present.extend(added.iter().cloned());
    present
}

impl Peer {
    /// Whether it has a way to do this at all.
    pub fn does(&self, route: &Route) -> bool {
        match self.kind {
            Kind::Nfacctd => pmacct::does(route),
            Kind::Nfcapd => nfcapd::does(route),
            Kind::Nginx => nginx::does(route),
            Kind::Template(_) => true,
        }
    }

    /// Its program with arguments for this; configuration files go to the task's directory.
    pub fn command(&self, task: &Task<'_>) -> Result<Vec<OsString>> {
        match &self.kind {
            Kind::Nfacctd => pmacct::command(task),
            Kind::Nfcapd => nfcapd::command(task),
            Kind::Nginx => nginx::command(task),
            Kind::Template(command) => Ok(template::command(command, task)),
        }
    }

    /// What it says of itself: the first line that has a number.
    fn version(&self) -> Result<String> {
        let option = if self.kind == Kind::Nginx { "-v" } else { "-V" };
        let output = Command::new(&self.name).arg(option).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find(|line| line.contains(char::is_numeric));
        Ok(line.unwrap_or_default().trim().to_owned())
    }
}

/// A configuration file of a peer.
fn write(directory: &Path, name: &str, text: &str) -> Result<OsString> {
    let path = directory.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path.into())
}

/// Addresses in a list.
fn list(destinations: &[std::net::SocketAddr], separator: &str) -> String {
    destinations.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
