//! `cargo xtask package`: what operators install.
//!
//! [`Contents`] lays out one tree of files, `deb` and `rpm` pack it. Texts that are not
//! generated are in the folder `packaging/`.

mod contents;
mod deb;
mod rpm;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::PathBuf;
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
    for package in build(args.output.clone())? {
        println!("{}", package.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds every package; where they are.
fn build(output: Option<PathBuf>) -> Result<Vec<PathBuf>> {
    setup::for_packages()?;
    let output = match output {
        Some(folder) => std::path::absolute(folder)?,
        None => target_dir()?.join("package"),
    };
    fs::create_dir_all(&output)?;
    let contents = Contents::new(&build_daemon()?, env!("CARGO_PKG_VERSION"))?;
    Ok(vec![deb::build(&contents, &output)?, rpm::build(&contents, &output)?])
}
