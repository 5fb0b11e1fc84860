//! The receivers of the daemon, and where their collectors are.

use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;

/// Hosts with a collector of each receiver.
pub const SITES: usize = 3;
/// The host whose collectors are destinations only for the time of a reload.
pub const SPARE: usize = 2;
/// Exporters of each receiver.
pub const EXPORTERS: usize = 2;

/// The kernel path, where there can be one.
const KERNEL: &str = "require";

/// One receiver.
pub struct Wiring {
    /// None: it records.
    pub mode: Option<Mode>,
    pub input: Protocol,
    pub output: Protocol,
    /// What `ACCEL` is.
    pub accel: &'static str,
}

/// `FULLFLOW[0]` and so on.
pub const RECEIVERS: [Wiring; 9] = [
    wiring(Some(Mode::All), Tcp, Tcp, "off"),
    wiring(Some(Mode::RoundRobin), Tcp, Tcp, "off"),
    wiring(Some(Mode::RoundRobin), Udp, Udp, "off"),
    wiring(Some(Mode::RoundRobin), Udp, Udp, KERNEL),
    wiring(Some(Mode::All), Udp, Udp, KERNEL),
    wiring(Some(Mode::All), Tcp, Udp, "off"),
    wiring(Some(Mode::RoundRobin), Udp, Tcp, "off"),
    wiring(Some(Mode::All), Udp, Tcp, "off"),
    wiring(None, Tcp, Tcp, "off"),
];

const fn wiring(
    mode: Option<Mode>,
    input: Protocol,
    output: Protocol,
    accel: &'static str,
) -> Wiring {
    Wiring { mode, input, output, accel }
}
