//! Messages per second and CPU time per message at saturation, and the highest rate without loss.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::case::{Route, Throughput};
use super::page::Phase;
use super::rig::{DISTURBED, Faults, Load, Rig, Side, others_between, pause, undisturbed};
use super::stats::Spread;
use super::{Plan, Protocol};

/// Above this share of its CPU the program under measurement was the limit.
const SATURATED: f64 = 0.9;
/// Below this share of its CPUs the load was not the limit.
const LOAD_AT_EASE: f64 = 0.95;
/// Above this share of messages lost before it, the program under measurement was the limit.
const OVERRUN: f64 = 0.02;
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
    /// Highest rate of arriving messages with less than 0.1 % loss; UDP only.
    pub loss_free: Option<f64>,
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

    /// Runs during which others used the machine.
    pub fn disturbed(&self) -> usize {
        self.runs.iter().filter(|run| run.others > DISTURBED).count()
    }
}

/// The sides of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub target: f64,
    pub less_cpu: bool,
    pub lossless: bool,
    pub sides: Vec<SideResult>,
}

/// Measures the sides in turns.
pub fn measure(plan: &Plan, case: &Throughput) -> Result<CaseResult> {
    let mut sides = vec![Side::Direct, Side::Relay];
    sides.extend(plan.balancer.is_some().then_some(Side::Balancer));
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); sides.len()];
    for _ in 0..plan.runs {
        for (side, runs) in sides.iter().zip(&mut runs) {
            runs.push(undisturbed(|| run(plan, *side, &case.route).map(|run| (run, run.others)))?);
        }
    }
    let mut results = Vec::new();
    for (side, runs) in sides.into_iter().zip(runs) {
        let rate = Spread::of(runs.iter().map(|run| run.rate));
        let search = case.route.protocol == Protocol::Udp && side != Side::Direct && !plan.quick;
        let loss_free =
            if search { Some(loss_free(plan, side, &case.route, rate.median)?) } else { None };
        let cpu_us = Spread::of(runs.iter().map(|run| run.cpu_us));
        results.push(SideResult { side, rate, cpu_us, runs, loss_free });
    }
    // A TCP exporter can be held back: there is no excuse for loss.
    let lossless = case.route.protocol == Protocol::Tcp;
    let Throughput { name, rate: target, less_cpu, .. } = *case;
    Ok(CaseResult { name, target, less_cpu, lossless, sides: results })
}

fn run(plan: &Plan, side: Side, route: &Route) -> Result<Run> {
    let rig = Rig::start(plan, side, route, Load { rate: 0, sessions: 1, times: false })?;
    rig.set_phase(Phase::Run);
    pause(plan.warm_up)?;
    let start = rig.snapshot()?;
    pause(plan.window)?;
    let end = rig.snapshot()?;
    let (sent_in_all, received_in_all) = rig.drain()?;
    let faults = rig.faults()?;
    let copies = if side == Side::Direct { 1 } else { route.copies() };
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
    let overrun = route.protocol == Protocol::Udp && loss > OVERRUN;
    let fair = busy >= SATURATED || load_busy < LOAD_AT_EASE || overrun;
    Ok(Run {
        rate: received / seconds,
        cpu_us: measured * 1e6 / received.max(1.0),
        busy,
        load_busy,
        loss,
        others: others_between(&start, &end),
        load_limited: side != Side::Direct && (!fair || sink_loss >= SINK_LOSS),
        faults,
    })
}

/// Searches between nothing and a little more than what arrives at saturation.
fn loss_free(plan: &Plan, side: Side, route: &Route, saturated: f64) -> Result<f64> {
    let (mut best, mut too_much) = (0.0, saturated / f64::from(route.copies()) * 1.2);
    for step in 0..SEARCH_STEPS {
        // Loss often begins not far below saturation: start there.
        let share = if step == 0 { 0.75 } else { 0.5 };
        let rate = best + (too_much - best) * share;
        match lossless_run(plan, side, route, rate)? {
            Some(arrived) => best = arrived,
            None => too_much = rate,
        }
    }
    Ok(best * f64::from(route.copies()))
}

/// Sends at a steady rate; the rate that was reached, if (almost) nothing was lost.
fn lossless_run(plan: &Plan, side: Side, route: &Route, rate: f64) -> Result<Option<f64>> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let load = Load { rate: rate as u32, sessions: 1, times: false };
    let rig = Rig::start(plan, side, route, load)?;
    rig.set_phase(Phase::Run);
    let start = rig.snapshot()?;
    pause(plan.window.min(Duration::from_secs(1)))?;
    let end = rig.snapshot()?;
    let (sent, received) = rig.drain()?;
    let loss = 1.0 - float(received) / float(sent * u64::from(route.copies())).max(1.0);
    let reached = float(end.sent - start.sent) / (end.time - start.time).as_secs_f64();
    Ok((loss < NO_LOSS).then_some(reached))
}

/// Counts of a run are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
