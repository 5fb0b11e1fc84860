//! The package for Debian and its kin, by `dpkg-deb`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::contents::{Contents, Layout};
use crate::workspace::{output, root};

const LAYOUT: Layout =
    Layout { name: "fast-ipfix-balancer", zsh: "usr/share/zsh/vendor-completions" };

/// Scripts of both packages, under the names that dpkg has for them.
const SCRIPTS: [(&str, &str); 3] =
    [("after-install", "postinst"), ("before-remove", "prerm"), ("after-remove", "postrm")];

/// Builds the package; where it is.
pub fn build(contents: &Contents, folder: &Path) -> Result<PathBuf> {
    let tree = tempfile::tempdir()?;
    let tree = tree.path();
    fs::set_permissions(tree, Permissions::from_mode(0o755))?;
    contents.lay_out(&LAYOUT, tree)?;
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    write_control(contents, tree, architecture.trim())?;
    let name = format!("{}_{}_{}.deb", LAYOUT.name, contents.version, architecture.trim());
    let package = folder.join(name);
    let mut command = Command::new("dpkg-deb");
    // Every version of dpkg can read gzip. Levels above save nothing worth the time.
    command.args(["--root-owner-group", "-Zgzip", "-z6", "--build"]).arg(tree).arg(&package);
    output(&mut command)?;
    Ok(package)
}

fn write_control(contents: &Contents, tree: &Path, architecture: &str) -> Result<()> {
    let (from, to) = (root().join("packaging/deb"), tree.join("DEBIAN"));
    let kilobytes =
        output(Command::new("du").args(["--summarize", "--apparent-size", "-k"]).arg(tree))?;
    let kilobytes = kilobytes.split_whitespace().next().unwrap_or_default();
    fs::create_dir(&to)?;
    let control = fs::read_to_string(from.join("control"))?
        .replace("@VERSION@", &contents.version)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@DEPENDS@", &libraries(&contents.program)?)
        .replace("@KILOBYTES@", kilobytes);
    fs::write(to.join("control"), control)?;
    fs::copy(from.join("conffiles"), to.join("conffiles"))?;
    for (script, name) in SCRIPTS {
        fs::copy(root().join("packaging/scripts").join(script), to.join(name))?;
        fs::set_permissions(to.join(name), Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The packages with the shared libraries of a program, in the versions that it needs.
fn libraries(program: &Path) -> Result<String> {
    // It asks for the file of a source package, whatever is in it.
    let source = tempfile::tempdir()?;
    fs::create_dir(source.path().join("debian"))?;
    fs::write(source.path().join("debian/control"), "")?;
    let mut command = Command::new("dpkg-shlibdeps");
    command.arg("-O").arg("-e").arg(program).current_dir(source.path());
    let said = output(&mut command)?;
    let depends = said.trim().strip_prefix("shlibs:Depends=");
    Ok(depends.with_context(|| format!("dpkg-shlibdeps: {said}"))?.to_owned())
}
