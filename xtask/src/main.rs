//! Everything around the balancer that is not the balancer: `cargo xtask setup | build-ebpf |
//! build-and-load | test | demo | bench | package | release`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people: it prints")]

mod bench;
mod daemon;
mod demo;
mod ebpf;
mod interrupt;
mod load;
mod package;
mod process;
mod release;
mod setup;
#[cfg(test)]
mod shown;
mod step;
mod test;
#[cfg(test)]
mod workflows;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set up, test, demonstrate and measure the IPFIX balancer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the balancer: against other programs on loopback, and its kernel path against programs
    /// that do nothing but forward
    Bench(bench::Args),
    /// A part of a measurement
    #[command(hide = true, subcommand)]
    BenchPart(bench::PartCommand),
    /// Build object and daemon, and load the kernel path of a configuration, or take it away
    BuildAndLoad(load::Args),
    /// Build the eBPF object by itself; prints where it is, its size and its programs
    BuildEbpf,
    /// Show the balancer at work: real captures in, collectors that check what they get
    Demo(demo::Args),
    /// Start a program on given CPUs; it ends when its parent does
    #[command(hide = true)]
    Launch(process::LaunchArgs),
    /// Make packages: DEB, RPM, and a tarball with a static program
    Package(package::Args),
    /// Make everything that is published for a version: packages, checksums, a bill of materials, what
    /// has changed
    Release,
    /// Install what builds and tests need (Debian packages, bpf-linker, cargo-fuzz); quick when all
    /// is there
    Setup(setup::Args),
    /// Run every check: setup, format, lints, build, tests, documentation, fuzz smoke
    Test(test::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::BenchPart(part) => bench::run_part(&part),
        Command::BuildAndLoad(args) => load::run(&args),
        Command::BuildEbpf => ebpf::build(),
        Command::Demo(args) => demo::run(&args),
        Command::Launch(args) => process::launch(&args),
        Command::Package(args) => package::run(&args),
        Command::Release => release::run(),
        Command::Setup(args) => setup::run(&args),
        Command::Test(args) => test::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
