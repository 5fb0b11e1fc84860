//! How a lab is built.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::{Result, ensure};
use nix::unistd::geteuid;

use super::{Family, Interface, Lab, Namespace, Router, Site, interface, namespace};
use crate::frame::Mac;
use crate::poll;

/// A lab to be built: how many collectors, what is between, how interfaces behave.
#[derive(Clone, Debug)]
pub struct Shape {
    direct: usize,
    routed: usize,
    vlans: Vec<u16>,
    mtu: u32,
    checksum_offload: bool,
    receive_offload: bool,
}

impl Shape {
    /// One exporter, and this many collectors, each in a namespace of its own at an interface of
    /// the balancer of its own. For several behind one interface start several in one namespace.
    pub fn new(collectors: usize) -> Self {
        Self {
            direct: collectors,
            routed: 0,
            vlans: Vec::new(),
            mtu: 1500,
            checksum_offload: false,
            receive_offload: true,
        }
    }

    /// Adds collectors behind a router: the balancer has one interface and one next hop for all.
    pub fn routed(mut self, collectors: usize) -> Self {
        self.routed = collectors;
        self
    }

    /// Adds a VLAN between exporter and balancer: see [`Site::vlans`].
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlans.push(id);
        self
    }

    /// Sets every interface's MTU; 1500 otherwise.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Leaves the exporter's checksums to its interface, as Linux has it: frames get to the
    /// balancer with the pseudo-header's sum only, and a mark that programs at XDP do not see.
    pub fn checksum_offload(mut self) -> Self {
        self.checksum_offload = true;
        self
    }

    /// Leaves GRO off at the sites, as Linux has it: frames that XDP redirects to them vanish.
    pub fn no_receive_offload(mut self) -> Self {
        self.receive_offload = false;
        self
    }

    /// Builds it, and waits until it works.
    pub fn build(&self) -> Result<Lab> {
        ensure!(geteuid().is_root(), "a lab needs root");
        namespace::remove_leftovers()?;
        let balancer = Arc::new(Namespace::new("balancer")?);
        let mut plan = Plan { shape: self, next: 0 };
        let exporter = plan.exporter(&balancer)?;
        let mut collectors = Vec::new();
        for index in 0..self.direct {
            collectors.push(plan.collector(&balancer, index)?);
        }
        let router = (self.routed > 0).then(|| plan.router(&balancer)).transpose()?;
        for index in self.direct..self.direct + self.routed {
            let Some(router) = &router else { break };
            collectors.push(plan.routed(&balancer, router, index)?);
        }
        let lab = Lab { balancer, exporter, collectors, router };
        lab.wait_until_ready()?;
        Ok(lab)
    }
}

impl Lab {
    /// Carrier is noticed a moment after the second end is up, and no IPv6 leaves before.
    fn wait_until_ready(&self) -> Result<()> {
        let ends = self.collectors.iter().chain([&self.exporter]).map(|site| &site.interface);
        let ends = ends.chain(self.router.as_ref().map(|router| &router.interface));
        for end in ends {
            let what = format!("{} of {} is up", end.name, end.namespace.name());
            let state = format!("link show dev {}", end.name);
            poll::wait(&what, || {
                end.namespace.ip(&state).is_ok_and(|shown| shown.contains(" state UP "))
            })?;
        }
        Ok(())
    }
}

/// Gives each pair its number, and the addresses that follow from it.
struct Plan<'a> {
    shape: &'a Shape,
    next: u8,
}

/// Where the numbers of VLANs begin.
const VLANS: u8 = 200;
/// The nearer end of a pair, seen from the balancer, and the other one.
const NEAR: u8 = 1;
const FAR: u8 = 2;

