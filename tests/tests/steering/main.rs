//! The kernel programs by themselves: packet in, verdict, packet out, state and counters.
//!
//! [`table`] lists cases; `kernel` runs each through `BPF_PROG_TEST_RUN`, `userspace` gives the same
//! messages to the daemon's router, from the same state. Where the kernel forwards, both must send
//! the same bytes to the same destination; where it passes up, the router's result is what collectors
//! get. `BPF_PROG_TEST_RUN` decides, but sends nothing: what needs real interfaces is in `lab`.

mod budget;
mod case;
mod cost;
mod kernel;
mod lab;
mod moved;
mod properties;
mod table;
mod userspace;
mod world;
