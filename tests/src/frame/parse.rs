//! From octets to what a frame says.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use etherparse::{
    Ethernet2HeaderSlice, LinkExtSlice, LinkSlice, NetSlice, SlicedPacket, TransportSlice, UdpSlice,
};

use super::{Checksum, Mac, checksum};

/// What a frame with a UDP datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The sender's Ethernet address.
    pub source_mac: Mac,
    /// The receiver's Ethernet address.
    pub target_mac: Mac,
    /// VLAN tags with their priority, the outer one first.
    pub vlans: Vec<u16>,
    /// Where the datagram comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub target: SocketAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// IPv4 options or IPv6 extension headers are there.
    pub has_ip_options: bool,
    /// The IPv4 header's checksum is right; there is none in IPv6.
    pub header_checksum: bool,
    /// How the UDP checksum is.
    pub udp_checksum: Checksum,
    /// What the datagram carries.
    pub payload: Vec<u8>,
    /// Octets after the IP packet.
    pub padding: usize,
}

impl Parsed {
    /// True when the receiver's checks find nothing: both checksums are right. A UDP checksum of
    /// zero is not, although IPv4 takes it.
    pub fn is_right(&self) -> bool {
        self.header_checksum && self.udp_checksum == Checksum::Right
    }
}

/// What the IP header says.
struct Network {
    source: std::net::IpAddr,
    target: std::net::IpAddr,
    ttl: u8,
    tos: u8,
    has_ip_options: bool,
    header_checksum: bool,
    length: usize,
}

pub(super) fn parse(frame: &[u8]) -> Result<Parsed> {
    let packet = SlicedPacket::from_ethernet(frame)?;
    ensure!(!packet.is_ip_payload_fragmented(), "a fragment");
    let Some(LinkSlice::Ethernet2(link)) = &packet.link else { bail!("no Ethernet header") };
    let link = Ethernet2HeaderSlice::from_slice(link.slice())?;
    let vlans = packet.link_exts.iter().map(tag).collect::<Result<Vec<_>>>()?;
    let network = network(packet.net.as_ref().context("no IP packet")?)?;
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { bail!("no UDP datagram") };
    let (source, target) = (
        SocketAddr::new(network.source, udp.source_port()),
        SocketAddr::new(network.target, udp.destination_port()),
    );
    let before = link.slice().len() + vlans.len() * 4;
    Ok(Parsed {
        source_mac: link.source(),
        target_mac: link.destination(),
        vlans,
        source,
        target,
        ttl: network.ttl,
        tos: network.tos,
        has_ip_options: network.has_ip_options,
        header_checksum: network.header_checksum,
        udp_checksum: state(udp, source, target),
        payload: udp.payload().to_vec(),
        padding: frame.len().saturating_sub(before + network.length),
    })
}

fn state(udp: &UdpSlice<'_>, source: SocketAddr, target: SocketAddr) -> Checksum {
    let pseudo_header = checksum::pseudo_header(source, target, udp.length());
    checksum::state(udp.checksum(), pseudo_header, udp.slice())
}

fn tag(extension: &LinkExtSlice<'_>) -> Result<u16> {
    let LinkExtSlice::Vlan(vlan) = extension else { bail!("neither a VLAN tag nor IP") };
    crate::wire::u16_at(vlan.slice(), 0).context("a cut VLAN tag")
}

fn network(net: &NetSlice<'_>) -> Result<Network> {
    match net {
        NetSlice::Ipv4(packet) => {
            let header = packet.header();
            Ok(Network {
                source: header.source_addr().into(),
                target: header.destination_addr().into(),
                ttl: header.ttl(),
                tos: (header.dcp().value() << 2) | header.ecn().value(),
                has_ip_options: !header.options().is_empty(),
                header_checksum: checksum::sum(&[header.slice()]) == u16::MAX,
                length: usize::from(header.total_len()),
            })
        }
        NetSlice::Ipv6(packet) => {
            let header = packet.header();
            Ok(Network {
                source: header.source_addr().into(),
                target: header.destination_addr().into(),
                ttl: header.hop_limit(),
                tos: header.traffic_class(),
                has_ip_options: !packet.extensions().is_empty(),
                header_checksum: true,
                length: header.slice().len() + usize::from(header.payload_length()),
            })
        }
        NetSlice::Arp(_) => bail!("ARP"),
    }
}
