//! `cargo xtask test`: every check of the project, in order.

mod beside;
mod chaos;
mod deny;
mod fuzz;
mod sanitize;

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::ValueEnum;

use beside::Beside;

use crate::step::{Report, TestOutput, Totals};
use crate::workspace::{cargo, run as run_command, target_dir};
use crate::{ebpf, setup};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Run these steps only (the build is added where tests need it)
    #[arg(long, value_delimiter = ',', value_name = "STEP")]
    only: Vec<Step>,
    /// Seconds for each fuzz target
    #[arg(long, default_value_t = 5)]
    fuzz_seconds: u32,
    #[command(flatten)]
    chaos: chaos::Chaos,
}

/// The steps, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    Setup,
    Fmt,
    Clippy,
    Build,
    Tests,
    Doc,
    Deny,
    Sanitize,
    Fuzz,
    /// The chaos test by itself, which is a part of `tests`
    Chaos,
}

/// The work of a step.
type Check = fn() -> Result<Totals>;

/// Runs the steps that were asked for and prints the totals.
pub fn run(args: &Args) -> Result<ExitCode> {
    let wanted = |step| args.only.is_empty() || args.only.contains(&step);
    if wanted(Step::Setup) {
        setup::for_tests()?;
    }
    let mut report = Report::default();
    let mut beside = Beside::default();
    let checks: [(Step, &str, Check); 7] = [
        (Step::Fmt, "fmt", format),
        (Step::Clippy, "clippy", clippy),
        (Step::Build, "build", build),
        (Step::Tests, "tests", tests),
        (Step::Doc, "doc", document),
        (Step::Deny, "deny", deny::check),
        (Step::Sanitize, "sanitize", sanitize::check),
    ];
    for (step, name, work) in checks {
        if wanted(step) {
            report.step(name, work);
        }
        // Fuzz targets are built of everything once more.
        if step == Step::Build && wanted(Step::Tests) && wanted(Step::Fuzz) {
            beside.start(&fuzz::build())?;
        }
    }
    if wanted(Step::Fuzz) {
        report.step("fuzz", || fuzz::smoke(args.fuzz_seconds));
    }
    if args.only.contains(&Step::Chaos) {
        report.step("chaos", || chaos::run(&args.chaos));
    }
    report.print();
    Ok(if report.totals().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn format() -> Result<Totals> {
    one(cargo().args(["fmt", "--all", "--check"]))
}

/// The workspace, the daemon without its kernel path, and the programs of the kernel path.
fn clippy() -> Result<Totals> {
    let mut totals = one(&mut lint(&["--workspace"]))?;
    totals += one(&mut lint(&["--package=ipfix-balancer", "--no-default-features"]))?;
    totals += ebpf::lint().map(|()| Totals::PASSED)?;
    Ok(totals)
}

fn lint(what: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["clippy", "--locked", "--all-targets"]).args(what).args(["--", "-D", "warnings"]);
    command
}

fn build() -> Result<Totals> {
    one(cargo().args(["build", "--locked", "--workspace", "--bins"]))
}

fn document() -> Result<Totals> {
    let mut command = cargo();
    command.args(["doc", "--locked", "--workspace", "--no-deps"]);
    one(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn one(command: &mut Command) -> Result<Totals> {
    run_command(command).map(|()| Totals::PASSED)
}

fn tests() -> Result<Totals> {
    test_daemon(&["--workspace", "--no-fail-fast"], &[])
}

/// Builds the daemon, then runs `cargo test` with its path in `IPFIX_BALANCER_BIN`.
fn test_daemon(arguments: &[&str], environment: &[(&str, String)]) -> Result<Totals> {
    build()?;
    let daemon = target_dir()?.join("debug/ipfix-balancer");
    let mut command = cargo();
    command.args(["test", "--locked"]).args(arguments);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    run_tests(command.env("IPFIX_BALANCER_BIN", daemon))
}

/// Tests that run at a time, at least: most of them wait for another process rather than for a CPU.
const TEST_THREADS: usize = 4;

/// Runs `cargo test`, shows what it prints, and counts.
fn run_tests(command: &mut Command) -> Result<Totals> {
    let threads = available_parallelism()?.get().max(TEST_THREADS);
    command.env("RUST_TEST_THREADS", threads.to_string());
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut counts = TestOutput::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counts.line(&line);
    }
    let mut totals = counts.totals();
    let status = child.wait()?;
    // A test program that did not compile, or was killed, has no result line.
    if !status.success() && totals.failed == 0 {
        totals += Totals::FAILED;
    }
    Ok(totals)
}
