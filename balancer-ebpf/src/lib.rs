//! The parts of the kernel path that run on any host, with their tests: the programs themselves are
//! in the binary of this package, for the target `bpfel-unknown-none`.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod checksum;
