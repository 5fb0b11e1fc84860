//! Debian packages, without the services that some of them start.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::succeeds;
use crate::workspace::run;

/// A package, and what it is good for.
pub type Package = (&'static str, &'static str);

/// Installs the packages that are not there yet.
pub fn install_packages(wanted: &[Package]) -> Result<()> {
    let missing = missing_packages(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    for (package, purpose) in wanted.iter().filter(|(package, _)| missing.contains(package)) {
        println!("setup: {package} is missing ({purpose})");
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !has_apt() {
        bail!("this is not Debian: install what Debian's packages {} hold", missing.join(", "));
    }
    if !is_root() {
        bail!("installing packages takes root: run `sudo {by_hand}`, then this command again");
    }
    let services_before = services(&missing);
    let guard = PolicyGuard::install()?;
    apt(&["update", "-q"])?;
    // Nothing that the host has is given up for them.
    let install = ["install", "-y", "-q", "--no-install-recommends", "--no-remove"];
    apt(&[&install, missing.as_slice()].concat())
        .with_context(|| format!("run `{by_hand}` by hand to see why"))?;
    drop(guard);
    disable(services(&missing).difference(&services_before))
}

fn missing_packages(wanted: &[Package]) -> Vec<&'static str> {
    let installed = |package: &str| {
        let query = Command::new("dpkg-query")
            .args(["--show", "--showformat=${db:Status-Status}", package])
            .output();
        query.is_ok_and(|output| output.stdout == b"installed")
    };
    wanted.iter().map(|(package, _)| *package).filter(|package| !installed(package)).collect()
}

/// Whether these packages can be installed here. Who may not update the lists is told so later.
pub fn offers(packages: &[Package]) -> Result<bool> {
    let known = || {
        let mut names = packages.iter().map(|(package, _)| package);
        names.all(|package| succeeds(Command::new("apt-cache").args(["show", package])))
    };
    if !has_apt() || known() {
        return Ok(has_apt());
    }
    if !is_root() {
        return Ok(true);
    }
    apt(&["update", "-q"])?;
    Ok(known())
}

fn has_apt() -> bool {
    succeeds(Command::new("apt-get").arg("--version"))
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn apt(arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// The system services that the installed ones of these packages bring along.
fn services(packages: &[&str]) -> BTreeSet<String> {
    let output = Command::new("dpkg").arg("--listfiles").args(packages).output();
    let listing = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&listing)
        .lines()
        .filter(|line| line.contains("/systemd/system/") && line.ends_with(".service"))
        .filter_map(|line| line.rsplit('/').next())
        .filter(|unit| !unit.contains('@'))
        .map(str::to_owned)
        .collect()
}

/// Keeps services that just arrived from starting now or at the next boot.
fn disable<'a>(units: impl Iterator<Item = &'a String>) -> Result<()> {
    let units: Vec<&String> = units.collect();
    if units.is_empty() || !succeeds(Command::new("systemctl").arg("--version")) {
        return Ok(());
    }
    let mut command = Command::new("systemctl");
    command.args(["--quiet", "disable"]).args(units);
    if Path::new("/run/systemd/system").exists() {
        command.arg("--now");
    }
    run(&mut command)
}

/// While it lives, package scripts start no services; a policy of the host's own is left alone.
struct PolicyGuard {
    ours: bool,
}

impl PolicyGuard {
    const PATH: &str = "/usr/sbin/policy-rc.d";

    fn install() -> Result<Self> {
        if Path::new(Self::PATH).exists() {
            return Ok(Self { ours: false });
        }
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o755).open(Self::PATH);
        std::io::Write::write_all(&mut file.context(Self::PATH)?, b"#!/bin/sh\nexit 101\n")?;
        Ok(Self { ours: true })
    }
}

impl Drop for PolicyGuard {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(Self::PATH)
        {
            eprintln!("setup: cannot remove {}: {error}", Self::PATH);
        }
    }
}
