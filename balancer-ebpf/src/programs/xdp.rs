//! Programs at the driver: the fast way.

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    helpers::{bpf_redirect, bpf_xdp_adjust_head},
    macros::xdp,
    programs::XdpContext,
};
use common::maps::FROM_XDP;

use super::{
    maps::{CPUS, DEVICES},
    packet::{ETHERNET_LEN, Headers, View},
    replicate::{finish, replicate},
    rewrite::rewrite_all,
    steer::{Action, Hook, Verdict, steer},
};

/// Where packets come in.
#[xdp]
pub fn ipfix_xdp(ctx: XdpContext) -> u32 {
    serve(&ctx, true)
}

/// The same on the CPU of the receiver's `TASKSET`.
#[xdp(map = "cpumap")]
pub fn ipfix_cpu(ctx: XdpContext) -> u32 {
    serve(&ctx, false)
}

/// Where a copy of a packet goes out, once for each destination behind the interface; and whatever else
/// goes out there from XDP.
#[xdp(map = "devmap")]
pub fn ipfix_copy(ctx: XdpContext) -> u32 {
    finish(&ctx).unwrap_or(XDP_DROP)
}

#[inline(always)]
fn serve(ctx: &XdpContext, can_move: bool) -> u32 {
    let view = View::new(ctx.data(), ctx.data_end());
    let Some(headers) = Headers::read(&view) else { return XDP_PASS };
    let hook = Hook { segments: 1, at_driver: Some(ctx.ctx), can_move, reach: FROM_XDP };
    let verdict = steer(&view, &headers, hook);
    match verdict.action {
        Action::Stack => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Move => {
            CPUS.redirect(verdict.cpu, XDP_PASS.into()).unwrap_or_else(|_| refuse(&verdict))
        }
        Action::One => send(ctx, &view, &headers, &verdict).unwrap_or(XDP_ABORTED),
        Action::Everyone => replicate(ctx, &headers, &verdict),
    }
}

#[inline(always)]
fn send(ctx: &XdpContext, view: &View, headers: &Headers, verdict: &Verdict) -> Option<u32> {
    rewrite_all(view, headers.at, verdict.way, Some(verdict.number))?;
    strip_tag(ctx, headers)?;
    // SAFETY: the value of a map.
    Some(redirect(unsafe { (*verdict.way.destination).interface }))
}

/// Hands a finished packet to an interface. Where copies go out as well that has their program: the
/// kernel collects what a poll sends to an interface, and runs all of it through the program that came with
/// the first packet, or through none.
#[inline(always)]
fn redirect(interface: u32) -> u32 {
    // SAFETY: the helper takes any number.
    let plainly = |_| unsafe { bpf_redirect(interface, 0) } as u32;
    DEVICES.redirect(interface, 0).unwrap_or_else(plainly)
}

/// Takes away the VLAN tag that the packet came with: our Ethernet header stands before the IP
/// header by now, and begins after where the old one began.
#[inline(always)]
pub fn strip_tag(ctx: &XdpContext, headers: &Headers) -> Option<()> {
    if headers.at.ip == ETHERNET_LEN {
        return Some(());
    }
    // SAFETY: the helper checks what it is given; no pointer into the packet is used afterwards.
    let failed = unsafe { bpf_xdp_adjust_head(ctx.ctx, (headers.at.ip - ETHERNET_LEN) as i32) };
    (failed == 0).then_some(())
}

/// The packet goes up as it was.
#[inline(always)]
pub fn refuse(verdict: &Verdict) -> u32 {
    verdict.refuse();
    XDP_PASS
}
