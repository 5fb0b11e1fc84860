//! Captures, pcap and pcapng: the IPFIX in their UDP datagrams and TCP connections.

use std::{
    io::{self, ErrorKind, Read},
    net::{IpAddr, SocketAddr},
};

use common::message::VERSION;
use etherparse::{LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice, UdpSlice};
use pcap_parser::{
    Block, Linktype, PcapBlockOwned, PcapError, create_reader,
    data::{PacketData, get_packetdata},
    traits::PcapNGPacketBlock,
};

use super::{
    fault::Fault,
    source::{Flow, Sink, Stop},
    tcp::{Segment, Streams},
};
use crate::{config::Protocol, input::frame::next_in_datagram};

/// pcap in both byte orders with microseconds and with nanoseconds, and pcapng.
const MAGICS: [[u8; 4]; 5] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0x0a, 0x0d, 0x0d, 0x0a],
];
/// Room for the largest packet or block of a capture.
const BUFFER: usize = 1 << 20;
/// Interfaces of a pcapng section of which we know what their packets begin with.
const MAX_INTERFACES: usize = 4096;

/// Whether a file that begins like this is a capture.
pub fn is_capture(first: &[u8]) -> bool {
    MAGICS.iter().any(|magic| magic == first)
}

/// Reads a capture to its end, or up to where it is broken.
pub fn read(input: impl Read + Send, sink: &mut impl Sink) -> Result<(), Stop> {
    let mut reader = match create_reader(BUFFER, FullReads(input)) {
        Ok(reader) => reader,
        Err(error) => return sink.fault(0, broken(&error)),
    };
    let mut capture = Capture::default();
    let mut offset = 0;
    loop {
        match reader.next() {
            Ok((length, block)) => {
                capture.block(offset, block, sink)?;
                offset += length as u64;
                reader.consume(length);
            }
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => {
                if let Err(error) = reader.refill() {
                    sink.fault(offset, broken(&error))?;
                    break;
                }
            }
            Err(error) => {
                sink.fault(offset, broken(&error))?;
                break;
            }
        }
    }
    capture.streams.finish(offset, sink)
}

fn broken<I>(error: &PcapError<I>) -> Fault {
    Fault::Capture(match error {
        PcapError::BufferTooSmall => format!("a block of more than {BUFFER} bytes"),
        PcapError::NomError(_, kind) | PcapError::OwnedNomError(_, kind) => {
            format!("a block is broken ({kind:?})")
        }
        PcapError::ReadError => "reading has failed".to_owned(),
        _ => "it ends in the middle of a block".to_owned(),
    })
}

/// Reads until the buffer is full: the reader of captures wants its first block whole.
struct FullReads<R>(R);

impl<R: Read> Read for FullReads<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.0.read(space) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// What is known of a capture on the way through it.
#[derive(Default)]
struct Capture {
    /// What packets of each interface begin with; pcap has one.
    interfaces: Vec<Linktype>,
    streams: Streams,
}

impl Capture {
    fn block(
        &mut self,
        offset: u64,
        block: PcapBlockOwned<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Stop> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => self.interfaces = vec![header.network],
            PcapBlockOwned::Legacy(packet) => self.packet(offset, 0, packet.data, sink)?,
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                if self.interfaces.len() < MAX_INTERFACES {
                    self.interfaces.push(interface.linktype);
                }
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let interface = usize::try_from(packet.if_id).unwrap_or(usize::MAX);
                self.packet(offset, interface, packet.packet_data(), sink)?;
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                self.packet(offset, 0, packet.packet_data(), sink)?;
            }
            PcapBlockOwned::NG(_) => {}
        }
        Ok(())
    }

    fn packet(
        &mut self,
        offset: u64,
        interface: usize,
        data: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), Stop> {
        let link = self.interfaces.get(interface).copied();
        let Some(packet) = link.and_then(|link| sliced(link, data)) else { return Ok(()) };
        let Some((source, destination, fragmented)) = packet.net.as_ref().and_then(addresses)
        else {
            return Ok(());
        };
        if fragmented {
            return sink.fault(offset, Fault::Fragment);
        }
        let flow = |protocol, from, to| Flow {
            protocol,
            exporter: SocketAddr::new(source, from),
            collector: SocketAddr::new(destination, to),
        };
        match &packet.transport {
            Some(TransportSlice::Udp(udp)) => {
                let flow = flow(Protocol::Udp, udp.source_port(), udp.destination_port());
                datagram(&flow, offset, udp, sink)
            }
            Some(TransportSlice::Tcp(tcp)) => {
                let flow = flow(Protocol::Tcp, tcp.source_port(), tcp.destination_port());
                self.streams.segment(&flow, offset, &segment(tcp), sink)
            }
            _ => Ok(()),
        }
    }
}

fn sliced(link: Linktype, data: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    match get_packetdata(data, link, data.len())? {
        PacketData::L2(frame) => LaxSlicedPacket::from_ethernet(frame).ok(),
        PacketData::L3(_, packet) => LaxSlicedPacket::from_ip(packet).ok(),
        PacketData::L4(..) | PacketData::Unsupported(_) => None,
    }
}

/// Source, destination, and whether the packet is but a part of its datagram.
fn addresses(net: &LaxNetSlice<'_>) -> Option<(IpAddr, IpAddr, bool)> {
    match net {
        LaxNetSlice::Ipv4(ip) => {
            let (header, fragmented) = (ip.header(), ip.is_payload_fragmented());
            Some((header.source_addr().into(), header.destination_addr().into(), fragmented))
        }
        LaxNetSlice::Ipv6(ip) => {
            let (header, fragmented) = (ip.header(), ip.is_payload_fragmented());
            Some((header.source_addr().into(), header.destination_addr().into(), fragmented))
        }
        LaxNetSlice::Arp(_) => None,
    }
}

/// Passes the messages of a datagram on. What does not begin like IPFIX is other traffic.
fn datagram(
    flow: &Flow,
    offset: u64,
    udp: &UdpSlice<'_>,
    sink: &mut impl Sink,
) -> Result<(), Stop> {
    let mut rest = udp.payload();
    if !rest.starts_with(&VERSION.to_be_bytes()) {
        return Ok(());
    }
    if usize::from(udp.length()) > udp.slice().len() {
        return sink.fault(offset, Fault::CutPacket);
    }
    while !rest.is_empty() {
        let message = next_in_datagram(rest).ok().and_then(|length| rest.split_at_checked(length));
        let Some((message, after)) = message else {
            return sink.fault(offset, Fault::NoMessage(rest.len() as u64));
        };
        sink.message(Some(flow), offset, message)?;
        rest = after;
    }
    Ok(())
}

fn segment<'a>(tcp: &TcpSlice<'a>) -> Segment<'a> {
    Segment {
        sequence: tcp.sequence_number(),
        begins: tcp.syn(),
        ends: tcp.fin() || tcp.rst(),
        payload: tcp.payload(),
    }
}
