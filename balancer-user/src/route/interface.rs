//! Network interfaces, and what XDP can do with them.

use std::{collections::HashMap, net::IpAddr};

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NetlinkSerializable, NlasIterator, Parseable,
    ParseableParametrized, parse_u16, parse_u32, parse_u64,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{
        AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkInfo,
        LinkLayerType, LinkMessage,
    },
};

use super::netlink::{Client, NetlinkError};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address. Interfaces of other kinds, loopback and tunnels, have none.
    pub mac: Option<[u8; 6]>,
    /// The longest packet it carries.
    pub mtu: u32,
    /// Whether it is switched on and has a carrier.
    pub up: bool,
    /// `loopback`, `vlan`, `bridge`, `veth`, ...; plain hardware has no kind.
    pub kind: Option<String>,
    /// The interface of this namespace that it stands on: a VLAN's.
    pub lower: Option<u32>,
    /// The host's addresses on it.
    pub addresses: Vec<IpAddr>,
    /// What its driver can do; unknown before Linux 6.3.
    pub xdp: Option<XdpFeatures>,
}

/// What the driver of an interface can do for XDP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XdpFeatures {
    /// Programs run in the driver, and can drop, pass and send back.
    pub native: bool,
    /// Programs can redirect frames to other interfaces.
    pub redirect: bool,
    /// Redirected frames can leave by this interface. This may change while it runs: some drivers
    /// can do it only while they have a program or queues of their own for it.
    pub transmit: bool,
}

impl XdpFeatures {
    /// The kernel's `NETDEV_XDP_ACT_*`.
    fn from_bits(bits: u64) -> Self {
        Self { native: bits & 1 != 0, redirect: bits & 2 != 0, transmit: bits & 4 != 0 }
    }
}

/// What a route needs to know of its interface.
#[derive(Debug)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    pub mac: Option<[u8; 6]>,
    pub mtu: u32,
    /// The MTU for IPv6 may be smaller than the interface's: routers announce it.
    pub ipv6_mtu: Option<u32>,
    pub up: bool,
    pub loopback: bool,
    kind: Option<String>,
    /// A veth's is its peer, which may be elsewhere.
    linked: Option<u32>,
}

impl Link {
    /// The interface of this index.
    pub fn find(client: &mut Client, index: u32) -> Result<Self, NetlinkError> {
        let mut message = request();
        message.header.index = index;
        let answer = client.ask_one(RouteNetlinkMessage::GetLink(message))?;
        Ok(Self::parse(&answer)?)
    }

    fn parse(answer: &[u8]) -> Result<Self, DecodeError> {
        let header = LinkHeader::parse(answer)?;
        let loopback = header.flags.contains(LinkFlags::Loopback);
        let mut link = Self {
            index: header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            ipv6_mtu: None,
            up: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
            loopback,
            kind: loopback.then(|| "loopback".to_owned()),
            linked: None,
        };
        let attributes = answer.get(header.buffer_len()..).unwrap_or_default();
        for attribute in NlasIterator::new(attributes) {
            // Whatever a newer kernel says in a form not known here is not what is looked for.
            match LinkAttribute::parse_with_param(&attribute?, AddressFamily::Unspec) {
                Ok(LinkAttribute::IfName(name)) => link.name = name,
                Ok(LinkAttribute::Mtu(mtu)) => link.mtu = mtu,
                Ok(LinkAttribute::Link(index)) => link.linked = Some(index),
                Ok(LinkAttribute::Address(mac))
                    if header.link_layer_type == LinkLayerType::Ether =>
                {
                    link.mac = mac.try_into().ok();
                }
                Ok(LinkAttribute::LinkInfo(info)) => {
                    link.kind = info.iter().find_map(kind).or(link.kind);
                }
                Ok(LinkAttribute::AfSpecUnspec(families)) => link.ipv6_mtu = ipv6_mtu(&families),
                _ => {}
            }
        }
        Ok(link)
    }
}

