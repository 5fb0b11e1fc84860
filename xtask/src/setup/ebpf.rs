//! What builds the eBPF object: a compiler that has `core` for BPF, and `bpf-linker`.

use anyhow::{Context, Result, bail};
use balancer_ebpf_build::{Error, Toolchain};

use super::debian::{self, Package};
use crate::workspace::{cargo, run};

/// Debian's compiler leaves rustup's alone: that one comes first in `PATH`, and the build asks for
/// Debian's by its full path.
const PACKAGES: &[Package] = &[
    ("cargo-web", "builds the eBPF object"),
    ("libstd-rust-web-dev-bpf", "the library of eBPF programs"),
    ("llvm-22-dev", "bpf-linker is made from it"),
    ("rust-web-clippy", "lints eBPF programs"),
    ("rustc-web", "compiles eBPF programs"),
];

const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "0.13.0";
/// The same LLVM as in Debian's compiler, whose bitcode the linker reads.
const LLVM_FEATURE: &str = "llvm-22";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// The way without Debian's packages; any distribution has it.
const BY_HAND: &str = "This system has no packages for it (Debian 12 has them in \
    bookworm-security), so install by hand: `rustup toolchain install nightly --profile minimal \
    --component rust-src,clippy`, and `cargo install --locked bpf-linker`, which needs the development \
    files of an LLVM no older than the compiler's (https://github.com/aya-rs/bpf-linker)";

/// The packages that are wanted: none where there is a whole toolchain, whichever that is.
pub fn packages() -> Result<&'static [Package]> {
    match Toolchain::find() {
        Ok(toolchain) if toolchain.has_clippy() => Ok(&[]),
        _ if debian::offers(PACKAGES)? => Ok(PACKAGES),
        Ok(_) => Ok(&[]),
        Err(missing) => bail!("{missing}. {BY_HAND}"),
    }
}

/// Installs what a build takes, if anything of that is missing.
pub fn install() -> Result<()> {
    if Toolchain::find().is_err() {
        debian::install_packages(packages()?)?;
    }
    install_linker()
}

/// Installs the linker, which needs the packages.
pub fn install_linker() -> Result<()> {
    if let Err(Error::NoLinker(_)) = Toolchain::find() {
        println!("setup: installing {LINKER}");
        let mut command = cargo();
        command.args(["install", "--locked", "--version", LINKER_VERSION, LINKER]);
        command.args(["--no-default-features", "--features", LLVM_FEATURE]);
        // One that is there, but does not run, would stay otherwise.
        command.arg("--force").env("LLVM_PREFIX", LLVM_PREFIX);
        run(&mut command).with_context(|| format!("{LINKER} could not be installed"))?;
    }
    Toolchain::find()?;
    Ok(())
}
