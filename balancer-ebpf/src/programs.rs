//! Entry points, each in a section that says where it attaches.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

/// The kernel lends its GPL-only helpers to programs under a licence compatible with its own.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Passes every packet up: the daemon serves all receivers.
#[xdp]
pub fn ipfix_xdp(_packet: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// The verifier accepts no program that can panic: this is here for the compiler alone.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
