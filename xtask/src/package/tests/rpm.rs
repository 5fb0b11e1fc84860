//! The RPM package. The root has no books of RPM, so what the package requires is looked at apart.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::lab::available;

use super::root::Root;
use super::{EDITED, kept, listing, packages, works};
use crate::package::contents::CONFIG;
use crate::workspace::output;

/// Where such systems have them.
const ZSH: &str = "usr/share/zsh/site-functions";
const DOCUMENTS: &str = "usr/share/doc/fast_ipfix_balancer";

#[test]
fn is_installed_upgraded_and_removed() {
    if available() {
        goes_through_its_life().unwrap();
    }
}

fn goes_through_its_life() -> Result<()> {
    let [old, new] = &packages()?.rpm;
    requires_the_c_library(old)?;
    let root = Root::new()?;
    let before = root.listing()?;
    let left = || -> Result<BTreeSet<String>> { Ok(&root.listing()? - &before) };

    install(&root, old)?;
    assert_eq!(left()?, listing::expected(&before, ZSH, DOCUMENTS)?);
    works(&root)?;

    std::fs::write(root.at(CONFIG), EDITED)?;
    install(&root, new)?;
    kept(&root, "rpmnew")?;

    rpm(&root, &["--erase", "fast_ipfix_balancer"])?;
    let backend = "var/fast_ipfix_balancer/backend";
    let stays = [".rpmsave", ".rpmnew"].map(|end| format!("{CONFIG}{end}"));
    let [saved, new] = &stays;
    assert_eq!(left()?, listing::data(&[saved, new, backend]));
    Ok(())
}

fn requires_the_c_library(package: &Path) -> Result<()> {
    let requires =
        output(Command::new("rpm").args(["--query", "--requires", "--package"]).arg(package))?;
    for what in ["/bin/sh", "libc.so.6(GLIBC_2."] {
        ensure!(requires.contains(what), "no {what} in\n{requires}");
    }
    Ok(())
}

fn install(root: &Root, package: &Path) -> Result<()> {
    rpm(root, &["--upgrade", "--nodeps", &package.display().to_string()])
}

fn rpm(root: &Root, words: &[&str]) -> Result<()> {
    let mut command = root.with_kernel();
    // Debian's rpm would rather have packages installed by dpkg, and has its books elsewhere.
    command.args(["rpm", "--force-debian", "--dbpath", "/var/lib/rpm", "--root"]);
    command.arg(root.path()).args(words);
    let said = output(&mut command)?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}
