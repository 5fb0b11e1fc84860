//! The program at the traffic control hooks: for interfaces whose driver has no XDP, and for exporters
//! on this host, whose packets go out by `lo`.

use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::{
        bpf_clone_redirect, bpf_l4_csum_replace, bpf_redirect, bpf_skb_pull_data, bpf_skb_vlan_pop,
    },
    macros::classifier,
    programs::TcContext,
};
use balancer_ebpf::checksum::Change;
use common::maps::{Destination, FROM_HOST, FROM_TC, MAX_DESTINATIONS};

use super::{
    count,
    maps::{RECEIVERS, SESSIONS},
    packet::{ETHERNET_LEN, Form, Headers, UDP_CHECKSUM, View},
    rewrite::{Changes, rewrite},
    steer::{Action, Hook, Verdict, Way, source, steer, way},
};

/// On into the network stack, after whatever other programs there are.
const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_SHOT: i32 = 2;

/// Where packets come in by an interface without XDP, and where packets of exporters on this host
/// go out by `lo`.
#[classifier]
pub fn ipfix_tc(ctx: TcContext) -> i32 {
    serve(&ctx).unwrap_or(TC_ACT_UNSPEC)
}

#[inline(always)]
fn serve(ctx: &TcContext) -> Option<i32> {
    let view = linear(ctx)?;
    let headers = Headers::read(&view)?;
    // The kernel has taken the packet's VLAN tag out of it: this is another one, inside that.
    if headers.at.ip != ETHERNET_LEN {
        return None;
    }
    // SAFETY: the context is the program's own.
    let (segments, ingress) = unsafe { ((*ctx.skb.skb).gso_segs, (*ctx.skb.skb).ingress_ifindex) };
    let hook = Hook {
        segments: segments.max(1),
        at_driver: None,
        can_move: false,
        // What goes out has not come in.
        reach: if ingress == 0 { FROM_HOST } else { FROM_TC },
    };
    let verdict = steer(&view, &headers, hook);
    if headers.form != Form::Plain {
        return None;
    }
    match verdict.action {
        // What has been given its turn can't go up any more.
        Action::One => Some(forward(ctx, &headers, &verdict).unwrap_or(TC_ACT_SHOT)),
        Action::Everyone => Some(replicate(ctx, &headers, &verdict).unwrap_or(TC_ACT_SHOT)),
        Action::Drop => Some(TC_ACT_SHOT),
        Action::Stack | Action::Move => None,
    }
}

/// Sends the packet to one destination.
#[inline(always)]
fn forward(ctx: &TcContext, headers: &Headers, verdict: &Verdict) -> Option<i32> {
    strip_tag(ctx)?;
    make_ours(ctx, headers, verdict.way, Some(verdict.number))?;
    Some(send(verdict.way))
}

/// Takes away the VLAN tag that the packet came with. It is kept beside the packet, and would go out
/// with it.
#[inline(always)]
fn strip_tag(ctx: &TcContext) -> Option<()> {
    // SAFETY: the context is the program's own.
    if unsafe { (*ctx.skb.skb).vlan_present } == 0 {
        return Some(());
    }
    // SAFETY: the helper takes the program's context; no pointer into the packet is used afterwards.
    (unsafe { bpf_skb_vlan_pop(ctx.skb.skb) } == 0).then_some(())
}

/// All of the packet in one piece, as far as it may be ours.
#[inline(always)]
fn linear(ctx: &TcContext) -> Option<View> {
    let view = View::new(ctx.data(), ctx.data_end());
    // SAFETY: the context is the program's own.
    let len = unsafe { (*ctx.skb.skb).len };
    if view.len() as u32 >= len {
        return Some(view);
    }
    // Most packets that come in pieces are TCP's. Of others a driver may have put no more than the
    // headers into the first piece, without the message.
    if !Headers::are_of_udp(&view) {
        return None;
    }
    // SAFETY: the helper checks what it is given; the view is made anew.
    if unsafe { bpf_skb_pull_data(ctx.skb.skb, len) } != 0 {
        return None;
    }
    Some(View::new(ctx.data(), ctx.data_end()))
}

/// Sends the packet to all destinations: copies, and itself to the last.
#[inline(always)]
fn replicate(ctx: &TcContext, headers: &Headers, verdict: &Verdict) -> Option<i32> {
    let receiver = RECEIVERS.get_ptr(verdict.receiver)?;
    let session = SESSIONS.get_ptr(verdict.session)?;
    // SAFETY: the value of a map, a word that the daemon changes as a whole.
    let destinations = unsafe { (*receiver).destinations };
    count::forwarded(verdict.receiver, headers.message_len() as u64);
    strip_tag(ctx)?;
    for destination in 0..MAX_DESTINATIONS as u32 {
        let destination_way = way(receiver, verdict.receiver, destination)?;
        let way = Way { destination: destination_way, source: source(session, destination) };
        make_ours(ctx, headers, way, None)?;
        count::sent(verdict.receiver, destination, headers.message_len() as u64);
        if destination + 1 == destinations {
            return Some(send(way));
        }
        // SAFETY: the value of a map; the helper checks what it is given, and leaves the packet writable.
        unsafe { bpf_clone_redirect(ctx.skb.skb, (*way.destination).interface, 0) };
    }
    Some(TC_ACT_SHOT)
}

/// Rewrites the packet. The helper knows of checksums that a network card is to complete.
#[inline(always)]
fn make_ours(ctx: &TcContext, headers: &Headers, way: Way, number: Option<u32>) -> Option<()> {
    // Every helper that changes the packet makes its pointers invalid.
    let view = View::new(ctx.data(), ctx.data_end());
    let Changes { addresses, datagram } = rewrite(&view, headers.at, way, number)?;
    follow(ctx, headers, addresses, BPF_F_PSEUDO_HDR.into());
    follow(ctx, headers, datagram, 0);
    Some(())
}

/// Lets the UDP checksum follow a change; none stays none.
#[inline(always)]
fn follow(ctx: &TcContext, headers: &Headers, change: Change, flags: u64) {
    let at = (headers.at.udp + UDP_CHECKSUM) as u32;
    let flags = flags | u64::from(BPF_F_MARK_MANGLED_0);
    // SAFETY: the helper checks what it is given. Length 0 in the flags stands for a difference.
    unsafe { bpf_l4_csum_replace(ctx.skb.skb, at, 0, change.sum().into(), flags) };
}

/// To a collector on this host the packet goes the way it was going.
#[inline(always)]
fn send(way: Way) -> i32 {
    // SAFETY: the value of a map, whole: the daemon does not change a place in use.
    let Destination { local, interface, .. } = unsafe { *way.destination };
    if local != 0 {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: the helper takes any number.
    unsafe { bpf_redirect(interface, 0) as i32 }
}
