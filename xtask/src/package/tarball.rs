//! A tarball with a program that needs no library of its host, for everything that is neither Debian
//! nor RPM.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::contents::{Contents, Layout};
use super::musl::TARGET;
use crate::workspace::run;

const LAYOUT: Layout = Layout { name: "ipfix-balancer", zsh: "usr/share/zsh/site-functions" };

/// Builds the tarball; where it is. Its one folder has the tree of files as they are to be installed.
pub fn build(contents: &Contents, folder: &Path) -> Result<PathBuf> {
    let work = tempfile::tempdir()?;
    let name = format!("{}-{}-{TARGET}", LAYOUT.name, contents.version);
    contents.lay_out(&LAYOUT, &work.path().join(&name))?;
    let tarball = folder.join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name"]);
    command.arg("--directory").arg(work.path()).arg("-czf").arg(&tarball).arg(&name);
    run(&mut command)?;
    Ok(tarball)
}
