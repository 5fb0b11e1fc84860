//! `bpf-linker`, which makes one eBPF object of LLVM bitcode.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

const NAME: &str = "bpf-linker";

/// Where one is that runs. An editor that builds in the background may lack cargo's directory in
/// its `PATH`, so that is looked into as well.
pub fn find() -> Result<PathBuf, Error> {
    let installed = cargo_bin();
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([installed.clone()])
        .map(|directory| directory.join(NAME))
        .find(|program| runs(program))
        .ok_or(Error::NoLinker(installed))
}

/// Where `cargo install` puts programs.
fn cargo_bin() -> PathBuf {
    let home = || env::home_dir().unwrap_or_default().join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from).join("bin")
}

/// A linker whose LLVM library has been removed since is there, but does not start.
fn runs(program: &Path) -> bool {
    let mut command = Command::new(program);
    let quiet = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
