//! The kernel path: UDP between established sessions, steered by eBPF programs.
//!
//! The control thread has a [`KernelPath`]: it loads and attaches the programs, tells them of
//! receivers and of the ways to destinations, and reads what they have counted. A handler has an
//! [`Offload`], by which it puts its sessions into the maps, as [`Session`]s.

mod address;
mod devices;
mod egress;
mod error;
mod gates;
mod maps;
pub mod object;
mod path;
mod pins;
mod programs;
mod session;
mod shared;
mod status;
mod ways;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use common::maps::place;

use maps::Maps;

pub use error::LoadError;
#[cfg(test)]
pub use maps::NAMES as MAPS;
pub use path::KernelPath;
pub use pins::{Pins, mount_bpf_fs};
pub use session::{Orphan, Session};
pub use status::{OLDEST, PathStatus, Pinned};

/// Where the balancer of this configuration file has its pins, if it has any.
pub fn pins(config: &Path) -> Option<PathBuf> {
    let directory = Pins::of(config).directory();
    directory.exists().then_some(directory)
}

/// What the balancer of this configuration file has in the kernel, if anything.
pub fn pinned(config: &Path) -> Option<Pinned> {
    Pins::of(config).look()
}

/// Takes away everything that the balancer of this configuration file has in the kernel. True where
/// there was something.
pub fn purge(config: &Path) -> io::Result<bool> {
    Pins::of(config).purge()
}

/// A receiver in the kernel path, as its handler works with it.
pub struct Offload {
    maps: Arc<Maps>,
    /// Its index in `RECEIVERS`.
    receiver: u32,
    /// Where it listens.
    port: u16,
}

impl Offload {
    /// Whether the kernel path sends to the same destinations as a session's sockets do.
    pub fn leads_to(&self, collectors: &[Option<SocketAddr>]) -> bool {
        let Some(row) = self.maps.receivers.load(self.receiver) else { return false };
        let known = (0..).zip(collectors).all(|(destination, collector)| {
            let bit = row.places.checked_shr(destination).unwrap_or(0) & 1;
            let entry = self.maps.destinations.load(place(self.receiver, destination, bit));
            let there = entry.map(|entry| address::socket(entry.address, entry.port));
            // A destination that was never up gets no turn; in All it keeps everything here.
            collector.is_none_or(|collector| there == Some(collector))
        });
        known && usize::try_from(row.destinations).is_ok_and(|count| count == collectors.len())
    }

    /// Whether the neighbour on the way to the `nth` destination does not answer.
    pub fn is_unanswered(&self, nth: usize) -> bool {
        let place = usize::try_from(self.receiver).ok();
        let place = place.and_then(|receiver| self.maps.unanswered.get(receiver));
        let (Some(place), Ok(nth)) = (place, u32::try_from(nth)) else { return false };
        place.load(Relaxed).checked_shr(nth).unwrap_or(0) & 1 != 0
    }

    /// The sessions that a daemon before this one has left to the kernel path.
    pub fn orphans(&self) -> Vec<Orphan> {
        session::orphans(&self.maps, &self.maps.index(), self.receiver)
    }
}
