//! Why there is no kernel path.

use std::io;

use aya::{
    EbpfError,
    maps::{MapError, xdp::XdpMapError},
    programs::ProgramError,
};
use thiserror::Error;

use super::gates::Gate;
use crate::route::NetlinkError;

/// Lines of the verifier's log that are told: the last ones say what it did not accept.
const LOG_LINES: usize = 8;

/// What kept the kernel path from being set up.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Another kind of machine.
    #[error("the kernel path is made for x86-64")]
    Architecture,
    /// The pins' file system.
    #[error("can't use /sys/fs/bpf for pins: {0}")]
    Pins(#[source] io::Error),
    /// With a look at what may be in the way.
    #[error("{cause} (gates: {})", list(gates))]
    Gates {
        /// What went wrong.
        #[source]
        cause: Box<LoadError>,
        /// What may be in the way.
        gates: Vec<Gate>,
    },
    /// The object.
    #[error("the kernel refuses the maps: {0}")]
    Object(#[from] EbpfError),
    /// A map.
    #[error("a map can't be used: {0}")]
    Map(#[from] MapError),
    /// A map of devices or CPUs.
    #[error("a map of devices or CPUs can't be used: {0}")]
    Target(#[from] XdpMapError),
    /// A map's memory.
    #[error("a map's memory can't be shared: {0}")]
    Shared(#[from] io::Error),
    /// The object is not the one that this daemon knows.
    #[error("the object has no {0}")]
    Missing(&'static str),
    /// A program.
    #[error("the kernel refuses the program {name}: {}", explain(source))]
    Program {
        /// Its name.
        name: &'static str,
        /// What the kernel says.
        source: ProgramError,
    },
    /// Netlink.
    #[error("can't follow routes and neighbours: {0}")]
    Netlink(#[from] NetlinkError),
}

fn list(gates: &[Gate]) -> String {
    gates.iter().map(Gate::to_string).collect::<Vec<_>>().join(", ")
}

/// What an error says, with the end of the verifier's log.
pub fn explain(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return std::error::Error::source(error)
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    let end = lines.get(from..).unwrap_or_default().join("; ");
    match end.is_empty() {
        true => io_error.to_string(),
        false => format!("{io_error}; the verifier's last lines: {end}"),
    }
}
