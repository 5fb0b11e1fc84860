//! Builds the eBPF object, for the daemon's build script and for `cargo xtask`.
//!
//! The daemon builds with a stable compiler, which has no `core` for BPF. So the object is built by
//! a cargo of its own, with a compiler that does: see [`Toolchain::find`].

#![forbid(unsafe_code)]

mod compiler;
mod environment;
mod error;
mod linker;
mod object;

pub use self::error::Error;
pub use self::object::{Object, build, lint, sources};

use self::compiler::Compiler;
use std::fmt;
use std::path::PathBuf;

/// A compiler for BPF and a linker.
#[derive(Clone, Debug)]
pub struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

impl Toolchain {
    /// Finds Debian's compiler, or else a nightly one of rustup; and `bpf-linker`.
    ///
    /// # Errors
    ///
    /// Says what of it is missing, and what to do about it.
    pub fn find() -> Result<Self, Error> {
        Ok(Self { compiler: Compiler::find()?, linker: linker::find()? })
    }

    /// Whether [`lint`] works too.
    pub fn has_clippy(&self) -> bool {
        self.compiler.has_clippy()
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} and {}", self.compiler, self.linker.display())
    }
}
