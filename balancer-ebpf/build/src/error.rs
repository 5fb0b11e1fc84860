//! What can be wrong, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why there is no eBPF object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No compiler has `core` for BPF.
    #[error(
        "no Rust compiler here builds for BPF (Debian's: {debian}; rustup's nightly: {nightly}). \
         {REMEDY}"
    )]
    NoCompiler {
        /// What keeps Debian's from it.
        debian: String,
        /// What keeps rustup's from it.
        nightly: String,
    },
    /// `bpf-linker` is nowhere.
    #[error("no bpf-linker that runs is in PATH or in {}. {REMEDY}", .0.display())]
    NoLinker(PathBuf),
    /// A program that is there could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The compiler or the linker said no, and why.
    #[error(
        "the eBPF object does not build ({status}) with {toolchain}; the reason stands above. If it \
         is that bitcode cannot be read, bpf-linker was built with an older LLVM than the compiler"
    )]
    Build {
        /// What was used.
        toolchain: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Clippy said no, and why.
    #[error("clippy on the eBPF programs ended with {0}; the reason stands above")]
    Lint(ExitStatus),
}

/// What helps when something is missing.
const REMEDY: &str = "`cargo xtask setup` installs it, or says how; `--no-default-features` \
                      builds a daemon without the kernel path";
