//! What is measured, and the figures to reach.

use serde::Serialize;

use crate::bench::Mode;
use crate::bench::message::Sizes;

/// What a packet meets in the balancer's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
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
    pub fn sides(&self) -> &'static [Side] {
        match self.of_userspace {
            Some(_) => &[Side::Drop, Side::Bare, Side::Forward, Side::Kernel, Side::Userspace],
            None => &[Side::Bare, Side::Kernel],
        }
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
    Case { name, mode, destinations: 2, sizes, of_bare: 0.70, of_userspace: Some(8.0) }
}

const fn all(name: &'static str, destinations: u16) -> Case {
    let (mode, sizes) = (Mode::All, Sizes::FULL);
    Case { name, mode, destinations, sizes, of_bare: 0.9, of_userspace: None }
}
