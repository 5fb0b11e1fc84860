//! Test equipment of `cargo xtask bench`, as programs of the kernel: a generator, what the balancer's
//! programs are compared with, and sinks. Nothing of this is in the daemon.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
