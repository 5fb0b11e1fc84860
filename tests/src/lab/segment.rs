//! One Ethernet segment with several hosts, as a switch has it: for addresses that move from one
//! host to another.
//!
//! ```text
//!  host 0 eth0 10.77.0.1 ---+
//!  host 1 eth0 10.77.0.2 ---+-- bridge
//!  host 2 eth0 10.77.0.3 ---+
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::Namespace;
use super::namespace::remove_leftovers;

/// A host on the segment.
#[derive(Debug)]
pub struct Host {
    /// Where its programs run. Its interface is `eth0`.
    pub namespace: Arc<Namespace>,
    /// Its address.
    pub ip: IpAddr,
}

/// The hosts of a segment, and the switch between them. Removed when dropped.
#[derive(Debug)]
pub struct Segment {
    switch: Namespace,
    hosts: Vec<Host>,
}

impl Segment {
    /// One host for each role, by which `ip netns` shows them.
    pub fn new(roles: &[&str]) -> Result<Self> {
        remove_leftovers()?;
        let switch = Namespace::new("switch")?;
        switch.ip("link add br0 type bridge")?;
        switch.ip("link set br0 up")?;
        let mut segment = Self { switch, hosts: Vec::new() };
        for role in roles {
            segment.join(role)?;
        }
        Ok(segment)
    }

    /// One of the hosts, in the order of the roles.
    pub fn host(&self, index: usize) -> Result<&Host> {
        self.hosts.get(index).with_context(|| format!("no host {index} on this segment"))
    }

    /// An address of the segment that no host has by itself.
    pub fn address(&self, number: u8) -> IpAddr {
        Ipv4Addr::new(10, 77, 0, number).into()
    }

    /// Pulls a host's cable, or puts it in again.
    pub fn set_cable(&self, index: usize, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.switch.ip(&format!("link set port{index} {state}")).map(drop)
    }

    fn join(&mut self, role: &str) -> Result<()> {
        let namespace = Namespace::new(role)?;
        let index = self.hosts.len();
        let ip = self.address(u8::try_from(index + 1)?);
        let far = namespace.name();
        self.switch.ip(&format!("link add port{index} type veth peer eth0 netns {far}"))?;
        self.switch.ip(&format!("link set port{index} master br0 up"))?;
        namespace.ip("link set eth0 up")?;
        namespace.ip(&format!("address add {ip}/24 dev eth0"))?;
        self.hosts.push(Host { namespace: Arc::new(namespace), ip });
        Ok(())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Namespaces live on while a socket or process is inside; frames shall stop now.
        for index in 0..self.hosts.len() {
            drop(self.switch.ip(&format!("link delete port{index}")));
        }
    }
}