/// Every interface of the namespace, in the order of their indices.
pub(super) fn list(
    route: &mut Client,
    generic: &mut Client,
) -> Result<Vec<Interface>, NetlinkError> {
    let mut addresses = HashMap::<_, Vec<_>>::new();
    for (index, address) in self::addresses(route)? {
        addresses.entry(index).or_default().push(address);
    }
    let features = xdp_features(generic)?;
    let mut interfaces = Vec::new();
    for answer in route.dump(RouteNetlinkMessage::GetLink(request()))? {
        let link = Link::parse(&answer)?;
        let is_pair = link.kind.as_deref() == Some("veth");
        interfaces.push(Interface {
            index: link.index,
            name: link.name,
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
            lower: link.linked.filter(|_| !is_pair),
            kind: link.kind,
            addresses: addresses.remove(&link.index).unwrap_or_default(),
            xdp: features.as_ref().and_then(|features| features.get(&link.index).copied()),
        });
    }
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// The addresses of the host, each with its interface.
pub(super) fn addresses(client: &mut Client) -> Result<Vec<(u32, IpAddr)>, NetlinkError> {
    let answers = client.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let mut addresses = Vec::new();
    for answer in answers {
        let message = AddressMessage::parse(&*answer)?;
        let (mut own, mut other) = (None, None);
        for attribute in message.attributes {
            match attribute {
                AddressAttribute::Local(address) => own = Some(address),
                // The peer's where there is one on the other end of a line.
                AddressAttribute::Address(address) => other = Some(address),
                _ => {}
            }
        }
        addresses.extend(own.or(other).map(|address| (message.header.index, address)));
    }
    Ok(addresses)
}

fn request() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    message
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn ipv6_mtu(families: &[AfSpecUnspec]) -> Option<u32> {
    families.iter().find_map(|family| {
        let AfSpecUnspec::Inet6(settings) = family else { return None };
        settings.iter().find_map(|setting| match setting {
            AfSpecInet6::DevConf(values) => u32::try_from(values.mtu6).ok().filter(|mtu| *mtu > 0),
            _ => None,
        })
    })
}

/// The controller of generic netlink, which knows the numbers of all families.
const CONTROL_FAMILY: u16 = 16;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
const NETDEV_GET_DEVICE: u8 = 1;
const NETDEV_INTERFACE: u16 = 1;
const NETDEV_XDP_FEATURES: u16 = 3;

/// The XDP features of all interfaces, by their indices; nothing where the kernel does not tell.
fn xdp_features(client: &mut Client) -> Result<Option<HashMap<u32, XdpFeatures>>, NetlinkError> {
    let Some(family) = family(client, b"netdev\0")? else { return Ok(None) };
    let request = Generic { family, command: NETDEV_GET_DEVICE, attributes: Vec::new() };
    let mut features = HashMap::new();
    for answer in client.dump(request)? {
        let (mut interface, mut bits) = (None, None);
        for attribute in Generic::attributes(&answer) {
            let attribute = attribute?;
            match attribute.kind() {
                NETDEV_INTERFACE => interface = Some(parse_u32(attribute.value())?),
                NETDEV_XDP_FEATURES => bits = Some(parse_u64(attribute.value())?),
                _ => {}
            }
        }
        features.extend(interface.zip(bits.map(XdpFeatures::from_bits)));
    }
    Ok(Some(features))
}

fn family(client: &mut Client, name: &[u8]) -> Result<Option<u16>, NetlinkError> {
    let request = Generic {
        family: CONTROL_FAMILY,
        command: CONTROL_GET_FAMILY,
        attributes: vec![DefaultNla::new(CONTROL_FAMILY_NAME, name.to_vec())],
    };
    let answer = match client.ask_one(request) {
        Err(error) if error.refusal() == Some(libc::ENOENT) => return Ok(None),
        answer => answer?,
    };
    for attribute in Generic::attributes(&answer) {
        let attribute = attribute?;
        if attribute.kind() == CONTROL_FAMILY_ID {
            return Ok(Some(parse_u16(attribute.value())?));
        }
    }
    Ok(None)
}

/// A request to a family of generic netlink.
struct Generic {
    family: u16,
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl Generic {
    /// Command, version, and two bytes without a meaning.
    const HEADER: usize = 4;

    fn attributes(message: &[u8]) -> NlasIterator<&[u8]> {
        NlasIterator::new(message.get(Self::HEADER..).unwrap_or_default())
    }
}

impl NetlinkSerializable for Generic {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        Self::HEADER + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let Some((header, attributes)) = buffer.split_first_chunk_mut::<{ Self::HEADER }>() else {
            return;
        };
        *header = [self.command, 1, 0, 0];
        self.attributes.as_slice().emit(attributes);
    }
}
