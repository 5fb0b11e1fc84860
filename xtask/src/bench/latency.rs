//! How long messages are on their way at a moderate rate, and what of it the balancer adds.

use anyhow::Result;
use serde::Serialize;

use super::Plan;
use super::case::Latency;
use super::page::Phase;
use super::rig::{DISTURBED, Load, Rig, Side, others_between, pause, undisturbed};
use super::stats::{Spread, percentile};

/// One side's times, in microseconds: the spread of each percentile over the runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SideResult {
    pub side: Side,
    pub p50_us: Spread,
    pub p99_us: Spread,
    pub p999_us: Spread,
    /// Runs during which others used the machine.
    pub disturbed: usize,
}

/// One run of one side.
#[derive(Clone, Copy, Debug)]
struct Run {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    others: f64,
}

/// The sides of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub rate: u32,
    pub target_us: f64,
    pub sides: Vec<SideResult>,
}

/// Measures the sides in turns.
pub fn measure(plan: &Plan, case: &Latency) -> Result<CaseResult> {
    let mut sides = vec![Side::Direct, Side::Relay];
    sides.extend(plan.balancer.is_some().then_some(Side::Balancer));
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); sides.len()];
    for _ in 0..plan.runs {
        for (side, runs) in sides.iter().zip(&mut runs) {
            runs.push(undisturbed(|| {
                let run = run(plan, *side, case)?;
                Ok((run, run.others))
            })?);
        }
    }
    let sides = sides.into_iter().zip(runs).map(|(side, runs)| SideResult {
        side,
        p50_us: Spread::of(runs.iter().map(|run| run.p50_us)),
        p99_us: Spread::of(runs.iter().map(|run| run.p99_us)),
        p999_us: Spread::of(runs.iter().map(|run| run.p999_us)),
        disturbed: runs.iter().filter(|run| run.others > DISTURBED).count(),
    });
    Ok(CaseResult {
        name: case.name,
        rate: case.rate,
        target_us: case.added_p99_us,
        sides: sides.collect(),
    })
}

fn run(plan: &Plan, side: Side, case: &Latency) -> Result<Run> {
    let load = Load { rate: case.rate, sessions: 1, times: true };
    let rig = Rig::start(plan, side, &case.route, load)?;
    rig.set_phase(Phase::Run);
    pause(plan.warm_up)?;
    rig.set_phase(Phase::Stamp);
    let start = rig.snapshot()?;
    pause(plan.window)?;
    let others = others_between(&start, &rig.snapshot()?);
    rig.drain()?;
    let times = rig.into_times()?;
    let [p50_us, p99_us, p999_us] =
        [500, 990, 999].map(|share| f64::from(percentile(&times, share)) / 1000.0);
    Ok(Run { p50_us, p99_us, p999_us, others })
}
