//! `bpftool`, as an operator uses it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program;
use crate::daemon::outcome;

/// The elements of a pinned map, with their fields' names.
pub fn bpf_map(pin: &Path) -> Result<Vec<Value>> {
    let mut command = Command::new(program("bpftool", "bpftool")?);
    command.args(["--json", "map", "dump", "pinned"]).arg(pin);
    let outcome = outcome(&mut command)?;
    ensure!(outcome.code == 0, "{command:?}: {}{}", outcome.stdout, outcome.stderr);
    serde_json::from_str(&outcome.stdout).with_context(|| outcome.stdout.clone())
}
