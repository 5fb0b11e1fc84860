//! Messages per second and CPU time per message at saturation, and the highest rate without loss.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::case::{Case, Route};
use super::half::{self, Half};
use super::page::Phase;
use super::rig::{DISTURBED, Faults, Load, Rig, others_between, pause, undisturbed};
use super::side::Side;
use super::stats::Spread;
use super::{Plan, Protocol};
use crate::interrupt;

/// Above this share of its CPU the program under measurement was the limit.
const SATURATED: f64 = 0.9;
/// Below this share of its CPUs the load was not the limit.
pub const LOAD_AT_EASE: f64 = 0.95;
/// Above this share of messages lost before it, the program under measurement was the limit.
pub const OVERRUN: f64 = 0.02;
/// Above this share of messages lost at the sinks, the sinks were the limit.
const SINK_LOSS: f64 = 0.01;
/// Loss that still counts as none.
const NO_LOSS: f64 = 0.001;
/// Steps of the search for the highest rate without loss.
const SEARCH_STEPS: u32 = 6;

/// One run of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Messages per second that arrived at all sinks together.
    pub rate: f64,
    /// CPU time of the program under measurement for each of them, in microseconds.
    pub cpu_us: f64,
    /// Share of its CPU that the program under measurement used.
    pub busy: f64,
    /// Share of their CPUs that exporter, sinks and bench used.
    pub load_busy: f64,
    /// Share of the offered messages that did not arrive.
    pub loss: f64,
    /// Resident memory of the program under measurement at the end, in MiB.
    pub resident_mib: f64,
    /// CPUs that other programs of the machine used.
    pub others: f64,
    /// Whether the load, not the program under measurement, was the limit.
    pub load_limited: bool,
    /// What the sinks found wrong.
    pub faults: Faults,
}

/// All runs of one side.
#[derive(Clone, Debug, Serialize)]
pub struct SideResult {
    pub side: Side,
    pub rate: Spread,
    pub cpu_us: Spread,
    pub runs: Vec<Run>,
    /// Highest rate of arriving messages with less than 0.1 % loss; from UDP only.
    pub loss_free: Option<f64>,
    /// At half of the rate that it can do.
    pub half: Option<Half>,
}

impl SideResult {
    /// Runs in which the load was the limit.
    pub fn load_limited(&self) -> usize {
        self.runs.iter().filter(|run| run.load_limited).count()
    }

    /// Share of the offered messages that did not arrive, in the middle run.
    pub fn loss(&self) -> f64 {
        Spread::of(self.runs.iter().map(|run| run.loss)).median
    }

    /// Whether every run delivered every message.
    pub fn lossless(&self) -> bool {
        self.runs.iter().all(|run| run.loss <= 0.0)
    }

    /// Resident memory, in MiB, in the middle run.
    pub fn resident_mib(&self) -> f64 {
        Spread::of(self.runs.iter().map(|run| run.resident_mib)).median
    }

    /// Runs during which others used the machine.
    pub fn disturbed(&self) -> usize {
        self.runs.iter().filter(|run| run.others > DISTURBED).count()
    }
}

/// The sides of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub of_relay: Option<f64>,
    pub of_peer: Option<f64>,
    pub lossless: bool,
    pub sides: Vec<SideResult>,
    /// Peers that could not be measured, and why.
    pub left_out: Vec<(String, String)>,
}

/// Measures the sides in turns.
pub fn measure(plan: &Plan, case: &Case) -> Result<CaseResult> {
    let (mut sides, mut left_out) = (Vec::<SideResult>::new(), Vec::new());
    for Contender { side, runs, failed } in saturate(plan, &case.route)? {
        match failed {
            Some(why) => left_out.push((side.name().to_owned(), why)),
            None => {
                let load = sides.first().and_then(|direct| direct.loss_free);
                sides.push(result(plan, case, side, runs, load)?);
            }
        }
    }
    // A TCP exporter can be held back: there is no excuse for loss.
    let lossless = (case.route.input, case.route.output) == (Protocol::Tcp, Protocol::Tcp);
    let Case { name, of_relay, of_peer, .. } = *case;
    Ok(CaseResult { name, of_relay, of_peer, lossless, sides, left_out })
}

/// A side with its runs.
struct Contender {
    side: Side,
    runs: Vec<Run>,
    /// Why it is out; peers only.
    failed: Option<String>,
}

