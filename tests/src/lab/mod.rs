//! Network namespaces joined by veth pairs: the whole way from an exporter to collectors on one
//! machine, with interfaces, routes and neighbours that a test may change.
//!
//! ```text
//!  exporter                 balancer                      collector 0
//!  eth0 .2 ---10.77.0.0/24--- .1 exp | col0 .1 ---10.77.1.0/24--- .2 eth0
//!                                    |
//!                                    | col1 .1 ---10.77.2.0/24--- .2 eth0   (collector 1, and so on)
//!                                    |
//!                                    | rtr  .1 ---10.77.3.0/24--- .2 bal    router
//!                                                                 .1 col2 ---10.77.4.0/24--- .2 eth0
//! ```
//!
//! IPv6 likewise: `fd77:0:0:N::/64`, where IPv4 has `10.77.N.0/24`. Everything lives in a
//! [`Lab`] and goes with it. What runs inside is started there: see [`Namespace::run`].
//!
//! What a real wire does and veth does not is made up for, unless a [`Shape`] says otherwise:
//! exporters compute their checksums and write their VLAN tags themselves, and collectors receive
//! frames that an XDP program has redirected.

mod disk;
mod interface;
mod namespace;
mod raw;
mod readings;
mod segment;
mod shape;

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::unistd::geteuid;

pub use disk::mount_small;
pub use interface::Interface;
pub use namespace::Namespace;
pub(crate) use namespace::at_home;
pub use raw::RawExporter;
pub use readings::{Counters, LinkCounters};
pub use segment::{Host, Segment};
pub use shape::Shape;

/// What a test's line ends with, before the reason, when it cannot run here; `cargo xtask test`
/// counts these lines.
pub const SKIPPED: &str = "skipped: ";

/// True if labs can be made. Otherwise says so, and the test that asked shall return; but where
/// `CI` is set the test goes on, and fails at its first [`Lab`].
pub fn available() -> bool {
    geteuid().is_root() || std::env::var_os("CI").is_some() || skip("needs root")
}

/// [`available`] for a test with VLAN interfaces, which not every kernel has: no root can help.
pub fn available_with_vlans() -> bool {
    available() && (namespace::has_vlans() || skip("needs a kernel with VLANs (8021q)"))
}

/// [`available`] for a test in which one CPU hands work to another.
pub fn available_with_two_cpus() -> bool {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    available() && (cpus > 1 || skip("needs two CPUs"))
}

/// [`available`] for a test of what the daemon counts at trace points.
pub fn available_with_trace_points() -> bool {
    let there = std::path::Path::new("/sys/kernel/tracing/events/xdp").exists();
    available() && (there || skip("needs trace points (tracefs at /sys/kernel/tracing)"))
}

/// Says that the test which is running does not, and why.
fn skip(why: &str) -> bool {
    let thread = std::thread::current();
    let line = format!("{} {SKIPPED}{why}\n", thread.name().unwrap_or_default());
    // Not by `println!`, which nobody sees of a test that passes.
    drop(std::io::stdout().lock().write_all(line.as_bytes()));
    false
}

/// A version of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// A namespace that hangs on another one by a veth pair.
#[derive(Debug)]
pub struct Site {
    /// Where the exporter or the collectors run.
    pub namespace: Arc<Namespace>,
    /// Its interface, `eth0`.
    pub interface: Interface,
    /// The other end: at the balancer, or at the router.
    pub peer: Interface,
    /// VLAN sub-interfaces, each with its other end, in the order in which they were asked for.
    pub vlans: Vec<(Interface, Interface)>,
}

impl Site {
    /// The site's address.
    pub fn ip(&self, family: Family) -> IpAddr {
        self.interface.ip(family)
    }

    /// Runs `work` in the site's namespace; see [`Namespace::run`].
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.namespace.run(work)
    }

    /// Sets the MTU of both ends.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.interface.set_mtu(mtu)?;
        self.peer.set_mtu(mtu)
    }
}

/// The router between the balancer and some of the collectors. It forwards.
#[derive(Debug)]
pub struct Router {
    /// The router's namespace.
    pub namespace: Arc<Namespace>,
    /// Its interface towards the balancer: the balancer's next hop.
    pub interface: Interface,
    /// The balancer's interface towards it.
    pub peer: Interface,
}

/// A balancer's namespace, an exporter's, and one for each collector. Removed when dropped.
#[derive(Debug)]
pub struct Lab {
    balancer: Arc<Namespace>,
    exporter: Site,
    collectors: Vec<Site>,
    router: Option<Router>,
}

impl Lab {
    /// The usual shape, with this many collector namespaces.
    pub fn new(collectors: usize) -> Result<Self> {
        Shape::new(collectors).build()
    }

    /// The namespace the daemon runs in. It does not forward.
    pub fn balancer(&self) -> &Arc<Namespace> {
        &self.balancer
    }

    /// The balancer's address that the exporter sends to.
    pub fn balancer_ip(&self, family: Family) -> IpAddr {
        self.exporter.peer.ip(family)
    }

    /// Where exporters run.
    pub fn exporter(&self) -> &Site {
        &self.exporter
    }

    /// Where collectors run, those behind the router last.
    pub fn collectors(&self) -> &[Site] {
        &self.collectors
    }

    /// One of [`Lab::collectors`].
    pub fn collector(&self, index: usize) -> Result<&Site> {
        self.collectors.get(index).with_context(|| format!("no collector {index} in this lab"))
    }

    /// The router, if the shape has one.
    pub fn router(&self) -> Option<&Router> {
        self.router.as_ref()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Namespaces live on while a socket or process is inside; frames shall stop now.
        let sites = self.collectors.iter().chain([&self.exporter]).map(|site| &site.interface);
        for interface in sites.chain(self.router.as_ref().map(|router| &router.interface)) {
            drop(interface.delete());
        }
    }
}

#[cfg(test)]
mod tests;
