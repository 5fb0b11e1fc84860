//! Making a packet ours: new addresses, ports and number, with checksums that follow.

use balancer_ebpf::checksum::Change;
use common::{
    maps::{Address, Mac},
    message::SEQUENCE_OFFSET,
};

use super::{
    packet::{
        ETHERNET_LEN, Headers, IPV4_ADDRESSES, IPV4_CHECKSUM, IPV4_TTL, IPV6_ADDRESSES,
        IPV6_HOP_LIMIT, UDP_CHECKSUM, View,
    },
    steer::Way,
};

/// Hop limit of what we send, as Linux itself has it: the exporter's packet ends here, and this is
/// another one.
const HOP_LIMIT: u8 = 64;

/// What the UDP checksum has to follow.
pub struct Changes {
    /// Of the pseudo header: a checksum that a network card is to complete has no more than that.
    pub addresses: Change,
    /// Of the datagram.
    pub datagram: Change,
}

/// Makes the packet ours on `way`, with another sequence number if there is one. The UDP checksum is
/// left to the caller. `None` where the packet is not what it was a moment ago.
///
/// The destination is of the packet's IP version; the daemon sees to that.
#[inline(always)]
pub fn rewrite(view: &View, headers: &Headers, way: Way, sequence: Option<u32>) -> Option<Changes> {
    // SAFETY: the value of a map, whole: the daemon does not change a place in use.
    let (destination, source) = unsafe { (&*way.destination, &*way.source) };
    let addresses = [source.address, destination.address];
    let addresses = match headers.ipv6 {
        true => ipv6(view, headers, addresses)?,
        false => ipv4(view, headers, addresses)?,
    };
    let ports = view.at::<u32>(headers.udp)?;
    // SAFETY (this and the next blocks): `at` has compared the whole type with the packet's end.
    let new_ports = both(source.port, destination.port);
    // Of copies at a TC hook each is made from the one before: what `headers` says is history.
    let mut datagram = Change::default().long(unsafe { ports.read_unaligned() }, new_ports);
    unsafe { ports.write_unaligned(new_ports) };
    if let Some(sequence) = sequence {
        let number = view.at::<u32>(headers.at_message() + SEQUENCE_OFFSET)?;
        let new_number = sequence.to_be();
        datagram = datagram.long(unsafe { number.read_unaligned() }, new_number);
        unsafe { number.write_unaligned(new_number) };
    }
    let macs = view.at::<[Mac; 2]>(headers.ip - ETHERNET_LEN)?;
    unsafe { macs.write_unaligned([destination.next_hop, destination.interface_mac]) };
    Some(Changes { addresses, datagram })
}

/// Likewise, with the UDP checksum, which is complete or absent.
#[inline(always)]
pub fn rewrite_all(view: &View, headers: &Headers, way: Way, sequence: Option<u32>) -> Option<()> {
    let Changes { addresses, datagram } = rewrite(view, headers, way, sequence)?;
    let checksum = view.at::<u16>(headers.udp + UDP_CHECKSUM)?;
    // SAFETY: as in `rewrite`.
    unsafe {
        checksum.write_unaligned(addresses.and(datagram).apply_udp(checksum.read_unaligned()))
    };
    Some(())
}

#[inline(always)]
fn ipv4(view: &View, headers: &Headers, [source, target]: [Address; 2]) -> Option<Change> {
    let addresses = view.at::<[u32; 2]>(headers.ip + IPV4_ADDRESSES)?;
    let ([.., source], [.., target]) = (longs(source), longs(target));
    // SAFETY (all blocks): as in `rewrite`.
    let change = Change::default().longs(unsafe { addresses.read_unaligned() }, [source, target]);
    unsafe { addresses.write_unaligned([source, target]) };
    let ttl = view.at::<[u8; 2]>(headers.ip + IPV4_TTL)?;
    let [old, protocol] = unsafe { *ttl };
    let new = [HOP_LIMIT, protocol];
    unsafe { *ttl = new };
    let header = change.short(u16::from_ne_bytes([old, protocol]), u16::from_ne_bytes(new));
    let checksum = view.at::<u16>(headers.ip + IPV4_CHECKSUM)?;
    unsafe { checksum.write_unaligned(header.apply(checksum.read_unaligned())) };
    Some(change)
}

#[inline(always)]
fn ipv6(view: &View, headers: &Headers, [source, target]: [Address; 2]) -> Option<Change> {
    let addresses = view.at::<[[u32; 4]; 2]>(headers.ip + IPV6_ADDRESSES)?;
    // SAFETY (all blocks): as in `rewrite`.
    let [old_source, old_target] = unsafe { addresses.read_unaligned() };
    let (source, target) = (longs(source), longs(target));
    let change = Change::default().longs(old_source, source).longs(old_target, target);
    unsafe { addresses.write_unaligned([source, target]) };
    let hop_limit = view.at::<u8>(headers.ip + IPV6_HOP_LIMIT)?;
    unsafe { *hop_limit = HOP_LIMIT };
    Some(change)
}

/// An address in words of 32 bits, as they stand in memory.
#[inline(always)]
fn longs([a, b, c, d, e, f, g, h]: Address) -> [u32; 4] {
    [both(a, b), both(c, d), both(e, f), both(g, h)]
}

/// Two words that stand in a row.
#[inline(always)]
fn both(first: u16, second: u16) -> u32 {
    let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}
