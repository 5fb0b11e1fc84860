//! `promtool` of Prometheus.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::program;
use crate::daemon::Outcome;

/// Runs `promtool` with these arguments, and with `input` to read.
pub fn promtool(arguments: &[&str], input: &str) -> Result<Outcome> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input.as_bytes())?;
    std::io::Seek::rewind(&mut file)?;
    run(Command::new(program("promtool", "prometheus")?).args(arguments), file)
}

fn run(command: &mut Command, input: File) -> Result<Outcome> {
    let output =
        command.stdin(Stdio::from(input)).output().with_context(|| format!("{command:?}"))?;
    Ok(Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
