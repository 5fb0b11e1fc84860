//! The command `ipfix-balancer`.

use std::process::ExitCode;

use balancer_user::command::{Cli, execute};
use clap::Parser;

fn main() -> ExitCode {
    execute(Cli::parse())
}
