//! `cargo xtask bench`: how fast the balancer is, as ratios against what stands in the same run.
//!
//! Everything runs on loopback, in processes of its own: an exporter, the program under measurement
//! (the balancer, a plain relay, or a peer: what operators use for the same), and a sink for each
//! destination. The program under measurement has one CPU for itself, all else shares the others;
//! that is the same for both sides of a comparison. Runs of the sides take turns, and medians are
//! compared. A figure counts only if the program under measurement was the limit, not the load. The
//! kernel path has ways of its own to be measured: see [`kernel`].

mod against;
mod case;
mod cpu;
mod daemon;
mod exporter;
mod growth;
mod half;
mod kernel;
mod memory;
mod message;
mod page;
mod parts;
mod peer;
mod recording;
mod relay;
mod report;
mod rig;
mod show;
mod side;
mod sink;
mod stats;
mod stream;
mod sys;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use self::peer::Peer;
use crate::process::{self, Placement};
use crate::workspace::{cargo, run as run_command, target_dir};
use crate::{interrupt, setup};

/// Runs of each side, unless it is said otherwise.
const RUNS: usize = 5;
/// Of each run, before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Say in about three minutes whether the working tree is slower than another revision
    #[arg(long)]
    quick: bool,
    /// That revision, as git names it
    #[arg(long, value_name = "REVISION", default_value = "HEAD~", requires = "quick")]
    against: String,
    /// Cases to run: names or their beginnings, as in the table
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<String>,
    /// Write the figures to a file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw how cost grows, a chart for each axis, into a directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "quick")]
    svg: Option<PathBuf>,
    /// Measure the load, the relay and the peers only
    #[arg(long, conflicts_with = "quick")]
    without_balancer: bool,
    /// Another program to compare with: `{listen}` (or `{port}`), `{dests}`, `{mode}` (All,
    /// RoundRobin), `{input}` and `{output}` (tcp, udp) and `{directory}` (for its files) are filled
    /// in. It stays in the foreground, and ends at SIGTERM with all it started
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<Peer>,
    /// Leave out the peers that packages have
    #[arg(long)]
    without_peers: bool,
    /// Runs of each side; the median counts [default: 5]
    #[arg(long)]
    runs: Option<usize>,
    /// Seconds of each run [default: 2, with --quick 0.5]
    #[arg(long)]
    seconds: Option<f32>,
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
#[value(rename_all = "PascalCase")]
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
    peers: Vec<Peer>,
    load: Placement,
    runs: usize,
    warm_up: Duration,
    window: Duration,
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
    let wanted = |name: &str| args.wants(name);
    if args.quick {
        return against::run(&plan, &args.against, wanted);
    }
    let kernel = match plan.balancer {
        Some(_) => kernel::Bench::prepare(wanted)?,
        None => None,
    };
    show::header(&plan);
    let mut report = report::Report::new(&plan);
    for case in case::CASES.iter().filter(|case| wanted(case.name)) {
        report.throughput(throughput::measure(&plan, case)?);
    }
    for (name, route) in case::STREAMS.iter().filter(|(name, _)| wanted(name)) {
        report.stream(stream::measure(&plan, name, route)?);
    }
    if plan.balancer.is_some() {
        for case in case::MEMORY.iter().filter(|case| wanted(case.name)) {
            report.memory(memory::measure(&plan, case)?);
        }
        for axis in growth::AXES.iter().filter(|axis| wanted(axis.name)) {
            let result = growth::measure(&plan, axis)?;
            result.show();
            if let Some(directory) = &args.svg {
                result.draw(directory)?;
            }
            report.keep_growth(result);
        }
        recording::run(&plan, wanted, &mut report)?;
    }
    if let Some(kernel) = kernel {
        kernel.run(&plan, &mut report)?;
    }
    report.finish(args.json.as_deref())
}

impl Args {
    /// The name of a case means that case; any other beginning, all cases that begin so.
    fn wants(&self, name: &str) -> bool {
        let is_case = |only: &str| case::CASES.iter().any(|case| case.name == only);
        let means =
            |only: &String| only == name || (name.starts_with(only.as_str()) && !is_case(only));
        self.only.is_empty() || self.only.iter().any(means)
    }
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
        process::raise_open_files()?;
        let seconds = if args.quick { 0.5 } else { 2.0 };
        let peers = match args.quick {
            true => Vec::new(),
            false => peer::present(&args.peer, !args.without_peers),
        };
        Ok(Self {
            parts: target.join("xtask"),
            balancer: (!args.without_balancer).then(|| target.join("ipfix-balancer")),
            measured: Placement { cpus: vec![measured], ..Placement::default() },
            load: Placement {
                cpus: (0..cpus).filter(|cpu| *cpu != measured).collect(),
                ..Placement::default()
            },
            peers,
            runs: args.runs.unwrap_or(RUNS).max(1),
            warm_up: WARM_UP,
            window: Duration::try_from_secs_f32(args.seconds.unwrap_or(seconds))?,
        })
    }
}

/// How a choice is written on the command line.
fn value(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
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
