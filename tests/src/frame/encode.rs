//! From a [`Frame`] to octets.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use anyhow::{Result, bail, ensure};
use etherparse::{
    EtherType, Ethernet2Header, IpDscp, IpEcn, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options,
    Ipv6FragmentHeader, Ipv6Header, UdpHeader,
};

use super::{Frame, checksum};

/// Where a fragment starts, in octets, and whether more follow.
type Fragment = Option<(u16, bool)>;

impl Frame {
    /// UDP header and payload.
    pub(super) fn datagram(&self) -> Result<Vec<u8>> {
        let true_length = u16::try_from(UdpHeader::LEN + self.payload.len())?;
        let mut header = UdpHeader {
            source_port: self.source.port(),
            destination_port: self.target.port(),
            length: self.udp_length.unwrap_or(true_length),
            checksum: 0,
        };
        let zeroed = [&header.to_bytes(), self.payload.as_slice()].concat();
        let pseudo_header = checksum::pseudo_header(self.source, self.target, header.length);
        header.checksum = checksum::field(self.checksum, pseudo_header, &zeroed);
        Ok([&header.to_bytes(), self.payload.as_slice()].concat())
    }

    /// The frame around a datagram or a piece of one.
    pub(super) fn around(&self, content: &[u8], fragment: Fragment) -> Result<Vec<u8>> {
        let (ether_type, headers) = match (self.source, self.target) {
            (SocketAddr::V4(source), SocketAddr::V4(target)) => {
                (EtherType::IPV4, self.ipv4(source, target, content.len(), fragment)?)
            }
            (SocketAddr::V6(source), SocketAddr::V6(target)) => {
                (EtherType::IPV6, self.ipv6(source, target, content.len(), fragment)?)
            }
            _ => bail!("{} and {} are of different families", self.source, self.target),
        };
        let padding = vec![0; self.padding];
        Ok([&self.link(ether_type), &headers, content, &padding].concat())
    }

    /// The Ethernet header with its tags. Before a tag stands the type that says so, a service tag
    /// (IEEE 802.1ad) where another tag follows.
    fn link(&self, content: EtherType) -> Vec<u8> {
        let ethernet = Ethernet2Header {
            source: self.source_mac,
            destination: self.target_mac,
            ether_type: content,
        };
        let mut bytes = ethernet.to_bytes().to_vec();
        for (place, tag) in self.vlans.iter().enumerate() {
            let last = place + 1 == self.vlans.len();
            let tagged =
                if last { EtherType::VLAN_TAGGED_FRAME } else { EtherType::PROVIDER_BRIDGING };
            bytes.truncate(bytes.len() - 2);
            bytes.extend(tagged.0.to_be_bytes());
            bytes.extend(tag.to_be_bytes());
            bytes.extend(content.0.to_be_bytes());
        }
        bytes
    }

    fn ipv4(
        &self,
        source: SocketAddrV4,
        target: SocketAddrV4,
        content: usize,
        fragment: Fragment,
    ) -> Result<Vec<u8>> {
        let options = self.options.len().next_multiple_of(4);
        let options = filled(&self.options, options);
        let mut header = Ipv4Header {
            dscp: IpDscp::try_new(self.tos >> 2)?,
            ecn: IpEcn::try_new(self.tos & 3)?,
            total_len: u16::try_from(Ipv4Header::MIN_LEN + options.len() + content)?,
            identification: self.identification,
            dont_fragment: self.dont_fragment,
            more_fragments: fragment.is_some_and(|(_, more)| more),
            fragment_offset: offset(fragment)?,
            time_to_live: self.ttl,
            protocol: IpNumber(self.protocol),
            header_checksum: 0,
            source: source.ip().octets(),
            destination: target.ip().octets(),
            options: Ipv4Options::try_from(options.as_slice())?,
        };
        let right = header.calc_header_checksum();
        header.header_checksum = if self.header_checksum { right } else { right ^ 0x0101 };
        Ok(header.to_bytes().to_vec())
    }

    fn ipv6(
        &self,
        source: SocketAddrV6,
        target: SocketAddrV6,
        content: usize,
        fragment: Fragment,
    ) -> Result<Vec<u8>> {
        let mut next = IpNumber(self.protocol);
        let mut extensions = Vec::new();
        if let Some((_, more)) = fragment {
            let identification = u32::from(self.identification);
            let header =
                Ipv6FragmentHeader::new(next, offset(fragment)?, more, identification).to_bytes();
            extensions = header.to_vec();
            next = IpNumber::IPV6_FRAGMENTATION_HEADER;
        }
        if !self.options.is_empty() {
            extensions = [hop_by_hop(next, &self.options)?, extensions].concat();
            next = IpNumber::IPV6_HEADER_HOP_BY_HOP;
        }
        let header = Ipv6Header {
            traffic_class: self.tos,
            flow_label: Default::default(),
            payload_length: u16::try_from(extensions.len() + content)?,
            next_header: next,
            hop_limit: self.ttl,
            source: source.ip().octets(),
            destination: target.ip().octets(),
        };
        Ok([&header.to_bytes(), extensions.as_slice()].concat())
    }
}

/// A hop-by-hop options header (RFC 8200 section 4.3): its length field counts units of 8 octets
/// after the first.
fn hop_by_hop(next: IpNumber, options: &[u8]) -> Result<Vec<u8>> {
    let length = (2 + options.len()).next_multiple_of(8);
    let units = u8::try_from(length / 8 - 1)?;
    Ok([&[next.0, units], filled(options, length - 2).as_slice()].concat())
}

fn filled(options: &[u8], length: usize) -> Vec<u8> {
    let mut filled = options.to_vec();
    filled.resize(length, 0);
    filled
}

fn offset(fragment: Fragment) -> Result<IpFragOffset> {
    let octets = fragment.map_or(0, |(offset, _)| offset);
    ensure!(octets.is_multiple_of(8), "a fragment at octet {octets}");
    Ok(IpFragOffset::try_new(octets / 8)?)
}
