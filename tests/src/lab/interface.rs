//! One end of a veth pair, or a VLAN on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::net::if_::if_nametoindex;

use super::readings::LinkCounters;
use super::{Family, Namespace};
use crate::frame::Mac;

/// A network interface with the addresses it was given. What a test changes later is not noted
/// here.
#[derive(Clone, Debug)]
pub struct Interface {
    pub(super) namespace: Arc<Namespace>,
    pub(super) name: String,
    pub(super) mac: Mac,
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
}

impl Interface {
    /// Its namespace.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Its name there.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's number of it, in its namespace.
    pub fn index(&self) -> Result<u32> {
        self.namespace.run(|| Ok(if_nametoindex(&*self.name)?))
    }

    /// Its Ethernet address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Its address.
    pub fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// Adds an address, for example `10.77.1.9/24`.
    pub fn add_address(&self, address: &str) -> Result<()> {
        self.ip_of(&format!("address add {address}"))
    }

    /// Switches it on.
    pub fn up(&self) -> Result<()> {
        self.set("up")
    }

    /// Switches it off: the other end has no carrier. Its addresses stay; of the routes through it
    /// only those of its own networks come back with [`Interface::up`].
    pub fn down(&self) -> Result<()> {
        self.set("down")
    }

    /// Sets the MTU of this end.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.set(&format!("mtu {mtu}"))
    }

    /// Gives it another name, for which it has to be off for a moment.
    pub fn rename(&mut self, name: &str) -> Result<()> {
        self.down()?;
        self.set(&format!("name {name}"))?;
        self.name = name.to_owned();
        self.up()
    }

    /// Gives it another Ethernet address, of which the neighbours hear nothing.
    pub fn set_mac(&mut self, mac: Mac) -> Result<()> {
        self.set(&format!("address {}", text(mac)))?;
        self.mac = mac;
        Ok(())
    }

    /// Has it answer whoever asks for its Ethernet address by ARP, or not.
    pub fn answer(&self, answers: bool) -> Result<()> {
        self.set(if answers { "arp on" } else { "arp off" })
    }

    /// Forgets all neighbours on this interface.
    pub fn flush_neighbours(&self) -> Result<()> {
        self.namespace.ip(&format!("neigh flush dev {}", self.name)).map(drop)
    }

    /// Forgets one neighbour.
    pub fn delete_neighbour(&self, ip: IpAddr) -> Result<()> {
        self.ip_of(&format!("neigh delete {ip}"))
    }

    /// Sets a feature as `ethtool -K` knows it, for example `feature("gro", true)`.
    pub fn feature(&self, name: &str, on: bool) -> Result<()> {
        let value = if on { "on" } else { "off" };
        self.namespace.command("ethtool", &["-K", &self.name, name, value]).map(drop)
    }

    /// Lets frames that come in wait for each other, as at a network card that interrupts seldom: what
    /// comes within `time` is handled together, by one call of the interface's poll function.
    pub fn gather(&self, time: Duration) -> Result<()> {
        let folder = format!("/sys/class/net/{}", self.name);
        let script = format!(
            "echo 1000 > {folder}/napi_defer_hard_irqs && echo {} > {folder}/gro_flush_timeout",
            time.as_nanos()
        );
        // In a namespace's own /sys, which `ip netns exec` mounts.
        let exec = ["netns", "exec", self.namespace.name(), "sh", "-c", &script];
        self.namespace.command("ip", &exec).map(drop)
    }

    /// What went through it.
    pub fn counters(&self) -> Result<LinkCounters> {
        LinkCounters::parse(&self.namespace.ip(&format!("-s -j link show dev {}", self.name))?)
    }

    /// Removes it, and the other end with it.
    pub(super) fn delete(&self) -> Result<()> {
        self.namespace.ip(&format!("link delete {}", self.name)).map(drop)
    }

    fn set(&self, what: &str) -> Result<()> {
        self.namespace.ip(&format!("link set dev {} {what}", self.name)).map(drop)
    }

    fn ip_of(&self, what: &str) -> Result<()> {
        self.namespace.ip(&format!("{what} dev {}", self.name)).map(drop)
    }
}

/// As `ip` writes it.
pub(super) fn text(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
