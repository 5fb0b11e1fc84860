//! The files of a package, in a tree as they are to be installed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::workspace::{root, run};

/// Where the configuration is.
pub const CONFIG: &str = "var/fast_ipfix_balancer/backend/.env";

/// Files of the workspace, where they go, and their modes.
const FILES: &[(&str, &str, u32)] = &[
    ("packaging/commands/ipfix-balancer-restart", "usr/bin/ipfix-balancer-restart", 0o755),
    ("packaging/commands/ipfix-balancer-stop", "usr/bin/ipfix-balancer-stop", 0o755),
    ("packaging/sysctl/60-ipfix-balancer.conf", "usr/lib/sysctl.d/60-ipfix-balancer.conf", 0o644),
    (
        "packaging/systemd/ipfix-balancer.service",
        "usr/lib/systemd/system/ipfix-balancer.service",
        0o644,
    ),
    ("packaging/systemd/sysusers.conf", "usr/lib/sysusers.d/ipfix-balancer.conf", 0o644),
    ("packaging/systemd/tmpfiles.conf", "usr/lib/tmpfiles.d/ipfix-balancer.conf", 0o644),
];

/// Files and folders of the workspace that go into the folder of documents, under the same names:
/// their links stay whole.
pub const DOCUMENTS: &[&str] = &[
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs",
    "packaging/grafana",
    "packaging/prometheus",
];

/// Where the distributions' ways part.
pub struct Layout {
    /// The package's name.
    pub name: &'static str,
    /// Where zsh looks for completions of packages.
    pub zsh: &'static str,
}

/// What is packed: the program, and what it says of itself.
pub struct Contents {
    /// The version, as packages spell it.
    pub version: String,
    /// The program.
    pub program: PathBuf,
    /// What it wrote: see `ipfix-balancer generate`.
    pub generated: PathBuf,
    _folder: TempDir,
}

impl Contents {
    /// Takes a daemon, without what only debuggers need, and has it write its manual pages,
    /// completions and configuration file.
    pub fn new(daemon: &Path, version: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (program, generated) =
            (folder.path().join("ipfix-balancer"), folder.path().join("generated"));
        run(Command::new("strip").arg("--strip-debug").arg(daemon).arg("-o").arg(&program))?;
        run(Command::new(&program).arg("generate").arg(&generated))?;
        // Of 1.0.0 and 1.0.0~rc.1 packagers take the latter for the older one, as semver does with a -.
        let version = version.replace('-', "~");
        Ok(Self { version, program, generated, _folder: folder })
    }

    /// Puts every file into `tree`.
    pub fn lay_out(&self, layout: &Layout, tree: &Path) -> Result<()> {
        put(&self.program, &tree.join("usr/bin/ipfix-balancer"), 0o755)?;
        for (from, to, mode) in FILES {
            put(&root().join(from), &tree.join(to), *mode)?;
        }
        self.lay_out_generated(layout, tree)?;
        let documents = tree.join("usr/share/doc").join(layout.name);
        for name in DOCUMENTS {
            put_all(&root().join(name), &documents.join(name))?;
        }
        Ok(())
    }

    fn lay_out_generated(&self, layout: &Layout, tree: &Path) -> Result<()> {
        put(&self.generated.join(".env"), &tree.join(CONFIG), 0o644)?;
        for section in ["man5", "man8"] {
            let pages = tree.join("usr/share/man").join(section);
            put_all(&self.generated.join(section), &pages)?;
            for page in names(&pages)? {
                // Without name and time of the original.
                run(Command::new("gzip").args(["-9", "--no-name"]).arg(pages.join(page)))?;
            }
        }
        let completions = self.generated.join("completions");
        let bash = "usr/share/bash-completion/completions/ipfix-balancer";
        let fish = "usr/share/fish/vendor_completions.d/ipfix-balancer.fish";
        put(&completions.join("ipfix-balancer.bash"), &tree.join(bash), 0o644)?;
        put(&completions.join("ipfix-balancer.fish"), &tree.join(fish), 0o644)?;
        let zsh = tree.join(layout.zsh).join("_ipfix-balancer");
        put(&completions.join("_ipfix-balancer"), &zsh, 0o644)
    }
}

/// Copies a file, or a folder with all that is in it.
fn put_all(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        return put(from, to, 0o644);
    }
    for name in names(from)? {
        put_all(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let names = entries.map(|entry| Ok(PathBuf::from(entry?.file_name())));
    names.collect()
}

/// Copies a file, and makes the folders on its way. Nothing depends on the umask.
fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let folder = to.parent().context("a file without a folder")?;
    make_folder(folder)?;
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(fs::set_permissions(to, Permissions::from_mode(mode))?)
}

fn make_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    folder.parent().map_or(Ok(()), make_folder)?;
    fs::create_dir(folder).with_context(|| folder.display().to_string())?;
    Ok(fs::set_permissions(folder, Permissions::from_mode(0o755))?)
}
