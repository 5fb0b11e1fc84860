//! What interfaces do not take of the frames that XDP programs send by them.

use aya_ebpf::{EbpfContext, macros::tracepoint, programs::TracePointContext};

use super::maps::EGRESS_DROPS;

/// What the kernel tells at `xdp:xdp_devmap_xmit`, since Linux 5.6: see `format` in
/// `/sys/kernel/tracing/events/xdp/xdp_devmap_xmit`.
#[repr(C)]
struct Transmit {
    common: u64,
    from_interface: u32,
    action: u32,
    interface: u32,
    drops: i32,
}

/// Where the kernel has handed a bulk of frames, up to 16, to an interface's driver. The daemon has
/// entered the interfaces that it sends by.
#[tracepoint]
pub fn ipfix_egress(ctx: TracePointContext) -> u32 {
    let transmit = ctx.as_ptr() as *const Transmit;
    // SAFETY: the verifier compares with what the event has.
    let (interface, drops) = unsafe { ((*transmit).interface, (*transmit).drops) };
    if drops > 0
        && let Some(counter) = EGRESS_DROPS.get_ptr_mut(interface)
    {
        // SAFETY: this CPU's value; frames are sent in softirq context alone.
        unsafe { *counter += drops as u64 };
    }
    0
}
