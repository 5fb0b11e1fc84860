//! What can be wrong, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why there is no eBPF object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No compiler has `core` for BPF.
    #[error(
        "no Rust compiler here builds for BPF (Debian's: {debian}; rustup's nightly: {nightly}): \
         `cargo xtask setup` installs one; `--no-default-features` builds a daemon without the \
         kernel path"
    )]
    NoCompiler {
        /// What keeps Debian's from it.
        debian: String,
        /// What keeps rustup's from it.
        nightly: String,
    },
    /// `bpf-linker` is nowhere.
    #[error(
        "bpf-linker is neither in PATH nor in {}: `cargo xtask setup` installs it; \
         `--no-default-features` builds a daemon without the kernel path", .0.display()
    )]
    NoLinker(PathBuf),
    /// A program that is there could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The compiler or the linker said no, and why.
    #[error("building the eBPF object failed ({status}) with {toolchain}; the reason stands above")]
    Build {
        /// What was used.
        toolchain: String,
        /// How it ended.
        status: ExitStatus,
    },
}
