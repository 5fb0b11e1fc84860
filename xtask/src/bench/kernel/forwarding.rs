//! Packets per second, and CPU time for each, on the way from the exporter's interface to the
//! collector's.

use anyhow::{Result, ensure};
use serde::Serialize;

use super::case::{Case, Side};
use super::generator::Generator;
use super::poller::Urgent;
use super::programs::Object;
use super::scene::{Reading, Scene};
use crate::bench::Plan;
use crate::bench::rig::pause;
use crate::bench::stats::Spread;

/// One run of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Messages per second that got to the collector, copies included.
    pub rate: f64,
    /// CPU time of the balancer for a message that came in, in nanoseconds.
    pub cost_ns: f64,
    /// Share of its CPU that the balancer had.
    pub busy: f64,
    /// Share of the generator's frames that the balancer's queue had no room for.
    pub overrun: f64,
    /// Share of what the balancer handled that did not get to the collector.
    pub loss: f64,
}

/// All runs of one side.
#[derive(Clone, Debug, Serialize)]
pub struct SideResult {
    pub side: Side,
    pub rate: Spread,
    pub cost_ns: Spread,
    pub runs: Vec<Run>,
}

impl SideResult {
    /// The median of something in the runs.
    pub fn median(&self, value: impl Fn(&Run) -> f64) -> f64 {
        Spread::of(self.runs.iter().map(value)).median
    }
}

/// The sides of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub of_bare: f64,
    pub of_userspace: Option<f64>,
    pub of_peer: f64,
    pub sides: Vec<SideResult>,
}

/// Measures the sides in turns.
pub fn measure(plan: &Plan, scene: &Scene, object: &Object, case: &Case) -> Result<CaseResult> {
    let mut sides: Vec<_> = case.sides(&plan.peers).into_iter().map(|s| (s, Vec::new())).collect();
    for _ in 0..plan.runs {
        for (side, runs) in &mut sides {
            runs.push(run(plan, scene, object, case, side)?);
        }
    }
    let result = |(side, runs): (Side, Vec<Run>)| SideResult {
        side,
        rate: Spread::of(runs.iter().map(|run| run.rate)),
        cost_ns: Spread::of(runs.iter().map(|run| run.cost_ns)),
        runs,
    };
    let Case { name, of_bare, of_userspace, of_peer, .. } = *case;
    let sides = sides.into_iter().map(result).collect();
    Ok(CaseResult { name, of_bare, of_userspace, of_peer, sides })
}

fn run(plan: &Plan, scene: &Scene, object: &Object, case: &Case, side: &Side) -> Result<Run> {
    let stand = scene.stand(plan, object, case, side)?;
    let (site, cpus) = (scene.exporter(), &plan.load.cpus);
    let generator = Generator::start(object, site, cpus, stand.session, case.sizes)?;
    let urgent = Urgent::new()?;
    pause(plan.warm_up)?;
    let (sent, start) = (generator.sent()?, scene.read(&stand)?);
    pause(plan.window)?;
    let (end, sent) = (scene.read(&stand)?, generator.sent()? - sent);
    drop(urgent);
    generator.stop()?;
    ensure!(end.delivered > start.delivered, "{side:?}: nothing got through");
    Ok(Run::between(&start, &end, sent, case.copies(), side))
}

impl Run {
    fn between(start: &Reading, end: &Reading, sent: u64, copies: u32, side: &Side) -> Self {
        let seconds = (end.time - start.time).as_secs_f64();
        let handled = float(end.handled - start.handled).max(1.0);
        let delivered = float(end.delivered - start.delivered);
        let poller = end.poller.saturating_sub(start.poller).as_secs_f64();
        let daemon = end.daemon.saturating_sub(start.daemon).as_secs_f64();
        let messages = delivered / f64::from(copies);
        // What the balancer takes in and then has no time for is not counted against it.
        let daemon_each = if side.is_process() { daemon / messages } else { 0.0 };
        Self {
            rate: delivered / seconds,
            cost_ns: (poller / handled + daemon_each) * 1e9,
            busy: (poller + daemon) / seconds,
            overrun: (1.0 - handled / float(sent).max(1.0)).max(0.0),
            loss: (1.0 - messages / handled).max(0.0),
        }
    }
}

/// Counts of a run are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
