//! How long messages are on their way through the kernel path, and where the kernel forwards by its
//! routing table: from the exporter's program to the collector's interface, at half load.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::case::{Case, Side};
use super::local::{FORWARDED, float};
use super::poller::Urgent;
use super::programs::Object;
use super::scene::Scene;
use super::sender::Sender;
use crate::bench::message::Sizes;
use crate::bench::page::Phase;
use crate::bench::rig::{Load, pause};
use crate::bench::stats::Spread;
use crate::bench::{Mode, Plan};
use crate::process::Placement;

/// The case's name.
pub const NAME: &str = "kernel-latency";
/// Most that the kernel path's 99th percentile may be of forwarding's.
pub const OF_FORWARD: f64 = 1.2;

/// What passes the messages on.
const CASE: Case = Case {
    name: NAME,
    mode: Mode::RoundRobin,
    destinations: 2,
    sizes: Sizes::Varied,
    of_bare: 0.0,
    of_userspace: None,
    of_peer: 0.0,
};

/// One run: percentiles of the times on the way, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
}

/// The runs of both sides.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// Messages per second.
    pub rate: f64,
    pub forward: Vec<Run>,
    pub balancer: Vec<Run>,
}

impl CaseResult {
    /// The percentiles of each side.
    pub fn sides(&self) -> [(&'static str, [Spread; 3]); 2] {
        [("forward", &self.forward), ("balancer", &self.balancer)].map(|(name, runs)| {
            let spread = |value: fn(&Run) -> f64| Spread::of(runs.iter().map(value));
            (name, [spread(|run| run.p50_us), spread(|run| run.p99_us), spread(|run| run.p999_us)])
        })
    }
}

/// Measures the sides in turns, at half of what the slower one takes of this exporter.
pub fn measure(plan: &Plan, scene: &Scene, object: &Object) -> Result<CaseResult> {
    scene.give_route()?;
    let bench = Bench { plan, scene, object };
    let [forward, kernel] = [Side::Forward, Side::Kernel].map(|side| bench.saturated(&side));
    let rate = forward?.min(kernel?) / 2.0;
    let mut result = CaseResult { rate, forward: Vec::new(), balancer: Vec::new() };
    for _ in 0..plan.runs {
        result.forward.push(bench.run(&Side::Forward, rate)?);
        result.balancer.push(bench.run(&Side::Kernel, rate)?);
    }
    Ok(result)
}

struct Bench<'a> {
    plan: &'a Plan,
    scene: &'a Scene,
    object: &'a Object,
}

impl Bench<'_> {
    /// Messages per second that get to the collector, of as many as the exporter can send.
    fn saturated(&self, side: &Side) -> Result<f64> {
        let (delivered, seconds) = self.observe(side, 0, |_| self.scene.delivered())?;
        let [start, end] = delivered;
        Ok(float(end - start) / seconds)
    }

    fn run(&self, side: &Side, rate: f64) -> Result<Run> {
        let rate = Load::steady(rate, true).rate;
        let ([start, end], _) = self.observe(side, rate, |sender| {
            sender.set_phase(Phase::Stamp);
            self.scene.times()
        })?;
        let counts: Vec<u64> = start.iter().zip(end).map(|(start, end)| end - start).collect();
        let [p50_us, p99_us, p999_us] = [500, 990, 999].map(|share| percentile(&counts, share));
        Ok(Run { p50_us, p99_us, p999_us })
    }

    /// Has a side at work, and reads something at both ends of the measurement.
    fn observe<T>(
        &self,
        side: &Side,
        rate: u32,
        read: impl Fn(&Sender) -> Result<T>,
    ) -> Result<([T; 2], f64)> {
        let Self { plan, scene, object } = *self;
        let stand = scene.stand(plan, object, &CASE, side)?;
        let network = Some(scene.exporter().namespace.path().into());
        let placement = Placement { network, ..plan.load.clone() };
        let sender = Sender::start(plan, scene, &placement, stand.session.receiver, rate)?;
        sender.set_phase(Phase::Run);
        let _urgent = Urgent::new()?;
        pause(plan.warm_up)?;
        let (delivered, forwarded) = (scene.delivered()?, stand.forwarded()?);
        let (start, first) = (Instant::now(), read(&sender)?);
        pause(plan.window)?;
        let (seconds, last) = (start.elapsed().as_secs_f64(), read(&sender)?);
        let forwarded = float(stand.forwarded()? - forwarded);
        let share = forwarded / float(scene.delivered()? - delivered).max(1.0);
        let known = *side != Side::Kernel || share > FORWARDED;
        ensure!(known, "{share:.2} of it went through the kernel path");
        Ok(([first, last], seconds))
    }
}

/// The microseconds that a share of `per_mille` of the messages does not exceed. There are `counts[t]`
/// of those that took t.
fn percentile(counts: &[u64], per_mille: u64) -> f64 {
    let mut left = (counts.iter().sum::<u64>() * per_mille).div_ceil(1000);
    let micros = counts.iter().take_while(|count| {
        let before = left;
        left = left.saturating_sub(**count);
        before > **count
    });
    u32::try_from(micros.count()).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let counts = [0, 500, 0, 490, 9, 1];
        let of = |per_mille| percentile(&counts, per_mille).to_string();
        assert_eq!([500, 501, 990, 999, 1000].map(of), ["1", "3", "3", "4", "5"]);
    }
}
