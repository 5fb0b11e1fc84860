//! Whether a sender has left the UDP checksum to its network card (`CHECKSUM_PARTIAL`), which a packet
//! that comes from another namespace of this host has never seen.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use balancer_ebpf::checksum::{adds_up, is_pseudo};

use super::packet::{Headers, IPV4_ADDRESSES, IPV6_ADDRESSES, PROTOCOL_UDP, View, opaque};

/// Words that are added up at once: the verifier follows each way out of a loop.
const BLOCK: usize = 16;
/// Blocks of a datagram that are added up: more than a page, and so a packet at XDP, has. A longer one
/// that looks incomplete counts as incomplete.
const MAX_BLOCKS: usize = 64;

/// Whether it is incomplete, and not zero.
#[inline(always)]
pub fn is_partial(packet: *mut xdp_md, view: &View, headers: &Headers) -> bool {
    // What is complete looks like this once in 65,536 messages: then all of it has to be added up.
    is_of_pseudo_header(view, headers) && !is_complete(packet, headers)
}

#[inline(always)]
fn is_of_pseudo_header(view: &View, headers: &Headers) -> bool {
    let Headers { at, datagram, .. } = headers;
    let rest = [PROTOCOL_UDP.to_be(), datagram.len];
    match at.ipv6 {
        true => view
            .read::<[u32; 8]>(at.ip + IPV6_ADDRESSES)
            .is_some_and(|addresses| is_pseudo(datagram.checksum, addresses, rest)),
        false => view
            .read::<[u32; 2]>(at.ip + IPV4_ADDRESSES)
            .is_some_and(|addresses| is_pseudo(datagram.checksum, addresses, rest)),
    }
}

/// For a checksum that is the sum of the pseudo header.
#[inline(always)]
fn is_complete(packet: *mut xdp_md, headers: &Headers) -> bool {
    let Headers { at, datagram, .. } = headers;
    let sum = ipfix_sum(packet, at.udp as u32, u16::from_be(datagram.len).into());
    adds_up(sum + u64::from(datagram.checksum))
}

/// The sum of `len` bytes of the packet from `at` on, in 16-bit words; 0 if it has not as many.
///
/// A function of its own, which the verifier looks at once, and not with everything that led to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ipfix_sum(ctx: *mut xdp_md, at: u32, len: u32) -> u64 {
    let ctx = XdpContext::new(ctx);
    sum(&View::new(ctx.data(), ctx.data_end()), at as usize, len as usize).unwrap_or(0)
}

#[inline(always)]
fn sum(view: &View, mut at: usize, mut rest: usize) -> Option<u64> {
    let mut sum = 0_u64;
    for _ in 0..MAX_BLOCKS {
        if rest < BLOCK * 4 {
            break;
        }
        let block: [u32; BLOCK] = view.read(opaque(at))?;
        sum += block.into_iter().map(u64::from).sum::<u64>();
        (at, rest) = (at + BLOCK * 4, rest - BLOCK * 4);
    }
    for _ in 1..BLOCK {
        if rest < 4 {
            break;
        }
        sum += u64::from(view.read::<u32>(opaque(at))?);
        (at, rest) = (at + 4, rest - 4);
    }
    // What is left begins at an even place, and a missing last byte counts as 0 (RFC 768): it is the end
    // of the last four bytes.
    let last: u32 = view.read(opaque((at + rest).checked_sub(4)?))?;
    (rest < 4).then(|| sum + (u64::from(last.to_le()) >> (32 - 8 * rest)))
}
