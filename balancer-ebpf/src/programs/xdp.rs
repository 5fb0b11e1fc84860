//! Programs at the driver: the fast way.

use aya_ebpf::{
    bindings::{
        BPF_F_BROADCAST,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    },
    helpers::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_meta},
    macros::xdp,
    programs::XdpContext,
};
use common::maps::{FROM_XDP, MAX_DESTINATIONS, Receiver};

use super::{
    count,
    maps::{BROADCASTS, COPIES, CPUS, Copies, PACKETS, RECEIVERS, SESSIONS},
    packet::{ETHERNET_LEN, Form, Headers, View},
    rewrite::rewrite_all,
    steer::{Action, Hook, Verdict, Way, source, steer, way},
};

/// What a packet's copies are told by the original, in the metadata before it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Note {
    /// Number of the packet on this CPU.
    packet: u64,
    session: u32,
    receiver: u32,
}

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

/// Where a copy of a packet goes out, once for each destination behind the interface.
#[xdp(map = "devmap")]
pub fn ipfix_copy(ctx: XdpContext) -> u32 {
    copy(&ctx).unwrap_or(XDP_DROP)
}

#[inline(always)]
fn serve(ctx: &XdpContext, can_move: bool) -> u32 {
    let view = View::new(ctx.data(), ctx.data_end());
    let Some(headers) = Headers::read(&view) else { return XDP_PASS };
    let hook = Hook { segments: 1, completes_checksums: false, can_move, reach: FROM_XDP };
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
    rewrite_all(view, headers, verdict.way, Some(verdict.number))?;
    strip_tag(ctx, headers)?;
    // SAFETY: the value of a map; the helper takes any number.
    Some(unsafe { bpf_redirect((*verdict.way.destination).interface, 0) } as u32)
}

/// Takes away the VLAN tag that the packet came with: our Ethernet header stands before the IP
/// header by now, and begins after where the old one began.
#[inline(always)]
fn strip_tag(ctx: &XdpContext, headers: &Headers) -> Option<()> {
    if headers.ip == ETHERNET_LEN {
        return Some(());
    }
    // SAFETY: the helper checks what it is given; no pointer into the packet is used afterwards.
    let failed = unsafe { bpf_xdp_adjust_head(ctx.ctx, (headers.ip - ETHERNET_LEN) as i32) };
    (failed == 0).then_some(())
}

/// The packet goes up as it was.
#[inline(always)]
fn refuse(verdict: &Verdict) -> u32 {
    verdict.refuse();
    XDP_PASS
}

/// Hands the packet to the devices of all destinations; [`ipfix_copy`] does the rest.
#[inline(always)]
fn replicate(ctx: &XdpContext, headers: &Headers, verdict: &Verdict) -> u32 {
    let Some(devices) = BROADCASTS.get(verdict.receiver) else { return refuse(verdict) };
    // SAFETY: the helper checks what it is given; no pointer into the packet from before is used.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(size_of::<Note>() as i32)) } != 0 {
        // A driver without metadata.
        return refuse(verdict);
    }
    count::forwarded(verdict.receiver, headers.message_len() as u64);
    if annotate(ctx, verdict).and_then(|()| strip_tag(ctx, headers)).is_none() {
        return XDP_ABORTED;
    }
    devices.redirect(0, BPF_F_BROADCAST.into()).unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn annotate(ctx: &XdpContext, verdict: &Verdict) -> Option<()> {
    let counter = PACKETS.get_ptr_mut(0)?;
    // SAFETY: this CPU's value.
    let packet = unsafe {
        (*counter).copied += 1;
        (*counter).copied
    };
    if ctx.metadata() + size_of::<Note>() > ctx.data() {
        return None;
    }
    let (session, receiver) = (verdict.session, verdict.receiver);
    // SAFETY: just compared; metadata begin at a multiple of 4, and a program may write 8 bytes there.
    unsafe { (ctx.metadata() as *mut Note).write(Note { packet, session, receiver }) };
    Some(())
}

/// The n-th copy of a packet by this interface goes to the n-th destination behind it.
#[inline(always)]
fn copy(ctx: &XdpContext) -> Option<u32> {
    if ctx.metadata() + size_of::<Note>() > ctx.data() {
        return None;
    }
    // SAFETY: just compared; as in `annotate`.
    let note = unsafe { (ctx.metadata() as *const Note).read() };
    // SAFETY: the context is the program's own.
    let interface = unsafe { (*ctx.ctx).egress_ifindex };
    let copies = copies(interface)?;
    // SAFETY: this CPU's value.
    let first = unsafe {
        if (*copies).packet != note.packet {
            (*copies).packet = note.packet;
            (*copies).next = 0;
        }
        (*copies).next
    };
    let receiver = RECEIVERS.get_ptr(note.receiver)?;
    let session = SESSIONS.get_ptr(note.session)?;
    let destination = behind(receiver, note.receiver, interface, first)?;
    // SAFETY: this CPU's value. It is read again because the verifier knows the destination by heart, and
    // would follow the rest once for each; it knows nothing of what is in a map.
    let destination = unsafe {
        (&raw mut (*copies).next).write_volatile(destination + 1);
        (&raw const (*copies).next).read_volatile().wrapping_sub(1)
    };
    let way = Way {
        destination: way(receiver, note.receiver, destination)?,
        source: source(session, destination),
    };
    let view = View::new(ctx.data(), ctx.data_end());
    let headers = Headers::read(&view).filter(|headers| headers.form == Form::Plain)?;
    rewrite_all(&view, &headers, way, None)?;
    count::sent(note.receiver, destination, headers.message_len() as u64);
    Some(XDP_PASS)
}

/// What this CPU has sent by `interface`.
#[inline(always)]
fn copies(interface: u32) -> Option<*mut Copies> {
    if let Some(copies) = COPIES.get_ptr_mut(interface) {
        return Some(copies);
    }
    COPIES.insert(interface, Copies::default(), 0).ok()?;
    COPIES.get_ptr_mut(interface)
}

/// The receiver's first destination behind `interface`, from `first` on.
#[inline(always)]
fn behind(receiver: *const Receiver, index: u32, interface: u32, first: u32) -> Option<u32> {
    for destination in 0..MAX_DESTINATIONS as u32 {
        let way = way(receiver, index, destination)?;
        // SAFETY: the value of a map, a word that the daemon changes as a whole.
        if destination >= first && unsafe { (*way).interface } == interface {
            return Some(destination);
        }
    }
    None
}
