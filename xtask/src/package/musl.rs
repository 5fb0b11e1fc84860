//! The daemon without any library of its host: linked to musl, statically.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::setup;
use crate::workspace::{cargo, output, run, target_dir};

/// What it is compiled for.
pub const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the daemon; where it is.
pub fn build_daemon() -> Result<PathBuf> {
    setup::for_musl(TARGET)?;
    println!("building the daemon for {TARGET}");
    let mut command = cargo();
    // For the parts that are in C.
    command.env("CC_x86_64_unknown_linux_musl", "musl-gcc");
    command.args(["build", "--quiet", "--locked", "--release", "--package=ipfix-balancer"]);
    run(command.args(["--target", TARGET]))?;
    let daemon = target_dir()?.join(TARGET).join("release/ipfix-balancer");
    is_static(&daemon)?;
    Ok(daemon)
}

fn is_static(program: &Path) -> Result<()> {
    let headers = output(Command::new("readelf").arg("--program-headers").arg(program))
        .context("readelf is in binutils")?;
    ensure!(!headers.contains("INTERP"), "{} is not static:\n{headers}", program.display());
    Ok(())
}
