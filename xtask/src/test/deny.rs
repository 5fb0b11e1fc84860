//! What the project is built from: licences, sources, unwanted crates, and known advisories (`deny.toml`).

use anyhow::{Context, Result};
use ipfix_balancer_tests::lab::SKIPPED;

use crate::step::Totals;
use crate::workspace::{cargo, run};

/// What can be told from the lock file and the crates themselves.
const LOCAL: [&str; 3] = ["bans", "licenses", "sources"];

/// Runs every check of `cargo deny`. The database of advisories is a git repository that not every
/// machine can reach: without it that check is skipped, and says so.
pub fn check() -> Result<Totals> {
    let mut totals = Totals::default();
    for what in LOCAL {
        totals += verdict(what)?;
    }
    if run(cargo().args(["deny", "fetch", "db"])).is_err() {
        println!("advisories {SKIPPED}the database of advisories can't be reached");
        return Ok(totals + Totals { skipped: 1, ..Totals::default() });
    }
    Ok(totals + verdict("advisories")?)
}

fn verdict(what: &str) -> Result<Totals> {
    let mut command = cargo();
    command.args(["deny", "--locked", "--offline", "--workspace", "check", what]);
    let ended = command.status().context("cargo deny does not run: cargo xtask setup")?;
    Ok(if ended.success() { Totals::PASSED } else { Totals::FAILED })
}
