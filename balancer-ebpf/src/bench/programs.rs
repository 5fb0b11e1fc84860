//! The programs. Each serves one place of a measurement, and is loaded once for each.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "lengths of packets, and codes of helpers"
)]

use aya_ebpf::{
    bindings::{
        BPF_F_BROADCAST,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    },
    btf_maps::{Array, DevMap, PerCpuArray},
    helpers::{bpf_ktime_get_ns, bpf_redirect, bpf_xdp_adjust_tail},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use balancer_ebpf::checksum::Change;

/// Frames that are sent in turn, at most.
const MAX_FRAMES: usize = 32;
/// Words of the headers of a frame: Ethernet, IPv4, UDP, the message's and its first set's, and the
/// two bytes after that.
const HEADER_WORDS: usize = 16;
/// Times on the way that are told apart, in microseconds.
const TIMES_LEN: usize = 4096;
/// Where the EtherType is, the protocol, the UDP checksum, the message's sequence number and its time
/// stamp.
const ETHERTYPE: usize = 12;
const PROTOCOL: usize = 14 + 9;
const CHECKSUM: usize = 14 + 20 + 6;
const SEQUENCE: usize = 14 + 20 + 8 + 8;
const STAMP: usize = 14 + 20 + 8 + 20;

/// The interface that frames are sent by.
#[unsafe(no_mangle)]
static INTERFACE: u32 = 0;
/// How many of `FRAMES` there are, a power of two.
#[unsafe(no_mangle)]
static KINDS: u32 = 0;

/// Value of `FRAMES`.
#[repr(C)]
pub struct Frame {
    /// Bytes of all of it.
    pub len: u32,
    /// Records in its message.
    pub records: u32,
    /// As they stand in the frame; the UDP checksum is right for the sequence number 0.
    pub headers: [u32; HEADER_WORDS],
}

/// Value of `PROGRESS`. One CPU sends.
#[repr(C)]
pub struct Progress {
    /// Frames handed to the interface.
    pub frames: u64,
    /// The next message's number.
    pub sequence: u64,
}

#[btf_map]
static FRAMES: Array<Frame, MAX_FRAMES> = Array::new();
#[btf_map]
static PROGRESS: Array<Progress, 1> = Array::new();
#[btf_map]
static DEVICES: DevMap<16> = DevMap::new();
#[btf_map]
static ARRIVED: PerCpuArray<u64, 1> = PerCpuArray::new();
#[btf_map]
static TIMES: PerCpuArray<u64, TIMES_LEN> = PerCpuArray::new();

/// Sends frames of one session, for `BPF_F_TEST_XDP_LIVE_FRAMES`.
#[xdp]
pub fn bench_generate(ctx: XdpContext) -> u32 {
    generate(&ctx).unwrap_or(XDP_ABORTED)
}

/// The least that a program which forwards can do.
#[xdp]
pub fn bench_redirect(_ctx: XdpContext) -> u32 {
    redirect()
}

/// The least that a program which copies can do.
#[xdp]
pub fn bench_broadcast(_ctx: XdpContext) -> u32 {
    DEVICES.redirect(0, BPF_F_BROADCAST.into()).unwrap_or(XDP_ABORTED)
}

/// Counts and drops UDP over IPv4, and keeps how long messages with a time stamp were on their way.
#[xdp]
pub fn bench_sink(ctx: XdpContext) -> u32 {
    let at = |offset: usize| ctx.data() + offset;
    if at(PROTOCOL + 1) > ctx.data_end() {
        return XDP_PASS;
    }
    // SAFETY: just compared with the packet's end; frames begin at an even address.
    let ethertype = unsafe { *(at(ETHERTYPE) as *const u16) };
    // SAFETY: just compared.
    let protocol = unsafe { *(at(PROTOCOL) as *const u8) };
    if ethertype != 0x0800_u16.to_be() || protocol != 17 {
        return XDP_PASS;
    }
    if let Some(arrived) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: this CPU's value; programs of this kind do not interrupt each other.
        unsafe { *arrived += 1 };
    }
    if at(STAMP + 8) <= ctx.data_end() {
        // SAFETY: just compared.
        let stamp = unsafe { (at(STAMP) as *const u64).read_unaligned() };
        if stamp != 0 {
            arrived_after(u64::from_be(stamp));
        }
    }
    XDP_DROP
}

#[inline(always)]
fn arrived_after(sent: u64) {
    // SAFETY: the helper takes nothing. Its clock is that of the stamps.
    let now = unsafe { bpf_ktime_get_ns() };
    let micros = now.saturating_sub(sent) / 1000;
    let last = TIMES_LEN as u64 - 1;
    if let Some(times) = TIMES.get_ptr_mut(micros.min(last) as u32) {
        // SAFETY: as in `bench_sink`.
        unsafe { *times += 1 };
    }
}

#[inline(always)]
fn generate(ctx: &XdpContext) -> Option<u32> {
    // SAFETY: the value of a map; one CPU sends, and nobody else changes it meanwhile.
    let progress = unsafe { &mut *PROGRESS.get_ptr_mut(0)? };
    let kind = progress.frames as u32 & kinds().wrapping_sub(1);
    // SAFETY: the value of a map, which nobody changes while a generator runs.
    let frame = unsafe { &*FRAMES.get_ptr(kind)? };
    let excess = frame.len as i32 - (ctx.data_end() - ctx.data()) as i32;
    // SAFETY: the helper checks what it is given; no pointer into the packet is used afterwards.
    if excess != 0 && unsafe { bpf_xdp_adjust_tail(ctx.ctx, excess) } != 0 {
        return None;
    }
    let start = ctx.data();
    if start + HEADER_WORDS * 4 > ctx.data_end() {
        return None;
    }
    let sequence = (progress.sequence as u32).to_be();
    // SAFETY: just compared with the packet's end; frames begin at a multiple of 4, the sequence number
    // does not. The buffer comes back as the last receiver left it: all headers are written.
    unsafe {
        *(start as *mut [u32; HEADER_WORDS]) = frame.headers;
        let checksum = (start + CHECKSUM) as *mut u16;
        *checksum = Change::default().long(0, sequence).apply_udp(*checksum);
        ((start + SEQUENCE) as *mut u32).write_unaligned(sequence);
    }
    progress.frames += 1;
    progress.sequence += u64::from(frame.records);
    Some(redirect())
}

#[inline(always)]
fn redirect() -> u32 {
    // SAFETY: the helper takes any number.
    unsafe { bpf_redirect(interface(), 0) as u32 }
}

#[inline(always)]
fn interface() -> u32 {
    // SAFETY: a constant of this program, set when it is loaded.
    unsafe { (&raw const INTERFACE).read_volatile() }
}

#[inline(always)]
fn kinds() -> u32 {
    // SAFETY: as in `interface`.
    unsafe { (&raw const KINDS).read_volatile() }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The verifier accepts no program that can panic: this is here for the compiler alone.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
