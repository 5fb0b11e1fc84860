//! The checks by name.

use std::fmt;

use serde::Serialize;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Check {
    /// `configuration`.
    Configuration,
    /// `daemon`.
    Daemon,
    /// `drops`.
    Drops,
    /// `destination`.
    Destination,
    /// `recording`.
    Recording,
    /// `kernel`.
    Kernel,
    /// `capabilities`.
    Capabilities,
    /// `receive buffer`.
    ReceiveBuffer,
    /// `open files`.
    OpenFiles,
    /// `clock`.
    Clock,
    /// `CPUs`.
    Cpus,
    /// `interface`.
    Interface,
    /// `neighbour`.
    Neighbour,
    /// `route`.
    Route,
    /// `port`.
    Port,
    /// `collector`.
    Collector,
    /// `disk`.
    Disk,
}

impl Check {
    /// Every check, in the order of the documentation.
    pub const ALL: [Check; 17] = [
        Check::Configuration,
        Check::Daemon,
        Check::Drops,
        Check::Destination,
        Check::Recording,
        Check::Kernel,
        Check::Capabilities,
        Check::ReceiveBuffer,
        Check::OpenFiles,
        Check::Clock,
        Check::Cpus,
        Check::Interface,
        Check::Neighbour,
        Check::Route,
        Check::Port,
        Check::Collector,
        Check::Disk,
    ];

    /// The name in the output.
    pub fn as_str(self) -> &'static str {
        match self {
            Check::Configuration => "configuration",
            Check::Daemon => "daemon",
            Check::Drops => "drops",
            Check::Destination => "destination",
            Check::Recording => "recording",
            Check::Kernel => "kernel",
            Check::Capabilities => "capabilities",
            Check::ReceiveBuffer => "receive buffer",
            Check::OpenFiles => "open files",
            Check::Clock => "clock",
            Check::Cpus => "CPUs",
            Check::Interface => "interface",
            Check::Neighbour => "neighbour",
            Check::Route => "route",
            Check::Port => "port",
            Check::Collector => "collector",
            Check::Disk => "disk",
        }
    }

    /// What is looked at, and when that is not as it should be.
    pub fn about(self) -> &'static str {
        match self {
            Check::Configuration => "The file can be read and has no faults.",
            Check::Daemon => "A daemon runs with this file, in the version that is installed.",
            Check::Drops => "What it has dropped since it was started, by reason: see below.",
            Check::Destination => "Connections to collectors that are down, and why.",
            Check::Recording => "Whether the disk takes the dump files.",
            Check::Kernel => "The kernel has what the kernel path needs.",
            Check::Capabilities => "The daemon may use the kernel path, and ports below 1024.",
            Check::ReceiveBuffer => "Bursts over UDP find room (net.core.rmem_max).",
            Check::OpenFiles => {
                "Exporters find room: each takes a file, and one more for each destination."
            }
            Check::Clock => {
                "A service keeps the clock right, by which dump files are named and rotated."
            }
            Check::Cpus => "No two receivers are pinned to the same CPU.",
            Check::Interface => {
                "Where programs of the kernel path run at each interface: native XDP, or TC."
            }
            Check::Neighbour => "Collectors answer ARP (IPv4).",
            Check::Route => "There is a route to every destination, and names can be resolved.",
            Check::Port => "The receivers' ports are free. Without a daemon only.",
            Check::Collector => "Collectors over TCP accept a connection. Without a daemon only.",
            Check::Disk => "Dump files can be written, and there is room for them.",
        }
    }
}

impl From<Check> for &'static str {
    fn from(check: Check) -> &'static str {
        check.as_str()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
