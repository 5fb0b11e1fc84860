//! Ethernet frames with a UDP datagram, right or wrong in any way a kernel program must notice:
//! built ([`Frame`]), and taken apart again ([`Frame::parse`]).
//!
//! Pure code, which sends nothing. The checksums here are not the balancer's: a mistake there must
//! not find its like here.

mod checksum;
mod encode;
mod parse;

use std::net::SocketAddr;

use anyhow::Result;

pub use parse::Parsed;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The state of a UDP checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// As it must be.
    #[default]
    Right,
    /// Zero: none was computed, which IPv4 allows and IPv6 does not.
    Zero,
    /// The sum of the pseudo-header alone: what a sender leaves to its network card, and what
    /// another network namespace on the same host gets to see.
    Partial,
    /// Anything else.
    Wrong,
}

/// A frame to be built. Whatever is not set is as an ordinary exporter has it.
#[derive(Clone, Debug)]
pub struct Frame {
    source: SocketAddr,
    target: SocketAddr,
    source_mac: Mac,
    target_mac: Mac,
    vlans: Vec<u16>,
    ttl: u8,
    tos: u8,
    identification: u16,
    dont_fragment: bool,
    options: Vec<u8>,
    fragment: Option<(u16, bool)>,
    protocol: u8,
    header_checksum: bool,
    checksum: Checksum,
    udp_length: Option<u16>,
    padding: usize,
    payload: Vec<u8>,
}

impl Frame {
    /// Time to live of a frame that sets none.
    pub const TTL: u8 = 64;

    /// A datagram from one address to another of the same family.
    pub fn udp(source: SocketAddr, target: SocketAddr, payload: &[u8]) -> Self {
        Self {
            source,
            target,
            source_mac: [2, 0, 0, 0, 0, 1],
            target_mac: [2, 0, 0, 0, 0, 2],
            vlans: Vec::new(),
            ttl: Self::TTL,
            tos: 0,
            identification: 0,
            dont_fragment: false,
            options: Vec::new(),
            fragment: None,
            protocol: etherparse::IpNumber::UDP.0,
            header_checksum: true,
            checksum: Checksum::Right,
            udp_length: None,
            padding: 0,
            payload: payload.to_vec(),
        }
    }

    /// Sets both Ethernet addresses.
    pub fn macs(mut self, source: Mac, target: Mac) -> Self {
        self.source_mac = source;
        self.target_mac = target;
        self
    }

    /// Adds a VLAN tag inside those that are there: priority in the upper 4 bits, id in the others.
    pub fn vlan(mut self, tag: u16) -> Self {
        self.vlans.push(tag);
        self
    }

