//! Making a packet ours: new addresses, ports and number, with checksums that follow.

use balancer_ebpf::checksum::Change;
use common::{maps::Address, message::SEQUENCE_OFFSET};

use super::{
    packet::{
        ETHERNET_LEN, IPV4_ADDRESSES, IPV4_CHECKSUM, IPV4_TTL, IPV6_ADDRESSES, IPV6_HOP_LIMIT,
        Layout, UDP_CHECKSUM, View,
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
pub fn rewrite(view: &View, at: Layout, way: Way, sequence: Option<u32>) -> Option<Changes> {
    // SAFETY: the value of a map, whole: the daemon does not change a place in use.
    let (destination, source) = unsafe { (&*way.destination, &*way.source) };
    let addresses = [source.address, destination.address];
    let addresses = match at.ipv6 {
        true => ipv6(view, at, addresses)?,
        false => ipv4(view, at, addresses)?,
    };
    // What was read of the packet before may be history: at a TC hook each copy is made from the one before.
    let ports = both(source.port, destination.port);
    let mut datagram = Change::default().long(view.replace(at.udp, ports)?, ports);
    if let Some(sequence) = sequence {
        let number = sequence.to_be();
        let old = view.replace(at.message() + SEQUENCE_OFFSET, number)?;
        datagram = datagram.long(old, number);
    }
    view.replace(at.ip - ETHERNET_LEN, [destination.next_hop, destination.interface_mac])?;
    Some(Changes { addresses, datagram })
}

/// Likewise, with the UDP checksum, which is complete or absent.
#[inline(always)]
pub fn rewrite_all(view: &View, at: Layout, way: Way, sequence: Option<u32>) -> Option<()> {
    let Changes { addresses, datagram } = rewrite(view, at, way, sequence)?;
    let checksum = at.udp + UDP_CHECKSUM;
    view.replace(checksum, addresses.and(datagram).apply_udp(view.read(checksum)?))?;
    Some(())
}

#[inline(always)]
fn ipv4(view: &View, at: Layout, [source, target]: [Address; 2]) -> Option<Change> {
    let ([.., source], [.., target]) = (longs(source), longs(target));
    let new = [source, target];
    let change = Change::default().longs(view.replace(at.ip + IPV4_ADDRESSES, new)?, new);
    let [ttl, protocol]: [u8; 2] = view.read(at.ip + IPV4_TTL)?;
    view.replace(at.ip + IPV4_TTL, HOP_LIMIT)?;
    let [old, new] = [ttl, HOP_LIMIT].map(|ttl| u16::from_ne_bytes([ttl, protocol]));
    let checksum = at.ip + IPV4_CHECKSUM;
    view.replace(checksum, change.short(old, new).apply(view.read(checksum)?))?;
    Some(change)
}

#[inline(always)]
fn ipv6(view: &View, at: Layout, [source, target]: [Address; 2]) -> Option<Change> {
    let new = [longs(source), longs(target)];
    let [old_source, old_target] = view.replace(at.ip + IPV6_ADDRESSES, new)?;
    let [source, target] = new;
    view.replace(at.ip + IPV6_HOP_LIMIT, HOP_LIMIT)?;
    Some(Change::default().longs(old_source, source).longs(old_target, target))
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
