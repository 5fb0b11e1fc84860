//! A Debian system in a folder of its own, with nothing but what every Debian system has, and systemd.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::workspace::{output, target_dir};

/// The packages beside the essential ones.
const PACKAGES: &str = "systemd,systemd-sysv";

/// Made once, and kept in the target directory.
static PRISTINE: Mutex<()> = Mutex::new(());

/// The pristine root, with what is changed kept in memory; it is gone when this is dropped.
pub struct Root {
    folder: TempDir,
}

impl Root {
    /// One that nobody has changed yet.
    pub fn new() -> Result<Self> {
        let pristine = pristine()?;
        let root = Self { folder: tempfile::tempdir()? };
        let folder = root.folder.path();
        // Where the system itself runs in an overlay, another one can't write there.
        output(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(folder))?;
        let [upper, work] = ["upper", "work"].map(|name| folder.join(name));
        for made in [&upper, &work, &root.path()] {
            fs::create_dir(made)?;
        }
        let [lower, upper, work] = [&pristine, &upper, &work].map(|path| path.display());
        let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let mut command = Command::new("mount");
        command.args(["-t", "overlay", "-o", &layers, "overlay"]).arg(root.path());
        output(&mut command)?;
        Ok(root)
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A file in it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// A command that runs in it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.with_kernel();
        command.arg("chroot").arg(self.path()).args(words);
        command
    }

    /// Runs another program for it, beside which the root has `/proc` and `/sys`: scripts of packages run in the
    /// root, and programs of systemd look there. They go with the program.
    pub fn with_kernel(&self) -> Command {
        let mut command = Command::new("unshare");
        let script =
            "mount -t proc proc \"$1/proc\"; mount -t sysfs sysfs \"$1/sys\"; shift; exec \"$@\"";
        command.args(["--mount", "sh", "-euc", script, "root"]).arg(self.path());
        command
    }

    /// Every file and folder, but for the books that dpkg and rpm keep.
    pub fn listing(&self) -> Result<BTreeSet<String>> {
        let mut listing = BTreeSet::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.path().join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                let name = path.to_str().context("a name that is not UTF-8")?.to_owned();
                if BOOKS.iter().any(|book| name.starts_with(book)) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                }
                listing.insert(name);
            }
        }
        Ok(listing)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        // Processes that are about to end may still be in it.
        command.args(["--lazy", "--recursive"]).arg(self.folder.path());
        if let Err(error) = output(&mut command) {
            eprintln!("{} stays: {error:#}", self.folder.path().display());
        }
    }
}

/// What changes with every installation.
const BOOKS: [&str; 8] = [
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "var/lib/dpkg",
    "var/lib/rpm",
    "var/log",
];

fn pristine() -> Result<PathBuf> {
    let _making = PRISTINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = target_dir()?.join("clean-root");
    if folder.exists() {
        return Ok(folder);
    }
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let unfinished = folder.with_extension("part");
    drop(fs::remove_dir_all(&unfinished));
    let mut command = Command::new("mmdebstrap");
    // Texts in other languages are most of the files.
    command.args(["--variant=essential", "--dpkgopt=path-exclude=/usr/share/locale/*"]);
    command.arg(format!("--include={PACKAGES}")).arg(suite.context("which Debian is this?")?);
    output(command.arg(&unfinished))?;
    fs::rename(&unfinished, &folder)?;
    Ok(folder)
}
