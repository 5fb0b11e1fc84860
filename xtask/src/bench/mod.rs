//! `cargo xtask bench`: how fast the balancer is, as ratios against what stands in the same run.
//!
//! Everything runs on loopback, in processes of its own: an exporter, the program under measurement
//! (the balancer, or a plain relay), and a sink for each destination. The program under measurement
//! has one CPU for itself, all else shares the others; that is the same for both sides of a
//! comparison. Runs of the sides take turns, and medians are compared. A figure counts only if the
//! program under measurement was the limit, not the load. The kernel path has ways of its own to be
//! measured: see [`kernel`].

mod case;
mod cpu;
mod daemon;
mod exporter;
mod kernel;
mod latency;
mod memory;
mod message;
mod page;
mod parts;
mod relay;
mod report;
mod rig;
mod sink;
mod stats;
mod sys;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use crate::process::Placement;
use crate::workspace::{cargo, run as run_command, target_dir};
use crate::{interrupt, setup};

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Fewer and shorter runs
    #[arg(long)]
    quick: bool,
    /// Cases to run: names or their beginnings, as in the table
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<String>,
    /// Write the figures to a file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the load generator and the relay only
    #[arg(long)]
    without_balancer: bool,
    /// Runs of each side; the median counts
    #[arg(long)]
    runs: Option<usize>,
    /// CPU of the program under measurement; the load gets all others
    #[arg(long)]
    cpu: Option<usize>,
}

/// The hidden commands: the parts of a measurement.
#[derive(Subcommand)]
pub enum PartCommand {
    /// Send messages
    Exporter(exporter::Args),
    /// Pass bytes on
    Relay(relay::Args),
    /// Count what arrives
    Sink(sink::Args),
}

/// Transport of both ways, in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// Which destinations a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Mode {
    All,
    RoundRobin,
}

/// What all measurements of one bench share.
#[derive(Clone, Debug)]
struct Plan {
    /// This program, built for speed.
    parts: PathBuf,
    /// The balancer; absent where it is not measured.
    balancer: Option<PathBuf>,
    measured: Placement,
    load: Placement,
    runs: usize,
    warm_up: Duration,
    window: Duration,
    quick: bool,
}

/// Runs one part.
pub fn run_part(command: &PartCommand) -> Result<ExitCode> {
    match command {
        PartCommand::Exporter(args) => exporter::run(args),
        PartCommand::Relay(args) => relay::run(args),
        PartCommand::Sink(args) => sink::run(args),
    }
}

/// Runs the cases that were asked for and prints the table.
pub fn run(args: &Args) -> Result<ExitCode> {
    interrupt::install()?;
    let plan = Plan::new(args)?;
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|o| name.starts_with(o));
    let kernel = match plan.balancer {
        Some(_) => kernel::Bench::prepare(wanted)?,
        None => None,
    };
    report::header(&plan);
    let mut report = report::Report::new(&plan);
    for case in case::THROUGHPUT.iter().filter(|case| wanted(case.name)) {
        report.throughput(throughput::measure(&plan, case)?);
    }
    for case in case::LATENCY.iter().filter(|case| wanted(case.name)) {
        report.latency(latency::measure(&plan, case)?);
    }
    if plan.balancer.is_some() {
        for case in case::MEMORY.iter().filter(|case| wanted(case.name)) {
            report.memory(memory::measure(&plan, case)?);
        }
    }
    if let Some(kernel) = kernel {
        kernel.run(&plan, &mut report)?;
    }
    report.finish(args.json.as_deref())
}

impl Plan {
    /// The same, with all processes in a network namespace.
    fn inside(&self, network: PathBuf) -> Self {
        let place = |placement: &Placement| Placement {
            network: Some(network.clone()),
            ..placement.clone()
        };
        Self { measured: place(&self.measured), load: place(&self.load), ..self.clone() }
    }

    fn new(args: &Args) -> Result<Self> {
        let cpus = std::thread::available_parallelism()?.get();
        let measured = args.cpu.unwrap_or(cpus - 1);
        if cpus < 2 {
            bail!("the bench needs two CPUs: one for what is measured, one for the load");
        }
        let target = build(!args.without_balancer)?;
        let (runs, warm_up, window) = if args.quick { (3, 200, 1000) } else { (5, 300, 2000) };
        Ok(Self {
            parts: target.join("xtask"),
            balancer: (!args.without_balancer).then(|| target.join("ipfix-balancer")),
            measured: Placement { cpus: vec![measured], ..Placement::default() },
            load: Placement {
                cpus: (0..cpus).filter(|cpu| *cpu != measured).collect(),
                ..Placement::default()
            },
            runs: args.runs.unwrap_or(runs).max(1),
            warm_up: Duration::from_millis(warm_up),
            window: Duration::from_millis(window),
            quick: args.quick,
        })
    }
}

/// Builds what is measured, and what measures, for speed; where the programs are.
fn build(balancer: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--release", "--locked", "--package=xtask"]);
    if balancer {
        setup::for_daemon()?;
        command.arg("--package=ipfix-balancer");
    }
    run_command(&mut command).context("what is to be measured does not build")?;
    Ok(target_dir()?.join("release"))
}
