//! `cargo xtask release`: everything that is published for a version, from a clean checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{cargo, output, root, run as run_command, target_dir};
use crate::{package, setup};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the version has in CHANGELOG.md.
const CHANGES: &str = "CHANGES.md";
/// What the daemon is made of, as CycloneDX has it.
const BILL: &str = "ipfix-balancer.cdx.json";
/// Checksums of all the others, as `sha256sum --check` reads them.
const CHECKSUMS: &str = "SHA256SUMS";

/// Makes the files of the release; says where they are.
pub fn run() -> Result<ExitCode> {
    is_clean()?;
    let changes = changes(&fs::read_to_string(root().join("CHANGELOG.md"))?)?;
    let folder = target_dir()?.join("release-files").join(VERSION);
    // Nothing of an earlier attempt.
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(CHANGES), changes)?;
    write_bill(&folder)?;
    package::build(&folder)?;
    write_checksums(&folder)?;
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn is_clean() -> Result<()> {
    let changed = output(Command::new("git").args(["status", "--porcelain"]).current_dir(root()))?;
    ensure!(
        changed.is_empty(),
        "a release is made of what is committed, and this is not:\n{changed}"
    );
    Ok(())
}

/// What the changelog says of this version.
fn changes(changelog: &str) -> Result<String> {
    if let Some(changes) = section(changelog, VERSION) {
        return Ok(changes);
    }
    println!("CHANGELOG.md has no section `{VERSION}` yet: these are its unreleased changes");
    section(changelog, "Unreleased").context("CHANGELOG.md has no section `Unreleased` either")
}

/// What a changelog says of a version, without its heading.
fn section(changelog: &str, version: &str) -> Option<String> {
    let heading = |line: &str| {
        line.strip_prefix("## ")?
            .split_whitespace()
            .next()
            .map(|word| word.trim_matches(['[', ']']).to_owned())
    };
    let mut lines = changelog.lines();
    lines.find(|line| heading(line).as_deref() == Some(version))?;
    let lines: Vec<&str> = lines.take_while(|line| heading(line).is_none()).collect();
    Some(lines.join("\n").trim().to_owned() + "\n")
}

/// Has `cargo cyclonedx` list what the daemon is made of. It writes beside every `Cargo.toml`, so it
/// gets a copy of the sources.
fn write_bill(folder: &Path) -> Result<()> {
    setup::for_release()?;
    let copy = tempfile::tempdir()?;
    let sources = copy.path().join("sources.tar");
    let mut archive = Command::new("git");
    archive.args(["archive", "--format=tar", "HEAD", "--output"]).arg(&sources);
    run_command(archive.current_dir(root()))?;
    run_command(Command::new("tar").arg("-xf").arg(&sources).current_dir(copy.path()))?;
    let mut command = cargo();
    command.args(["cyclonedx", "--format=json", "--target=x86_64-unknown-linux-gnu"]);
    let name = BILL.trim_end_matches(".json");
    command.arg("--override-filename").arg(name).current_dir(copy.path());
    run_command(&mut command)?;
    let bill = copy.path().join("balancer-user").join(BILL);
    fs::copy(&bill, folder.join(BILL)).with_context(|| format!("no {}", bill.display()))?;
    Ok(())
}

fn write_checksums(folder: &Path) -> Result<()> {
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().into());
    }
    names.sort();
    if names.is_empty() {
        bail!("{} is empty", folder.display());
    }
    let sums = output(Command::new("sha256sum").args(&names).current_dir(folder))?;
    Ok(fs::write(folder.join(CHECKSUMS), sums)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## Unreleased\n\n- c\n\n## [0.2.0] - 2026-11-23\n\n### Added\n\n- b\n\n## 0.1.0\n\n- a\n";

    #[test]
    fn a_version_has_its_own_changes() {
        assert_eq!(section(CHANGELOG, "0.2.0").as_deref(), Some("### Added\n\n- b\n"));
        assert_eq!(section(CHANGELOG, "0.1.0").as_deref(), Some("- a\n"));
        assert_eq!(section(CHANGELOG, "0.3.0"), None);
    }

    #[test]
    fn sha256sum_finds_the_checksums_right() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.deb", "a.rpm"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        write_checksums(folder.path()).unwrap();
        let mut check = Command::new("sha256sum");
        check.args(["--check", CHECKSUMS]).current_dir(folder.path());
        assert_eq!(output(&mut check).unwrap(), "a.rpm: OK\nb.deb: OK\n");
    }
}
