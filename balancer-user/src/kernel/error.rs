//! Why there is no kernel path.

use std::{error::Error, io};

use aya::{EbpfError, programs::ProgramError};
use common::maps::MAX_RECEIVERS;
use thiserror::Error;

use super::gates::Gate;
use crate::route::NetlinkError;

/// Lines of the verifier's log that are told: the last ones say what it did not accept.
const LOG_LINES: usize = 8;

/// What kept the kernel path from being set up, down to the error number. As each tells all of its
/// causes, none has a source: that would be told twice.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Another kind of machine.
    #[error("the kernel path is made for x86-64")]
    Architecture,
    /// The pins' file system.
    #[error("can't use /sys/fs/bpf for pins: {}", explain(.0))]
    Pins(io::Error),
    /// With a look at what may be in the way.
    #[error("{cause} (gates, a CLOSED one has to be opened: {})", list(gates))]
    Gates {
        /// What went wrong.
        cause: Box<LoadError>,
        /// What may be in the way.
        gates: Vec<Gate>,
    },
    /// The object.
    #[error("the kernel refuses the maps: {}", explain(.0))]
    Object(EbpfError),
    /// A map.
    #[error("the map {name} can't be used: {}", explain(&**cause))]
    Map {
        /// Its name.
        name: &'static str,
        /// What went wrong with it.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// More receivers than there are places for.
    #[error("the kernel path serves {MAX_RECEIVERS} receivers, and all places are taken")]
    Full,
    /// The number of CPUs.
    #[error("can't read the CPUs in {0}: {1}")]
    Cpus(&'static str, io::Error),
    /// The object is not the one that this daemon knows.
    #[error("the object has no {0}")]
    Missing(&'static str),
    /// A program.
    #[error("the kernel refuses the program {name}: {}", explain(cause))]
    Program {
        /// Its name.
        name: &'static str,
        /// What the kernel says.
        cause: ProgramError,
    },
    /// Netlink.
    #[error("can't follow routes and neighbours: {}", explain(.0))]
    Netlink(NetlinkError),
}

impl LoadError {
    /// Of the map that is called `name`.
    pub fn map<E: Error + Send + Sync + 'static>(
        name: &'static str,
    ) -> impl FnOnce(E) -> LoadError {
        move |cause| LoadError::Map { name, cause: Box::new(cause) }
    }
}

fn list(gates: &[Gate]) -> String {
    gates.iter().map(Gate::to_string).collect::<Vec<_>>().join(", ")
}

/// What an error says, and each of its causes that it does not tell itself; of the verifier's log
/// the end.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = describe(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let more = describe(cause);
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

fn describe(error: &(dyn Error + 'static)) -> String {
    let Some(ProgramError::LoadError { io_error, verifier_log }) = error.downcast_ref() else {
        return error.to_string();
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

#[cfg(test)]
mod tests {
    use aya::{maps::MapError, sys::SyscallError};
    use aya_obj::VerifierLog;
    use nix::errno::Errno;

    use super::*;

    const DENIED: &str = "Operation not permitted (os error 1)";

    fn denied() -> io::Error {
        Errno::EPERM.into()
    }

    fn refused() -> SyscallError {
        SyscallError { call: "bpf", io_error: denied() }
    }

    #[test]
    fn every_error_tells_each_of_its_causes_once() {
        let create = MapError::CreateError { name: "FLOWS".to_owned(), io_error: denied() };
        let program = |cause| LoadError::Program { name: "ipfix_tc", cause };
        let log = VerifierLog::new("1: r0 = 0\n\n2: exit\n".to_owned());
        let unloaded = ProgramError::LoadError { io_error: denied(), verifier_log: log };
        let lines = "the verifier's last lines: 1: r0 = 0; 2: exit";
        let errors = [
            (LoadError::Pins(denied()), format!("can't use /sys/fs/bpf for pins: {DENIED}")),
            (
                LoadError::Object(create.into()),
                format!(
                    "the kernel refuses the maps: map error: failed to create map `FLOWS`: {DENIED}"
                ),
            ),
            (
                LoadError::map("CPUS")(MapError::from(refused())),
                format!("the map CPUS can't be used: `bpf` failed: {DENIED}"),
            ),
            (
                LoadError::Cpus("/sys/x", denied()),
                format!("can't read the CPUs in /sys/x: {DENIED}"),
            ),
            (
                program(refused().into()),
                format!("the kernel refuses the program ipfix_tc: `bpf` failed: {DENIED}"),
            ),
            (
                program(unloaded),
                format!("the kernel refuses the program ipfix_tc: {DENIED}; {lines}"),
            ),
            (
                LoadError::Netlink(NetlinkError::Open(denied())),
                format!(
                    "can't follow routes and neighbours: can't open a netlink socket: {DENIED}"
                ),
            ),
        ];
        for (error, text) in errors {
            assert_eq!(error.to_string(), text);
            assert_eq!(format!("{:#}", anyhow::Error::from(error)), text);
        }
    }
}
