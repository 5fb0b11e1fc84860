//! `ipfix-balancer generate`: what packages have beside the program, from the same tables as the
//! program itself.

use std::{fs, io, path::Path, process::ExitCode};

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

use super::{Cli, complain};
use crate::config;

/// Shells that completions are written for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];
/// The section of administration commands.
const SECTION: &str = "8";

pub fn generate(folder: &Path) -> ExitCode {
    match try_generate(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("can't write to {}: {error}", folder.display()));
            ExitCode::FAILURE
        }
    }
}

/// `.env`, `man5/`, `man8/` and `completions/`.
fn try_generate(folder: &Path) -> io::Result<()> {
    let [man5, man8, completions] = ["man5", "man8", "completions"].map(|name| folder.join(name));
    for folder in [&man5, &man8, &completions] {
        fs::create_dir_all(folder)?;
    }
    fs::write(folder.join(".env"), config::env_file())?;
    fs::write(man5.join("ipfix-balancer.env.5"), config::manual())?;
    for page in pages(Cli::command()) {
        page.generate_to(&man8)?;
    }
    for shell in SHELLS {
        generate_to(shell, &mut Cli::command(), "ipfix-balancer", &completions)?;
    }
    Ok(())
}

/// The manual page of the command, and one for each subcommand.
fn pages(mut command: clap::Command) -> Vec<Man> {
    // Subcommands get their full names, and the options that all of them take.
    command.build();
    let mut commands: Vec<_> = command.get_subcommands().cloned().collect();
    commands.push(command);
    let page = |command| Man::new(command).section(SECTION).manual("ipfix-balancer");
    commands.into_iter().map(page).collect()
}
