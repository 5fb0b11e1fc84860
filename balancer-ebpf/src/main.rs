//! The programs that the kernel runs. On any other target this is an empty program, so that the
//! whole workspace builds and is linted with one command.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// Exchange and addition that return the old value; `core` has none for this target.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features))]

#[cfg(target_arch = "bpf")]
mod programs;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
