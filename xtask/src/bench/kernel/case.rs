//! What is measured, and the figures to reach.

use serde::{Serialize, Serializer};

use crate::bench::case::Route;
use crate::bench::message::Sizes;
use crate::bench::peer::Peer;
use crate::bench::{Mode, Protocol};

/// What a packet meets in the balancer's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A program that drops everything: shows what the generator can do.
    Drop,
    /// A program that redirects, or copies, and looks at nothing.
    Bare,
    /// No program: the kernel forwards by its routing table, to one collector.
    Forward,
    /// The balancer's programs.
    Kernel,
    /// The balancer without them.
    Userspace,
    Peer(Peer),
}

impl Side {
    /// As in the table.
    pub fn name(&self) -> &str {
        match self {
            Self::Drop => "drop",
            Self::Bare => "bare",
            Self::Forward => "forward",
            Self::Kernel => "balancer",
            Self::Userspace => "userspace",
            Self::Peer(peer) => &peer.name,
        }
    }

    /// Whether every packet goes through a process.
    pub fn is_process(&self) -> bool {
        matches!(self, Self::Userspace | Self::Peer(_))
    }
}

impl Serialize for Side {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A comparison of the sides.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub mode: Mode,
    pub destinations: u16,
    pub sizes: Sizes,
    /// Least ratio to the bare program's figure.
    pub of_bare: f64,
    /// Least ratio to userspace's, where it is compared.
    pub of_userspace: Option<f64>,
    /// Least ratio to the best peer's.
    pub of_peer: f64,
}

impl Case {
    /// How often a packet leaves.
    pub fn copies(&self) -> u32 {
        match self.mode {
            Mode::All => self.destinations.into(),
            Mode::RoundRobin => 1,
        }
    }

    /// The sides that are compared.
    pub fn sides(&self, peers: &[Peer]) -> Vec<Side> {
        let mut sides = match self.of_userspace {
            Some(_) => vec![Side::Drop, Side::Bare, Side::Forward, Side::Kernel, Side::Userspace],
            None => vec![Side::Bare, Side::Kernel],
        };
        let route = self.route();
        sides.extend(peers.iter().filter(|peer| peer.does(&route)).cloned().map(Side::Peer));
        sides
    }

    /// The way of its messages through a process.
    pub fn route(&self) -> Route {
        let destinations = self.destinations.into();
        let base = Route::base(Protocol::Udp, Protocol::Udp, self.mode);
        Route { destinations, sizes: self.sizes, ..base }
    }
}

/// The cases.
pub const CASES: [Case; 4] = [
    round_robin("kernel-rr", Sizes::FULL),
    round_robin("kernel-rr-varied", Sizes::Varied),
    all("kernel-all-2", 2),
    all("kernel-all-4", 4),
];

const fn round_robin(name: &'static str, sizes: Sizes) -> Case {
    let mode = Mode::RoundRobin;
    Case {
        name,
        mode,
        destinations: 2,
        sizes,
        of_bare: 0.75,
        of_userspace: Some(8.0),
        of_peer: 10.0,
    }
}

const fn all(name: &'static str, destinations: u16) -> Case {
    let (mode, sizes) = (Mode::All, Sizes::FULL);
    Case { name, mode, destinations, sizes, of_bare: 0.9, of_userspace: None, of_peer: 8.0 }
}
