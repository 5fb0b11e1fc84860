//! The two compilers that have `core` for BPF.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::environment::clean;
use crate::object::TARGET;

/// Debian's cargo and compiler. `PATH` does not say where: rustup's come first there.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler for BPF.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// Debian's, with a `core` that Debian has built.
    Debian { version: String },
    /// rustup's nightly, which builds `core` from its source.
    Nightly { version: String },
}

impl Compiler {
    /// The first of the two that is complete.
    pub fn find() -> Result<Self, Error> {
        debian()
            .or_else(|debian| nightly().map_err(|nightly| Error::NoCompiler { debian, nightly }))
    }

    /// `cargo build` with it.
    pub fn build(&self) -> Command {
        match self {
            Self::Debian { .. } => debian_cargo(DEBIAN_CARGO, "build"),
            Self::Nightly { .. } => nightly_cargo("build"),
        }
    }

    /// `cargo clippy` with it. Debian's is called by its path: its cargo would find rustup's.
    pub fn clippy(&self) -> Command {
        match self {
            Self::Debian { .. } => debian_cargo(DEBIAN_CLIPPY, "clippy"),
            Self::Nightly { .. } => nightly_cargo("clippy"),
        }
    }

    /// Whether its clippy is installed.
    pub fn has_clippy(&self) -> bool {
        output(self.clippy().arg("--version")).is_ok()
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Debian { version } | Self::Nightly { version }) = self;
        formatter.write_str(version)
    }
}

fn debian_cargo(program: &str, subcommand: &str) -> Command {
    let mut command = Command::new(program);
    clean(&mut command);
    command.arg(subcommand).env("CARGO", DEBIAN_CARGO).env("RUSTC", DEBIAN_RUSTC);
    // aya-ebpf needs inline assembly for BPF, which is not stable.
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

fn nightly_cargo(subcommand: &str) -> Command {
    let mut command = rustup_run("cargo");
    command.args([subcommand, "-Z", "build-std=core"]);
    command
}

fn debian() -> Result<Compiler, String> {
    let version = output(debian_rustc().arg("--version"))?;
    if !Path::new(DEBIAN_CARGO).is_file() {
        return Err(format!("{DEBIAN_CARGO} is missing"));
    }
    let libraries = ["--print", "target-libdir", "--target", TARGET];
    let libraries = output(debian_rustc().args(libraries))?;
    if !has_core(Path::new(&libraries)) {
        return Err(format!("{version} has no core for {TARGET}"));
    }
    Ok(Compiler::Debian { version })
}

fn debian_rustc() -> Command {
    let mut command = Command::new(DEBIAN_RUSTC);
    clean(&mut command);
    command
}

fn nightly() -> Result<Compiler, String> {
    let version = output(rustup_run("rustc").arg("--version"))?;
    let sysroot = output(rustup_run("rustc").args(["--print", "sysroot"]))?;
    let source = PathBuf::from(sysroot).join("lib/rustlib/src/rust/library/core");
    if !source.is_dir() {
        return Err(format!("{version} lacks the component rust-src"));
    }
    Ok(Compiler::Nightly { version })
}

fn rustup_run(program: &str) -> Command {
    let mut command = Command::new("rustup");
    clean(&mut command);
    command.args(["run", "nightly", program]);
    command
}

fn has_core(libraries: &Path) -> bool {
    let Ok(entries) = libraries.read_dir() else {
        return false;
    };
    entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"libcore-"))
}

/// What a command says, or why it says nothing.
fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(reason.lines().next().unwrap_or("it fails without a word").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
