//! `ipfix-balancer inspect`: what it says of files, held against the library's own decoder, against
//! `ipfixDump`, and against what the files were made of.

mod captures;
mod corpus;
mod faults;
mod filters;
mod forms;
mod memory;
mod session;
mod values;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::daemon::{self, Outcome, outcome};
use serde_json::Value;

const DONE: i32 = 0;
const FAILED: i32 = 1;
const WRONG: i32 = 2;

/// Files in a folder that is removed with it.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::Builder::new().prefix("ipfix-inspect-").tempdir()?))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }
}

/// Runs `inspect` with these options on a file.
fn inspect(options: &[&str], file: &Path) -> Result<Outcome> {
    run(options.iter().map(OsStr::new).chain([file.as_os_str()]))
}

fn run<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<Outcome> {
    outcome(Command::new(daemon::binary()?).arg("inspect").args(arguments))
}

/// What it shows of a file with these bytes, which must be without fault.
fn of_bytes(options: &[&str], name: &str, bytes: &[u8]) -> Result<String> {
    let files = Files::new()?;
    let outcome = inspect(options, &files.write(name, bytes)?)?;
    ensure!(outcome.code == DONE, "{outcome:?}");
    Ok(outcome.stdout)
}

/// The objects of JSON lines.
fn objects(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
}

/// The summary of a file, and what `inspect` says of its faults.
fn summary(file: &Path) -> Result<(Value, Outcome)> {
    let outcome = inspect(&["--summary", "--format", "json"], file)?;
    Ok((serde_json::from_str(&outcome.stdout).context(outcome.stdout.clone())?, outcome))
}
