//! All at the driver: the kernel copies the packet, and each copy is made ours on its way out.

use aya_ebpf::{
    bindings::{
        BPF_F_BROADCAST,
        xdp_action::{XDP_ABORTED, XDP_PASS},
    },
    programs::XdpContext,
};
use common::maps::{Destination, MAX_DESTINATIONS, MAX_RECEIVERS, MAX_SESSIONS, Receiver};

use super::{
    count,
    maps::{BROADCASTS, COPIES, Copies, RECEIVERS, SESSIONS},
    packet::{Headers, Layout, Numbers, View},
    rewrite::rewrite_all,
    steer::{Verdict, Way, source, way},
    xdp::{refuse, strip_tag},
};

/// What a packet's copies are told by the original. It stands in the place of the Ethernet addresses,
/// which each copy gets new ones of.
#[derive(Clone, Copy)]
#[repr(C)]
struct Note {
    /// The message's number in its session.
    number: u32,
    session: u16,
    /// [`SIGN`], where a finished packet has the first byte of our interface's address.
    sign: u8,
    receiver: u8,
    message_len: u16,
    /// 1: IPv6.
    ipv6: u16,
}

/// The bit that an address of a group has, and no interface's own (IEEE 802).
const SIGN: u8 = 1;

// SAFETY: integers without padding between them.
unsafe impl Numbers for Note {}

const _: () = assert!(MAX_RECEIVERS <= 1 << 8 && MAX_SESSIONS <= 1 << 16);

/// Hands the packet to the devices of all destinations; [`finish`] does the rest.
#[inline(always)]
pub fn replicate(ctx: &XdpContext, headers: &Headers, verdict: &Verdict) -> u32 {
    let Some(devices) = BROADCASTS.get(verdict.receiver) else { return refuse(verdict) };
    count::forwarded(verdict.receiver, headers.message_len() as u64);
    if annotate(ctx, headers, verdict).is_none() {
        return XDP_ABORTED;
    }
    devices.redirect(0, BPF_F_BROADCAST.into()).unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn annotate(ctx: &XdpContext, headers: &Headers, verdict: &Verdict) -> Option<()> {
    strip_tag(ctx, headers)?;
    let note = Note {
        number: verdict.number,
        session: verdict.session as u16,
        sign: SIGN,
        receiver: verdict.receiver as u8,
        message_len: headers.message_len() as u16,
        ipv6: headers.at.ipv6.into(),
    };
    View::new(ctx.data(), ctx.data_end()).replace(0, note).map(|_| ())
}

/// Makes a copy of a packet ours: the n-th by this interface goes to the n-th destination behind it.
/// What is no copy has been finished before.
#[inline(always)]
pub fn finish(ctx: &XdpContext) -> Option<u32> {
    let view = View::new(ctx.data(), ctx.data_end());
    let note: Note = view.read(0)?;
    if note.sign & SIGN == 0 {
        return Some(XDP_PASS);
    }
    // SAFETY: the context is the program's own.
    let interface = unsafe { (*ctx.ctx).egress_ifindex };
    let copies = COPIES.get_ptr_mut(interface)?;
    // SAFETY: this CPU's value.
    let copies = unsafe { &mut *copies };
    let is_next = (copies.number, copies.session) == (note.number, note.session);
    let first = if is_next { copies.next.into() } else { 0 };
    let (receiver, session) = (note.receiver.into(), note.session.into());
    let row = RECEIVERS.get_ptr(receiver)?;
    let (number, destination) = behind(row, receiver, interface, first)?;
    *copies = Copies { number: note.number, session: note.session, next: number as u16 + 1 };
    let way = Way { destination, source: source(SESSIONS.get_ptr(session)?, number) };
    match note.ipv6 {
        0 => rewrite_all(&view, Layout::plain(false), way, None)?,
        _ => rewrite_all(&view, Layout::plain(true), way, None)?,
    }
    count::sent(receiver, number, note.message_len.into());
    Some(XDP_PASS)
}

/// The receiver's first destination behind `interface`, from number `first` on.
#[inline(always)]
fn behind(
    row: *const Receiver,
    receiver: u32,
    interface: u32,
    first: u32,
) -> Option<(u32, *const Destination)> {
    for step in 0..MAX_DESTINATIONS as u32 {
        let number = first + step;
        if number >= MAX_DESTINATIONS as u32 {
            return None;
        }
        let destination = way(row, receiver, number)?;
        // SAFETY: the value of a map, a word that the daemon changes as a whole.
        if unsafe { (*destination).interface } == interface {
            return Some((number, destination));
        }
    }
    None
}
