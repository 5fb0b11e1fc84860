//! What is measured, and the figures to reach.

use super::message::Sizes;
use super::{Mode, Protocol};

/// The path of the messages in a case.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub protocol: Protocol,
    pub mode: Mode,
    pub sizes: Sizes,
    /// Destinations of the balancer.
    pub destinations: u32,
    /// Whether the balancer may use the kernel path.
    pub kernel: bool,
}

impl Route {
    /// How many destinations get each message.
    pub fn copies(&self) -> u32 {
        match self.mode {
            Mode::All => self.destinations,
            Mode::RoundRobin => 1,
        }
    }
}

/// Messages per second at saturation.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    pub name: &'static str,
    pub route: Route,
    /// Least ratio of the balancer's rate to the relay's.
    pub rate: f64,
    /// Whether the balancer has to take less CPU time per message than the relay.
    pub less_cpu: bool,
}

/// Time on the way at a moderate rate.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub name: &'static str,
    pub route: Route,
    /// Messages per second.
    pub rate: u32,
    /// Most that the balancer may add to the 99th percentile, in microseconds.
    pub added_p99_us: f64,
}

/// Memory with many exporters.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub name: &'static str,
    pub route: Route,
    pub sessions: u32,
    /// Most resident memory, in MiB.
    pub most_mib: f64,
}

const fn route(protocol: Protocol, mode: Mode, sizes: Sizes) -> Route {
    Route { protocol, mode, sizes, destinations: 2, kernel: false }
}

use Mode::{All, RoundRobin};
use Protocol::{Tcp, Udp};
use Sizes::{Equal, Varied};

/// The throughput cases.
pub const THROUGHPUT: [Throughput; 6] = [
    tcp("tcp-rr", RoundRobin),
    tcp("tcp-all", All),
    udp("udp-rr", RoundRobin, Equal, 2.0),
    udp("udp-all", All, Equal, 2.0),
    udp("udp-rr-varied", RoundRobin, Varied, 1.2),
    udp("udp-all-varied", All, Varied, 1.2),
];

const fn tcp(name: &'static str, mode: Mode) -> Throughput {
    Throughput { name, route: route(Tcp, mode, Equal), rate: 0.8, less_cpu: false }
}

const fn udp(name: &'static str, mode: Mode, sizes: Sizes, rate: f64) -> Throughput {
    Throughput { name, route: route(Udp, mode, sizes), rate, less_cpu: true }
}

/// The latency cases.
pub const LATENCY: [Latency; 2] = [
    latency("latency-tcp", Tcp), //
    latency("latency-udp", Udp),
];

const fn latency(name: &'static str, protocol: Protocol) -> Latency {
    let route = route(protocol, RoundRobin, Equal);
    Latency { name, route, rate: 30_000, added_p99_us: 1000.0 }
}

/// The memory cases.
pub const MEMORY: [Memory; 2] = [memory("memory-tcp", Tcp), memory("memory-udp", Udp)];

const fn memory(name: &'static str, protocol: Protocol) -> Memory {
    let route = route(protocol, RoundRobin, Equal);
    Memory { name, route, sessions: 1000, most_mib: 32.0 }
}
