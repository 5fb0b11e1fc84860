//! The programs. Each forwards what [`steer`] finds fit for it, and leaves everything else to the
//! network stack, untouched.

#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of destinations, lengths of packets, and codes of helpers: a check that can't \
              fail is one more path for the verifier"
)]

mod checksum;
mod count;
mod egress;
mod flows;
mod maps;
mod packet;
mod replicate;
mod rewrite;
mod steer;
mod tc;
mod word;
mod xdp;

/// The kernel lends its GPL-only helpers to programs under a licence compatible with its own.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The verifier accepts no program that can panic: this is here for the compiler alone.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
