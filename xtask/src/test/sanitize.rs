//! The daemon's unsafe modules under AddressSanitizer: what they read and write is theirs.
//!
//! The sanitizer is a flag of nightly compilers, which a stable one takes when told to; the run-time library comes
//! with it. Miri, which would need a nightly compiler, can't run the system calls that these modules are for.

use std::process::Command;

use anyhow::Result;

use super::run_tests;
use crate::step::Totals;
use crate::workspace::{cargo, target_dir};

/// The only one that the sanitizer is tried on.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Tests of `net/mmsg.rs`, `net/barrier.rs` and `kernel/shared.rs`.
const TESTS: [&str; 2] = ["net::", "kernel::shared::"];

/// Runs the tests of the unsafe modules.
pub fn check() -> Result<Totals> {
    if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        println!("sanitize skipped: on x86_64 with glibc only");
        return Ok(Totals { skipped: 1, ..Totals::default() });
    }
    run_tests(test()?.arg("--").args(TESTS))
}

/// Builds these tests.
pub fn build() -> Result<Command> {
    let mut command = test()?;
    command.arg("--no-run");
    Ok(command)
}

fn test() -> Result<Command> {
    let mut command = cargo();
    command.args(["test", "--locked", "--package=ipfix-balancer", "--lib", "--target", TARGET]);
    // Another target directory: flags that change make cargo build everything anew.
    command.arg("--target-dir").arg(target_dir()?.join("sanitize"));
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    Ok(command)
}
