//! The packages in clean roots: what they install, keep, run and leave behind.

mod deb;
mod listing;
mod root;
mod rpm;
mod service;
mod system;
mod tarball;
mod texts;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use ipfix_balancer_tests::daemon;

use self::root::Root;
use super::contents::{CONFIG, Contents};
use super::{deb as deb_package, rpm as rpm_package};
use crate::workspace::{output, target_dir};

/// A version, and one that an upgrade leads to.
const VERSIONS: [&str; 2] = ["0.1.0", "0.2.0-rc.1"];

/// What is new in the configuration file of the second version.
const NEW: &str = "# new in this version\n";

/// A receiver that records, for the configuration that an upgrade has to keep.
const EDITED: &str = "IPFIX_FULLFLOW_PORT[0]=1500\n";

/// The packages of both versions.
struct Packages {
    contents: [Contents; 2],
    deb: [PathBuf; 2],
    rpm: [PathBuf; 2],
}

impl Packages {
    fn build() -> Result<Self> {
        let folder = target_dir()?.join("package-tests");
        fs::create_dir_all(&folder)?;
        let [old, new] = VERSIONS;
        let old = Contents::new(daemon::binary()?, old)?;
        let new = Contents::new(&old.program, new)?;
        let contents = [old, new];
        let [old, new] = &contents;
        let file = new.generated.join(".env");
        fs::write(&file, fs::read_to_string(&file)? + NEW)?;
        let deb = [deb_package::build(old, &folder)?, deb_package::build(new, &folder)?];
        let rpm = [rpm_package::build(old, &folder)?, rpm_package::build(new, &folder)?];
        Ok(Self { contents, deb, rpm })
    }

    /// What the program has written for the first version.
    fn generated(&self) -> &Path {
        let [old, _] = &self.contents;
        &old.generated
    }
}

/// Builds them once a process.
fn packages() -> Result<&'static Packages> {
    static PACKAGES: OnceLock<Result<Packages, String>> = OnceLock::new();
    let packages = PACKAGES.get_or_init(|| Packages::build().map_err(|error| format!("{error:#}")));
    packages.as_ref().map_err(|error| anyhow!("{error}"))
}

/// The program runs, and its configuration is a good one; the service has its user and directories.
fn works(root: &Root) -> Result<()> {
    let checked = output(&mut root.command(&["ipfix-balancer", "check"]))?;
    ensure!(checked.contains("no receiver") && checked.trim_end().ends_with(": good"), "{checked}");
    let users = fs::read_to_string(root.at("etc/passwd"))?;
    let user = users.lines().find(|line| line.starts_with("ipfix-balancer:"));
    let id = user.and_then(|line| line.split(':').nth(2)).context("the service has no user")?;
    for directory in listing::MADE {
        let owner = fs::metadata(root.at(directory))?.uid();
        ensure!(owner.to_string() == id, "{directory} belongs to {owner}");
    }
    let mode = fs::metadata(root.at(CONFIG))?.mode() & 0o777;
    ensure!(mode == 0o644, "{CONFIG} has mode {mode:o}");
    Ok(())
}

/// An upgrade has left the edited configuration alone, and put the new one beside it.
fn kept(root: &Root, beside: &str) -> Result<()> {
    ensure!(fs::read_to_string(root.at(CONFIG))? == EDITED, "the configuration is another one");
    let new = fs::read_to_string(root.at(&format!("{CONFIG}.{beside}")))?;
    ensure!(new.ends_with(NEW), "the new configuration is not there");
    Ok(())
}
