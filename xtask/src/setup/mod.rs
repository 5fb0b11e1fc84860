//! `cargo xtask setup`: what builds and tests need, installed once, and quick when all is there.

mod debian;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::workspace::{cargo, run as run_command};

/// Installs what is missing.
pub fn run() -> Result<ExitCode> {
    debian::install_packages()?;
    install_cargo_fuzz()?;
    println!("setup: everything that builds and tests need is installed");
    Ok(ExitCode::SUCCESS)
}

fn install_cargo_fuzz() -> Result<()> {
    if succeeds(cargo().args(["fuzz", "--version"])) {
        return Ok(());
    }
    println!("setup: installing cargo-fuzz");
    run_command(cargo().args(["install", "--locked", "cargo-fuzz"]))
        .context("cargo-fuzz could not be installed")
}

/// Whether a command exists and ends well; its output is dropped.
fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
