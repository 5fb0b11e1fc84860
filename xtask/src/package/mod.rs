//! `cargo xtask package`: what operators install.
//!
//! [`Contents`] lays out one tree of files, `deb`, `rpm` and `tarball` pack it. Texts that are not
//! generated are in the folder `packaging/`.

mod contents;
mod deb;
mod musl;
mod rpm;
mod tarball;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use self::contents::Contents;
use crate::setup;
use crate::workspace::{build_daemon, target_dir};

/// What `cargo xtask package` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Where the packages go; target/package otherwise
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Builds the daemon and packs it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let folder = match &args.output {
        Some(folder) => std::path::absolute(folder)?,
        None => target_dir()?.join("package"),
    };
    build(&folder)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds every package, and says where it is.
pub fn build(folder: &Path) -> Result<()> {
    setup::for_packages()?;
    fs::create_dir_all(folder)?;
    let contents = Contents::new(&build_daemon()?, env!("CARGO_PKG_VERSION"))?;
    println!("{}", deb::build(&contents, folder)?.display());
    println!("{}", rpm::build(&contents, folder)?.display());
    let contents = Contents::new(&musl::build_daemon()?, env!("CARGO_PKG_VERSION"))?;
    println!("{}", tarball::build(&contents, folder)?.display());
    Ok(())
}
