//! Where the daemon's binary is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The daemon's binary: `IPFIX_BALANCER_BIN`, or the one beside the running program, brought up
/// to date by cargo once a process.
pub fn path() -> Result<&'static Path> {
    let binary = BINARY.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    binary.as_deref().map_err(|error| anyhow!("{error}"))
}

fn find() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("IPFIX_BALANCER_BIN") {
        return Ok(PathBuf::from(given));
    }
    let program = std::env::current_exe()?;
    let folder = program.parent().context("the running program is nowhere")?;
    // Tests are in target/PROFILE/deps, programs in target/PROFILE.
    let profile = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().context("no profile folder")?,
        _ => folder,
    };
    build(profile)?;
    Ok(profile.join("ipfix-balancer"))
}

fn build(profile: &Path) -> Result<()> {
    let target = profile.parent().context("no target folder")?;
    let name = profile.file_name().unwrap_or_default();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--quiet", "--package", "ipfix-balancer", "--profile"])
        .arg(if name == "debug" { "dev".as_ref() } else { name })
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let outcome = super::outcome(&mut command)?;
    if outcome.code != 0 {
        bail!("the daemon does not build:\n{}", outcome.stderr);
    }
    Ok(())
}
