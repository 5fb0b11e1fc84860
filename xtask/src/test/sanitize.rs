//! The daemon's unsafe modules under AddressSanitizer: what they read and write is theirs.
//!
//! The sanitizer is a flag of nightly compilers, which a stable one takes when told to; the run-time library comes
//! with it. Only the daemon's own code is built for it. Miri, which would need a nightly compiler, can't run
//! the system calls that these modules are for.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::run_tests;
use crate::step::Totals;
use crate::workspace::{cargo, output, root};

/// Tests of `net/mmsg.rs`, `net/barrier.rs` and `kernel/shared.rs`.
const TESTS: [&str; 2] = ["net::", "kernel::shared::"];

/// Runs the tests of the unsafe modules.
pub fn check() -> Result<Totals> {
    // The only target that the sanitizer is tried on.
    if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        println!("sanitize skipped: on x86_64 with glibc only");
        return Ok(Totals { skipped: 1, ..Totals::default() });
    }
    let mut command = cargo();
    command.args(["rustc", "--locked", "--package=ipfix-balancer", "--lib", "--profile=test"]);
    command.args(["--message-format=json-render-diagnostics", "--", "-Zsanitizer=address"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", root().join("xtask/src/test/unstable-rustc"));
    let program = program(&output(&mut command)?).context("cargo has built no test program")?;
    run_tests(Command::new(program).args(TESTS).current_dir(root().join("balancer-user")))
}

/// The program that cargo has built last, by what it says.
fn program(said: &str) -> Option<String> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter_map(|it| Some(it.get("executable")?.as_str()?.to_owned()));
    programs.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_program_counts() {
        let said = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                    {\"executable\":\"/a\"}\nno JSON\n{\"executable\":\"/b\"}\n{\"success\":true}\n";
        assert_eq!(program(said).as_deref(), Some("/b"));
        assert_eq!(program("{\"executable\":null}\n"), None);
    }
}
