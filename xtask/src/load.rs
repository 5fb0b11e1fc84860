//! `cargo xtask build-and-load`: the kernel path of a configuration, without a daemon.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::workspace::build_daemon;
use crate::{ebpf, setup};

pub const EXAMPLES: &str = "Examples:
  cargo xtask build-and-load --config my.env            build all, load, and say what was put where
  cargo xtask build-and-load --config my.env --unload   take all of it away

Loading takes root. A daemon that is started later with the same file takes over what is loaded:
  target/release/ipfix-balancer run --config my.env
docs/bpf-maps.md says what is in the kernel then, and how to look at it.";

/// What `cargo xtask build-and-load` takes.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The balancer's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Take everything away that is in the kernel for this file; stops a daemon that runs with it
    #[arg(long)]
    unload: bool,
}

/// Builds object and daemon, and has the daemon load the object; or take it away.
pub fn run(args: &Args) -> Result<ExitCode> {
    let config = std::path::absolute(&args.config)?;
    setup::for_daemon()?;
    if !args.unload {
        ebpf::build()?;
    }
    let program = build_daemon()?;
    let subcommand: &[&str] = if args.unload { &["stop", "--purge"] } else { &["load"] };
    let mut command = Command::new(&program);
    command.args(subcommand).arg("--config").arg(&config);
    show(&command);
    let status = command.status().with_context(|| program.display().to_string())?;
    // It has said what is wrong.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn show(command: &Command) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    println!("{}", words.join(" "));
}
