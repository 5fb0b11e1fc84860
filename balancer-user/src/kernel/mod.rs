//! The kernel path: loading of the programs.

pub mod object;
