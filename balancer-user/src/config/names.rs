//! Values that are one word out of a few, written in any letter case.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// `PORT_TYPE`, `BALANCER_SUB_PROTO`: transport protocol of an input or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// `BALANCER`: what happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// `All`: every destination gets it.
    All,
    /// `Disabled`: it is recorded.
    Disabled,
    /// `RoundRobin`: the next available destination gets it.
    RoundRobin,
}

/// `ACCEL`: whether the kernel path is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accel {
    /// Where it can be.
    Auto,
    /// Never.
    Off,
    /// Refuse to start without.
    Require,
}

/// `SPOOL_FULL`: what happens when no more messages can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpoolFull {
    /// The oldest are dropped and counted.
    DropOldest,
    /// The TCP exporter is not read any more.
    Hold,
}

/// A text is none of the words that its type knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the known words")]
pub struct UnknownName;

/// Gives an enum the words of the file: one list for reading, writing and documentation.
macro_rules! named {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every word, as the documentation writes it.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The word as the documentation writes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                $(if text.eq_ignore_ascii_case($name) {
                    return Ok(Self::$variant);
                })+
                Err(UnknownName)
            }
        }
    };
}

named!(Protocol { Tcp => "tcp", Udp => "udp" });
named!(Mode { Disabled => "Disabled", RoundRobin => "RoundRobin", All => "All" });
named!(Accel { Auto => "auto", Off => "off", Require => "require" });
named!(SpoolFull { DropOldest => "drop-oldest", Hold => "hold" });

/// `Enabled` or `Disabled`, `on` or `off`: a `bool` with the words of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    Enabled,
    Disabled,
    On,
    Off,
}

named!(Switch { Enabled => "Enabled", Disabled => "Disabled", On => "on", Off => "off" });

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        matches!(switch, Switch::Enabled | Switch::On)
    }
}