    /// Sets time to live, or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets type of service, or traffic class.
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Sets the identification that fragments of one datagram have in common.
    pub fn identification(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// Forbids routers to cut it (IPv4 alone has this bit).
    pub fn dont_fragment(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// Adds options, filled up with zeros: in the header for IPv4, as hop-by-hop options for IPv6.
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.options.extend_from_slice(options);
        self
    }

    /// Says it is a fragment: one that starts at `offset` octets, a multiple of 8, with `more` to
    /// follow. The payload is the fragment's; only the first, at 0, has a UDP header before it.
    /// For all fragments of a datagram see [`Frame::fragments`].
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more));
        self
    }

    /// Says another protocol number than UDP's, and changes nothing else.
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// Makes the IPv4 header checksum wrong.
    pub fn wrong_header_checksum(mut self) -> Self {
        self.header_checksum = false;
        self
    }

    /// Sets how the UDP checksum is.
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// Sets the length in the UDP header, true or not.
    pub fn udp_length(mut self, length: u16) -> Self {
        self.udp_length = Some(length);
        self
    }

    /// Adds octets after the IP packet, as network cards do to short frames.
    pub fn padding(mut self, octets: usize) -> Self {
        self.padding = octets;
        self
    }

    /// The frame. Fails when the families differ, or something does not fit its length field.
    pub fn build(&self) -> Result<Vec<u8>> {
        match self.fragment {
            Some((offset, _)) if offset > 0 => self.around(&self.payload, self.fragment),
            _ => self.around(&self.datagram()?, self.fragment),
        }
    }

    /// The same datagram in fragments with at most `size` octets of it, a multiple of 8.
    pub fn fragments(&self, size: u16) -> Result<Vec<Vec<u8>>> {
        anyhow::ensure!(size > 0 && size.is_multiple_of(8), "fragments of {size} octets");
        let datagram = self.datagram()?;
        let pieces: Vec<_> = datagram.chunks(usize::from(size)).collect();
        let offsets = (0..=u16::MAX).step_by(usize::from(size));
        let fragment = |(index, (piece, offset)): (usize, (&&[u8], u16))| {
            self.around(piece, Some((offset, index + 1 < pieces.len())))
        };
        pieces.iter().zip(offsets).enumerate().map(fragment).collect()
    }

    /// Takes a frame with a whole UDP datagram apart. Fails when it holds anything else, a
    /// fragment for example, or less than its lengths say.
    pub fn parse(frame: &[u8]) -> Result<Parsed> {
        parse::parse(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4() -> Frame {
        let source = SocketAddr::from(([10, 1, 0, 2], 40_000));
        Frame::udp(source, SocketAddr::from(([10, 1, 0, 1], 4739)), b"payload")
    }

    fn v6() -> Frame {
        let source = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 2], 40_000));
        Frame::udp(source, SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 4739)), b"payload")
    }

    #[test]
    fn a_plain_frame_comes_back() {
        for frame in [v4(), v6()] {
            let parsed = Frame::parse(&frame.ttl(7).tos(0xb8).build().unwrap()).unwrap();
            assert_eq!((parsed.source.port(), parsed.target.port()), (40_000, 4739));
            assert_eq!((parsed.ttl, parsed.tos), (7, 0xb8));
            assert_eq!(parsed.payload, b"payload");
            assert_eq!(
                (parsed.source_mac, parsed.target_mac),
                ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            );
            assert!(parsed.is_right());
            assert_eq!(parsed.padding, 0);
        }
    }

    #[test]
    fn tags_options_and_padding_are_where_they_belong() {
        for frame in [v4(), v6()] {
            let built =
                frame.vlan(100).vlan(0x6005).ip_options(&[0, 0]).padding(5).build().unwrap();
            let parsed = Frame::parse(&built).unwrap();
            assert_eq!(parsed.vlans, [100, 0x6005]);
            assert_eq!((built[12], built[13], built[16], built[17]), (0x88, 0xa8, 0x81, 0));
            assert!(parsed.has_ip_options);
            assert_eq!((parsed.padding, parsed.payload.as_slice()), (5, &b"payload"[..]));
            assert!(parsed.is_right());
        }
    }

    #[test]
    fn each_state_of_a_checksum_is_told() {
        use Checksum::{Partial, Right, Wrong, Zero};
        for state in [Right, Zero, Partial, Wrong] {
            for frame in [v4(), v6()] {
                let parsed = Frame::parse(&frame.checksum(state).build().unwrap()).unwrap();
                assert_eq!(parsed.udp_checksum, state);
                assert!(parsed.header_checksum);
            }
        }
        let broken = Frame::parse(&v4().wrong_header_checksum().build().unwrap()).unwrap();
        assert!(!broken.header_checksum && !broken.is_right());
    }

    #[test]
    fn fragments_hold_the_datagram_and_no_whole_one() {
        for (frame, headers) in [(v4(), 14 + 20), (v6(), 14 + 40 + 8)] {
            let pieces = frame.clone().identification(9).fragments(8).unwrap();
            assert_eq!(pieces.len(), 2);
            assert!(pieces.iter().all(|piece| Frame::parse(piece).is_err()));
            let joined = pieces.iter().map(|piece| &piece[headers..]).collect::<Vec<_>>().concat();
            assert_eq!(joined, frame.datagram().unwrap());
        }
        let later = v4().fragment(1480, false).build().unwrap();
        assert_eq!(later[20..22], (1480_u16 / 8).to_be_bytes());
        assert_eq!(&later[34..], b"payload");
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let mixed = Frame::udp(v4().source, v6().target, b"");
        assert!(mixed.build().is_err());
        assert!(v4().fragment(7, true).build().is_err());
        assert!(v4().fragments(12).is_err());
        assert!(v4().ip_options(&[1; 41]).build().is_err());
        let source = v4().source;
        assert!(Frame::udp(source, source, &[0; 65_528]).build().is_err());
    }

    #[test]
    fn lengths_that_lie_are_not_parsed() {
        assert!(Frame::parse(&v4().udp_length(200).build().unwrap()).is_err());
        assert!(Frame::parse(&v4().protocol(6).build().unwrap()).is_err());
        let whole = v4().build().unwrap();
        assert!(Frame::parse(&whole[..whole.len() - 1]).is_err());
    }
}
