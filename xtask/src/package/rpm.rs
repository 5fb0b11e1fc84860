//! The package for RPM systems, by `rpmbuild`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::contents::{Contents, Layout};
use crate::workspace::{output, root};

const LAYOUT: Layout = Layout { name: "fast_ipfix_balancer", zsh: "usr/share/zsh/site-functions" };

/// Builds the package; where it is.
pub fn build(contents: &Contents, folder: &Path) -> Result<PathBuf> {
    let work = tempfile::tempdir()?;
    let tree = work.path().join("tree");
    contents.lay_out(&LAYOUT, &tree)?;
    let packaging = root().join("packaging");
    let name = format!("{}-{}-1.{}.rpm", LAYOUT.name, contents.version, std::env::consts::ARCH);
    let mut command = Command::new("rpmbuild");
    command.args(["-bb", "--quiet"]);
    for (key, value) in [
        ("_topdir", work.path()),
        ("_rpmdir", folder),
        ("_rpmfilename", Path::new(&name)),
        ("version", Path::new(&contents.version)),
        ("tree", &tree),
        ("scripts", &packaging.join("scripts")),
    ] {
        command.arg("--define").arg(format!("{key} {}", value.display()));
    }
    output(command.arg(packaging.join("rpm/fast_ipfix_balancer.spec")))?;
    Ok(folder.join(name))
}