impl Plan<'_> {
    fn exporter(&mut self, balancer: &Arc<Namespace>) -> Result<Site> {
        let mut site = self.site(balancer, "exp", "exporter")?;
        if !self.shape.checksum_offload {
            site.interface.feature("tx", false)?;
        }
        // Else the tag is beside the frame, where a program at XDP does not see it.
        site.interface.feature("txvlan", false)?;
        for (number, id) in (VLANS..).zip(&self.shape.vlans) {
            let near = vlan(&site.peer, *id, number, NEAR)?;
            let far = vlan(&site.interface, *id, number, FAR)?;
            site.vlans.push((far, near));
        }
        Ok(site)
    }

    fn collector(&mut self, balancer: &Arc<Namespace>, index: usize) -> Result<Site> {
        self.site(balancer, &format!("col{index}"), &format!("collector{index}"))
    }

    fn router(&mut self, balancer: &Arc<Namespace>) -> Result<Router> {
        let namespace = Arc::new(Namespace::new("router")?);
        namespace.forward(true)?;
        let (peer, interface) = self.pair((balancer, "rtr"), (&namespace, "bal"))?;
        Ok(Router { namespace, interface, peer })
    }

    /// A collector at the router, with the routes there and back.
    fn routed(&mut self, balancer: &Arc<Namespace>, router: &Router, index: usize) -> Result<Site> {
        let number = self.next;
        let site = self.collector(&router.namespace, index)?;
        let Interface { v4, v6, .. } = &router.interface;
        balancer.ip(&format!("route add 10.77.{number}.0/24 via {v4}"))?;
        balancer.ip(&format!("route add fd77:0:0:{number}::/64 via {v6}"))?;
        for family in Family::BOTH {
            site.namespace.ip(&format!("route add default via {}", site.peer.ip(family)))?;
        }
        Ok(site)
    }

    /// A namespace with `eth0`, joined to an interface with this name at `near`.
    fn site(&mut self, near: &Arc<Namespace>, name: &str, role: &str) -> Result<Site> {
        let namespace = Arc::new(Namespace::new(role)?);
        let (peer, interface) = self.pair((near, name), (&namespace, "eth0"))?;
        Ok(Site { namespace, interface, peer, vlans: Vec::new() })
    }

    fn pair(
        &mut self,
        near: (&Arc<Namespace>, &str),
        far: (&Arc<Namespace>, &str),
    ) -> Result<(Interface, Interface)> {
        let near = interface(near, self.next, NEAR);
        let far = interface(far, self.next, FAR);
        self.next += 1;
        let add = format!(
            "link add {} address {} mtu {mtu} type veth peer {} address {} mtu {mtu} netns {}",
            near.name,
            interface::text(near.mac),
            far.name,
            interface::text(far.mac),
            far.namespace.name(),
            mtu = self.shape.mtu,
        );
        near.namespace.ip(&add)?;
        for end in [&near, &far] {
            start(end)?;
        }
        far.feature("gro", self.shape.receive_offload)?;
        Ok((near, far))
    }
}

/// What the plan says of one end.
fn interface(place: (&Arc<Namespace>, &str), number: u8, end: u8) -> Interface {
    let (namespace, name) = place;
    Interface {
        namespace: Arc::clone(namespace),
        name: name.to_owned(),
        mac: mac(number, end),
        v4: Ipv4Addr::new(10, 77, number, end),
        v6: Ipv6Addr::new(0xfd77, 0, 0, hex_as_written(number), 0, 0, 0, end.into()),
    }
}

fn mac(number: u8, end: u8) -> Mac {
    [2, 0x77, 0, 0, number, end]
}

/// The number in which hexadecimal shows the decimal digits of `number`: an IPv6 network is to
/// look like its IPv4 network.
fn hex_as_written(number: u8) -> u16 {
    let number = u16::from(number);
    ((number / 100) << 8) | ((number / 10 % 10) << 4) | (number % 10)
}

fn start(end: &Interface) -> Result<()> {
    end.up()?;
    end.add_address(&format!("{}/24", end.v4))?;
    end.add_address(&format!("{}/64", end.v6))
}

fn vlan(on: &Interface, id: u16, number: u8, end: u8) -> Result<Interface> {
    let name = format!("{}.{id}", on.name);
    on.namespace.ip(&format!("link add link {} name {name} type vlan id {id}", on.name))?;
    let vlan = Interface { mac: on.mac, ..interface((&on.namespace, &name), number, end) };
    start(&vlan)?;
    Ok(vlan)
}
