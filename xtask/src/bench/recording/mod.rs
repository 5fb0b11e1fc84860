//! Messages recorded to files, by the balancer and by the plainest programs that do so: `cat` of a
//! TCP connection, and `nfcapd` over UDP.
//!
//! What receives is on the measured CPU, on each side. Only the balancer has threads besides, which
//! write: they may use every CPU, and the exporter, on those of the load, makes way for them. Its CPU
//! time counts them.

mod recorder;
mod show;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use self::recorder::{Recorder, Side};
use super::message::Sizes;
use super::page::{Count, EXPORTER, Page, Phase};
use super::report::Report;
use super::rig::{DISTURBED, EXPORTER_NICE, undisturbed};
use super::stats::Spread;
use super::throughput::{LOAD_AT_EASE, OVERRUN, float};
use super::{Plan, Protocol, cpu, value};
use crate::process::{Output, Placement, Process, wait_until};

/// Messages recorded in each run.
const MESSAGES: u64 = 1_000_000;
/// How long that may take.
const LIMIT: Duration = Duration::from_secs(120);
/// When nothing has been recorded for so long, nothing more comes.
const QUIET: Duration = Duration::from_millis(500);

/// What is measured, and the figure to reach.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    protocol: Protocol,
    /// What the balancer is compared with.
    other: Side,
    /// Least ratio of the balancer's rate to the other's.
    rate: f64,
}

/// The cases.
const CASES: [Case; 2] = [
    Case { name: "recording-tcp", protocol: Protocol::Tcp, other: Side::Cat, rate: 0.8 },
    Case { name: "recording-udp", protocol: Protocol::Udp, other: Side::Nfcapd, rate: 1.5 },
];

/// One run of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Messages per second that got into the file.
    pub rate: f64,
    /// CPU time of the program under measurement for each of them, in microseconds.
    pub cpu_us: f64,
    /// Share of the messages sent that are in no file.
    pub loss: f64,
    /// CPUs that programs other than these used.
    pub others: f64,
    /// Whether the exporter, not the program under measurement, was the limit.
    pub load_limited: bool,
}

/// All runs of one side.
#[derive(Clone, Debug, Serialize)]
pub struct SideResult {
    pub side: Side,
    pub rate: Spread,
    pub cpu_us: Spread,
    pub runs: Vec<Run>,
}

impl SideResult {
    fn of(side: Side, runs: Vec<Run>) -> Self {
        let rate = Spread::of(runs.iter().map(|run| run.rate));
        let cpu_us = Spread::of(runs.iter().map(|run| run.cpu_us));
        Self { side, rate, cpu_us, runs }
    }

    /// Share of the messages that are in no file, in the middle run.
    fn loss(&self) -> f64 {
        Spread::of(self.runs.iter().map(|run| run.loss)).median
    }

    fn load_limited(&self) -> usize {
        self.runs.iter().filter(|run| run.load_limited).count()
    }

    fn disturbed(&self) -> usize {
        self.runs.iter().filter(|run| run.others > DISTURBED).count()
    }
}

/// Both sides of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub protocol: Protocol,
    pub target: f64,
    pub other: SideResult,
    pub balancer: SideResult,
}

/// Runs the cases that were asked for.
pub fn run(plan: &Plan, wanted: impl Fn(&str) -> bool, report: &mut Report) -> Result<()> {
    let mut cases = CASES.iter().filter(|case| wanted(case.name)).peekable();
    if cases.peek().is_some() {
        show::header();
    }
    for case in cases {
        report.recording(measure(plan, case)?);
    }
    Ok(())
}

/// Measures the sides in turns.
fn measure(plan: &Plan, case: &Case) -> Result<CaseResult> {
    let (mut other, mut balancer) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        for (side, runs) in [(case.other, &mut other), (Side::Balancer, &mut balancer)] {
            runs.push(undisturbed(|| {
                let run = record(plan, side, case.protocol)?;
                Ok((run, run.others))
            })?);
        }
    }
    let Case { name, protocol, rate: target, .. } = *case;
    let other = SideResult::of(case.other, other);
    let balancer = SideResult::of(Side::Balancer, balancer);
    Ok(CaseResult { name, protocol, target, other, balancer })
}

/// From the first message sent until enough are in the file; what is on the way then is waited for,
/// but takes no time.
fn record(plan: &Plan, side: Side, protocol: Protocol) -> Result<Run> {
    // The files of a run go with it.
    let directory = tempfile::Builder::new().prefix("ipfix-bench-").tempdir()?;
    let page = Page::open(&directory.path().join("page"))?;
    let part = page.part(EXPORTER)?;
    let (mut recorder, exporter) = Recorder::start(side, plan, protocol, directory.path(), |to| {
        exporter(plan, protocol, to, directory.path())
    })?;
    page.set_phase(Phase::Run);
    wait_until("the exporter sends", LIMIT, || Ok((part.read(Count::Messages) > 0).then_some(())))?;
    let start = Instant::now();
    let (recorder_id, exporter_id) = (recorder.id(), exporter.id());
    let cpu = || -> Result<[Duration; 3]> {
        let own = cpu::of_process(recorder_id)?;
        Ok([own, cpu::of_process(exporter_id)?, cpu::of_machine()?])
    };
    let before = cpu()?;
    wait_until("the messages are recorded", LIMIT, || {
        Ok((recorder.recorded(part.read(Count::Messages))? >= MESSAGES).then_some(()))
    })?;
    let after = cpu()?;
    let seconds = start.elapsed().as_secs_f64();
    page.set_phase(Phase::Stop);
    wait_until("the exporter ends", LIMIT, || Ok((part.read(Count::Done) == 1).then_some(())))?;
    settle(&mut recorder, part.read(Count::Messages))?;
    let recorded = recorder.finish()?;

    let [own, load, machine] = [0, 1, 2].map(|place| {
        let time = |times: [Duration; 3]| times.get(place).copied().unwrap_or_default();
        time(after).saturating_sub(time(before)).as_secs_f64()
    });
    let loss = 1.0 - float(recorded) / float(part.read(Count::Messages)).max(1.0);
    // UDP has no way to hold the exporter back: what is lost before the program says the same.
    let overrun = protocol == Protocol::Udp && loss > OVERRUN;
    Ok(Run {
        rate: float(MESSAGES) / seconds,
        cpu_us: own * 1e6 / float(MESSAGES),
        loss,
        others: (machine - own - load).max(0.0) / seconds,
        load_limited: load / seconds >= LOAD_AT_EASE && !overrun,
    })
}

/// Waits until all is recorded, or nothing more comes.
fn settle(recorder: &mut Recorder, sent: u64) -> Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    wait_until("the last messages are recorded", LIMIT, || {
        let recorded = recorder.recorded(sent)?;
        if recorded != last {
            (last, since) = (recorded, Instant::now());
        }
        Ok((recorded >= sent || since.elapsed() > QUIET).then_some(()))
    })
}

fn exporter(plan: &Plan, protocol: Protocol, to: SocketAddr, directory: &Path) -> Result<Process> {
    let arguments = [
        "bench-part".into(),
        "exporter".into(),
        format!("--page={}", directory.join("page").display()),
        format!("--protocol={}", value(protocol)),
        format!("--target={to}"),
        format!("--sizes={}", Sizes::FULL),
    ];
    let placement = Placement { nice: EXPORTER_NICE, ..plan.load.clone() };
    let arguments = arguments.map(OsString::from);
    Process::start("exporter", &placement, &plan.parts, arguments, Output::Shown)
}