/// The sides in turns, as much as goes through.
fn saturate(plan: &Plan, route: &Route) -> Result<Vec<Contender>> {
    let contender = |side| Contender { side, runs: Vec::new(), failed: None };
    let mut contenders: Vec<_> = Side::all(plan, route).into_iter().map(contender).collect();
    for _ in 0..plan.runs {
        for Contender { side, runs, failed } in &mut contenders {
            if failed.is_some() {
                continue;
            }
            match undisturbed(|| run(plan, side, route, 0).map(|run| (run, run.others))) {
                Ok(run) => runs.push(run),
                Err(error) if matches!(side, Side::Peer(_)) && !interrupt::requested() => {
                    *failed = Some(format!("{error:#}"));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(contenders)
}

/// Finds the rate without loss, and goes to half of it; or to half of what the load can do without
/// loss, `load`, where that is less.
fn result(
    plan: &Plan,
    case: &Case,
    side: Side,
    runs: Vec<Run>,
    load: Option<f64>,
) -> Result<SideResult> {
    let rate = Spread::of(runs.iter().map(|run| run.rate));
    let cpu_us = Spread::of(runs.iter().map(|run| run.cpu_us));
    let copies = f64::from(side.copies(&case.route));
    let (mut most, mut loss_free, mut half) = (rate.median / copies, None, None);
    let searched = side != Side::Direct || case.half;
    if searched && case.route.input == Protocol::Udp {
        most = self::loss_free(plan, &side, &case.route, most)?;
        loss_free = Some(most * copies);
    }
    if side != Side::Direct && case.half {
        let most = load.map_or(most, |load| most.min(load / copies));
        half = Some(half::measure(plan, &side, &case.route, most / 2.0)?);
    }
    Ok(SideResult { side, rate, cpu_us, runs, loss_free, half })
}

/// One run of one side at so many messages per second; at 0, as much as goes through.
pub fn run(plan: &Plan, side: &Side, route: &Route, rate: u32) -> Result<Run> {
    let rig = Rig::start(plan, side, route, Load { rate, times: false })?;
    rig.set_phase(Phase::Run);
    pause(plan.warm_up)?;
    let start = rig.snapshot()?;
    pause(plan.window)?;
    let end = rig.snapshot()?;
    let resident_mib = f64::from(rig.resident_kib()?) / 1024.0;
    let (sent_in_all, received_in_all) = rig.drain()?;
    let faults = rig.faults()?;
    let copies = side.copies(route);
    let seconds = (end.time - start.time).as_secs_f64();
    let received = float(end.received - start.received);
    let measured = (end.measured_cpu - start.measured_cpu).as_secs_f64();
    let rig_cpu = end.rig_cpu.saturating_sub(start.rig_cpu);
    let loss = 1.0 - float(received_in_all) / float(sent_in_all * u64::from(copies)).max(1.0);
    let sink_loss = float(faults.sink_drops) / float(received_in_all).max(1.0);
    let busy = measured / seconds;
    let load_cpus = f64::from(u32::try_from(plan.load.cpus.len())?);
    let load = rig_cpu.saturating_sub(end.measured_cpu - start.measured_cpu).as_secs_f64();
    let load_busy = load / seconds / load_cpus;
    // UDP has no way to hold the exporter back: what is lost before the program says the same.
    let overrun = route.input == Protocol::Udp && loss > OVERRUN;
    let fair = busy >= SATURATED || load_busy < LOAD_AT_EASE || overrun;
    Ok(Run {
        rate: received / seconds,
        cpu_us: measured * 1e6 / received.max(1.0),
        busy,
        load_busy,
        loss,
        resident_mib,
        others: others_between(&start, &end),
        load_limited: *side != Side::Direct && (!fair || sink_loss >= SINK_LOSS),
        faults,
    })
}

/// Searches between nothing and a little more than what goes through at saturation; messages that
/// are sent per second.
fn loss_free(plan: &Plan, side: &Side, route: &Route, saturated: f64) -> Result<f64> {
    let (mut best, mut too_much) = (0.0, saturated * 1.2);
    for step in 0..SEARCH_STEPS {
        // Loss often begins not far below saturation: start there.
        let share = if step == 0 { 0.75 } else { 0.5 };
        let rate = best + (too_much - best) * share;
        match lossless_run(plan, side, route, rate)? {
            Some(sent) => best = sent,
            None => too_much = rate,
        }
    }
    Ok(best)
}

/// Sends at a steady rate; the rate that was reached, if (almost) nothing was lost.
fn lossless_run(plan: &Plan, side: &Side, route: &Route, rate: f64) -> Result<Option<f64>> {
    let rig = Rig::start(plan, side, route, Load::steady(rate, false))?;
    rig.set_phase(Phase::Run);
    let start = rig.snapshot()?;
    pause(plan.window.min(Duration::from_secs(1)))?;
    let end = rig.snapshot()?;
    let loss = rig.drain_loss(side.copies(route))?;
    let reached = float(end.sent - start.sent) / (end.time - start.time).as_secs_f64();
    Ok((loss < NO_LOSS).then_some(reached))
}

/// Counts of a run are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}
