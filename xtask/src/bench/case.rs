//! What is measured, and the figures to reach.

use super::message::Sizes;
use super::{Mode, Protocol};

/// The path of the messages in a case.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub input: Protocol,
    pub output: Protocol,
    pub mode: Mode,
    pub sizes: Sizes,
    /// Templates of an exporter, which its messages use in turn.
    pub templates: u16,
    /// Receivers of the balancer; elsewhere there is one.
    pub receivers: u32,
    /// Destinations of each.
    pub destinations: u32,
    /// Exporter sessions, shared out among the receivers.
    pub exporters: u32,
    /// Whether the balancer may use the kernel path.
    pub kernel: bool,
}

/// A comparison of the sides: messages per second at saturation, and what goes with it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub route: Route,
    /// Least ratio of the balancer's rate to the relay's.
    pub of_relay: Option<f64>,
    /// Least ratio to the best peer's. CPU time per message has to be below every peer's then.
    pub of_peer: Option<f64>,
    /// Whether times on the way are measured, at half of the rate.
    pub half: bool,
}

/// Most that the balancer may add to the 99th percentile of the times on the way, in microseconds.
pub const ADDED_P99_US: f64 = 300.0;

/// Memory with many exporters.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub name: &'static str,
    pub route: Route,
    /// Most resident memory, in MiB.
    pub most_mib: f64,
}

use Mode::{All, RoundRobin};
use Protocol::{Tcp, Udp};
use Sizes::{Equal, Variable, Varied};

/// Each dimension by itself, from a base of two destinations, one exporter and full messages.
pub const CASES: [Case; 35] = [
    udp("udp-rr-2", RoundRobin).half(),
    udp("udp-rr-4", RoundRobin).destinations(4),
    udp("udp-rr-2-100b", RoundRobin).sizes(Equal(100)),
    udp("udp-rr-2-500b", RoundRobin).sizes(Equal(500)),
    udp("udp-rr-2-varied", RoundRobin).sizes(Varied).half(),
    udp("udp-rr-2-variable", RoundRobin).sizes(Variable),
    udp("udp-rr-2-64x", RoundRobin).exporters(64),
    udp("udp-rr-2-1000x", RoundRobin).exporters(1000),
    udp("udp-all-2", All).half(),
    udp("udp-all-4", All).destinations(4),
    udp("udp-all-8", All).destinations(8),
    udp("udp-all-2-100b", All).sizes(Equal(100)),
    udp("udp-all-2-500b", All).sizes(Equal(500)),
    udp("udp-all-2-varied", All).sizes(Varied).half(),
    udp("udp-all-2-variable", All).sizes(Variable),
    udp("udp-all-2-64x", All).exporters(64),
    udp("udp-all-2-1000x", All).exporters(1000),
    tcp("tcp-rr-2", RoundRobin).of_relay(0.9).half(),
    tcp("tcp-rr-4", RoundRobin).destinations(4),
    tcp("tcp-rr-2-100b", RoundRobin).sizes(Equal(100)),
    tcp("tcp-rr-2-500b", RoundRobin).sizes(Equal(500)),
    tcp("tcp-rr-2-16000b", RoundRobin).sizes(Equal(16_000)),
    tcp("tcp-rr-2-varied", RoundRobin).sizes(Varied),
    tcp("tcp-rr-2-64x", RoundRobin).exporters(64),
    tcp("tcp-rr-2-1000x", RoundRobin).exporters(1000),
    tcp("tcp-all-2", All).of_relay(0.9).half(),
    tcp("tcp-all-4", All).destinations(4),
    tcp("tcp-all-2-100b", All).sizes(Equal(100)),
    tcp("tcp-all-2-500b", All).sizes(Equal(500)),
    tcp("tcp-all-2-16000b", All).sizes(Equal(16_000)),
    tcp("tcp-all-2-varied", All).sizes(Varied),
    tcp("tcp-all-2-64x", All).exporters(64),
    tcp("tcp-all-2-1000x", All).exporters(1000),
    Case::new("tcp-udp-rr-2", Tcp, Udp, RoundRobin),
    Case::new("udp-tcp-rr-2", Udp, Tcp, RoundRobin),
];

/// The routes on which it is looked at what the collectors get.
pub const STREAMS: [(&str, Route); 6] = [
    ("stream-udp-rr", Route::base(Udp, Udp, RoundRobin)),
    ("stream-udp-all", Route::base(Udp, Udp, All)),
    ("stream-tcp-rr", Route::base(Tcp, Tcp, RoundRobin)),
    ("stream-tcp-all", Route::base(Tcp, Tcp, All)),
    ("stream-tcp-udp-rr", Route::base(Tcp, Udp, RoundRobin)),
    ("stream-udp-tcp-rr", Route::base(Udp, Tcp, RoundRobin)),
];

/// The memory cases.
pub const MEMORY: [Memory; 2] = [memory("memory-tcp", Tcp), memory("memory-udp", Udp)];

const fn memory(name: &'static str, protocol: Protocol) -> Memory {
    let route = Route { exporters: 1000, ..Route::base(protocol, protocol, RoundRobin) };
    Memory { name, route, most_mib: 32.0 }
}

/// Has to beat every peer.
const fn udp(name: &'static str, mode: Mode) -> Case {
    Case { of_peer: Some(of_peer(mode, Sizes::FULL)), ..Case::new(name, Udp, Udp, mode) }
}

const fn tcp(name: &'static str, mode: Mode) -> Case {
    Case::new(name, Tcp, Tcp, mode)
}

/// Messages of equal length are the kernel's to join and to cut, if they are handed over so.
const fn of_peer(mode: Mode, sizes: Sizes) -> f64 {
    match (mode, sizes) {
        (RoundRobin, Equal(_)) => 1.5,
        (RoundRobin, Varied | Variable) => 1.0,
        (All, Equal(_)) => 2.0,
        (All, Varied | Variable) => 1.3,
    }
}

impl Route {
    /// What all cases have but for what is measured.
    pub const fn base(input: Protocol, output: Protocol, mode: Mode) -> Self {
        Self {
            input,
            output,
            mode,
            sizes: Sizes::FULL,
            templates: 1,
            receivers: 1,
            destinations: 2,
            exporters: 1,
            kernel: false,
        }
    }
}

impl Case {
    const fn new(name: &'static str, input: Protocol, output: Protocol, mode: Mode) -> Self {
        let route = Route::base(input, output, mode);
        Self { name, route, of_relay: None, of_peer: None, half: false }
    }

    const fn destinations(mut self, destinations: u32) -> Self {
        self.route.destinations = destinations;
        self
    }

    const fn exporters(mut self, exporters: u32) -> Self {
        self.route.exporters = exporters;
        self
    }

    const fn sizes(mut self, sizes: Sizes) -> Self {
        self.route.sizes = sizes;
        if self.of_peer.is_some() {
            self.of_peer = Some(of_peer(self.route.mode, sizes));
        }
        self
    }

    const fn of_relay(mut self, ratio: f64) -> Self {
        self.of_relay = Some(ratio);
        self
    }

    const fn half(mut self) -> Self {
        self.half = true;
        self
    }
}
