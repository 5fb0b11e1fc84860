//! Where things are, and how other programs are started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The workspace's root directory.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that started this program, in the workspace's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The directory that cargo builds into.
pub fn target_dir() -> Result<PathBuf> {
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--locked"];
    let metadata: serde_json::Value = serde_json::from_str(&output(cargo().args(arguments))?)?;
    let target = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(target.context("cargo metadata names no target directory")?.into())
}

/// Builds the daemon, as it is to be installed; where it is.
pub fn build_daemon() -> Result<PathBuf> {
    println!("building the daemon");
    let package = ["--release", "--package=ipfix-balancer"];
    run(cargo().args(["build", "--quiet", "--locked"]).args(package))?;
    Ok(target_dir()?.join("release/ipfix-balancer"))
}

/// Runs a command to its end, and gives what it printed; anything but success is an error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, its output shown; anything but success is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
