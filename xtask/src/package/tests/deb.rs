//! The DEB package.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::lab::available;

use super::root::Root;
use super::{EDITED, kept, listing, packages, works};
use crate::package::contents::CONFIG;
use crate::workspace::output;

#[test]
fn is_installed_upgraded_removed_and_purged() {
    if available() {
        goes_through_its_life().unwrap();
    }
}

fn goes_through_its_life() -> Result<()> {
    let [old, new] = &packages()?.deb;
    let root = Root::new()?;
    let before = root.listing()?;
    let left = || -> Result<BTreeSet<String>> { Ok(&root.listing()? - &before) };

    install(&root, old)?;
    let (zsh, documents) =
        ("usr/share/zsh/vendor-completions", "usr/share/doc/fast-ipfix-balancer");
    assert_eq!(left()?, listing::expected(&before, zsh, documents)?);
    works(&root)?;

    std::fs::write(root.at(CONFIG), EDITED)?;
    install(&root, new)?;
    kept(&root, "dpkg-dist")?;

    dpkg(&root, &["--remove", "fast-ipfix-balancer"])?;
    let backend = "var/fast_ipfix_balancer/backend";
    let stays = [CONFIG, "var/fast_ipfix_balancer/backend/.env.dpkg-dist", backend];
    assert_eq!(left()?, listing::data(&stays));
    dpkg(&root, &["--purge", "fast-ipfix-balancer"])?;
    assert_eq!(left()?, listing::data(&[]));
    Ok(())
}

/// Installs a package as an unattended upgrade does.
pub fn install(root: &Root, package: &Path) -> Result<()> {
    let package = package.display().to_string();
    dpkg(root, &["--force-confdef", "--force-confold", "--install", &package])
}

fn dpkg(root: &Root, words: &[&str]) -> Result<()> {
    let folder = format!("--root={}", root.path().display());
    let said = output(root.with_kernel().arg("dpkg").arg(folder).args(words))?;
    ensure!(!said.contains("error"), "{said}");
    Ok(())
}
