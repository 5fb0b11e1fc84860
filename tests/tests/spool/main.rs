//! SPEC section 4: what a destination can't take waits in memory, then on disk, and leaves in order.

#![expect(clippy::print_stdout, reason = "a failed run is replayed by its seed")]

mod commands;
mod crash;
mod kills;
mod limits;
mod outage;
mod redefined;
mod restart;
mod scene;
mod turns;
