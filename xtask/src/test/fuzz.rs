//! Fuzz smoke: each target for a bounded time, from the committed seeds.
//!
//! The targets hold safe code only, so they run without a sanitizer: that is what makes them work
//! with a stable compiler. Overflow checks and debug assertions are on.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::Totals;
use crate::workspace::{cargo, root, run};

/// Runs every target; each is one check.
pub fn smoke(seconds: u32) -> Result<Totals> {
    let targets = list()?;
    run(&mut build()).context("the fuzz targets do not build")?;
    let mut totals = Totals::default();
    for target in &targets {
        println!("fuzz: {target}, {seconds} s");
        totals += match run_target(target, seconds) {
            Ok(()) => Totals::PASSED,
            Err(error) => {
                eprintln!("fuzz: {target}: {error:#}");
                Totals::FAILED
            }
        };
    }
    Ok(totals)
}

/// Builds all of them.
pub fn build() -> Command {
    fuzz("build")
}

fn list() -> Result<Vec<String>> {
    let output = cargo().args(["fuzz", "list"]).output().context("cargo fuzz list")?;
    if !output.status.success() {
        bail!("cargo fuzz list: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn run_target(target: &str, seconds: u32) -> Result<()> {
    let found = root().join("fuzz/corpus").join(target);
    let seeds = root().join("fuzz/seeds").join(target);
    fs::create_dir_all(&found)?;
    let mut command = fuzz("run");
    command.arg(target).args([&found, &seeds]).arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    command.args(["-timeout=10", "-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=1"]);
    run(&mut command)
}

fn fuzz(what: &str) -> Command {
    let mut command = cargo();
    command.env("RUST_BACKTRACE", "0");
    command.args(["fuzz", what, "--sanitizer=none", "--debug-assertions"]);
    command
}
