//! The workflows of the project's public home: that they can be read, and that what they run is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::Value;

use crate::Cli;
use crate::workspace::root;

#[test]
fn every_workflow_is_sound() {
    let folder = root().join(".github/workflows");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        is_sound(&path).with_context(|| path.display().to_string()).unwrap();
        names.push(path.file_name().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["ci.yml", "fuzz.yml", "kernels.yml", "release.yml"]);
}

fn is_sound(path: &Path) -> Result<()> {
    let workflow: Value = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
    for key in ["name", "on", "permissions"] {
        ensure!(workflow.get(key).is_some(), "no `{key}`");
    }
    let jobs = workflow.get("jobs").and_then(Value::as_object).context("no jobs")?;
    ensure!(!jobs.is_empty(), "no jobs");
    for (name, job) in jobs {
        ensure!(job["runs-on"].is_string() && job["timeout-minutes"].is_u64(), "{name}: {job}");
        let steps = job["steps"].as_array().with_context(|| format!("{name} has no steps"))?;
        steps.iter().try_for_each(step_is_sound).with_context(|| name.clone())?;
    }
    Ok(())
}

/// A step runs another project's action in a version, or commands of ours that exist.
fn step_is_sound(step: &Value) -> Result<()> {
    if let Some(action) = step["uses"].as_str() {
        let version = action.split_once("@v").map(|(_, version)| version);
        ensure!(version.is_some_and(|version| version.parse::<u32>().is_ok()), "{action}");
        return Ok(());
    }
    let command = step["run"].as_str().context("a step without anything to do")?;
    let words: Vec<&str> = command.split_whitespace().collect();
    if let ["cargo", "xtask", arguments @ ..] = words.as_slice() {
        Cli::try_parse_from([&["xtask"], arguments].concat())?;
    }
    for file in words.iter().filter(|word| word.starts_with(".ci/")) {
        ensure!(root().join(PathBuf::from(file)).is_file(), "there is no {file}");
    }
    for pair in words.windows(2) {
        if let ["--test", test] = pair {
            let tests = root().join("tests/tests");
            let there = tests.join(test).is_dir() || tests.join(format!("{test}.rs")).is_file();
            ensure!(there, "there is no test {test}");
        }
    }
    Ok(())
}
