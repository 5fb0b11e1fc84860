//! At half of the rate that a side can do: how long messages are on their way, what of it the program
//! adds, and whether anything is lost.

use anyhow::Result;
use serde::Serialize;

use super::Plan;
use super::case::Route;
use super::page::Phase;
use super::rig::{DISTURBED, Load, Rig, others_between, pause, undisturbed};
use super::side::Side;
use super::stats::{Spread, percentile};
use super::throughput::float;

/// Times in microseconds: the spread of each percentile over the runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Half {
    /// Messages per second that are sent.
    pub rate: f64,
    pub p50_us: Spread,
    pub p99_us: Spread,
    pub p999_us: Spread,
    /// The 99th percentile without the program, with as many messages for the sinks.
    pub direct_p99_us: Spread,
    /// Share of the messages that did not get to the sinks, in the worst run.
    pub loss: f64,
    /// Share of those that did and found a sink too slow, in the worst run.
    pub sink_loss: f64,
    /// Runs during which others used the machine.
    pub disturbed: usize,
}

/// One run of one side.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub p50_us: f64,
    pub p99_us: f64,
    p999_us: f64,
    loss: f64,
    sink_loss: f64,
    others: f64,
}

/// Measures the side, and the load without it, in turns.
pub fn measure(plan: &Plan, side: &Side, route: &Route, rate: f64) -> Result<Half> {
    let (mut runs, mut direct) = (Vec::new(), Vec::new());
    let direct_rate = rate * f64::from(side.copies(route));
    for _ in 0..plan.runs {
        let both = [(&Side::Direct, direct_rate, &mut direct), (side, rate, &mut runs)];
        for (side, rate, runs) in both {
            runs.push(undisturbed(|| {
                let run = run(plan, side, route, rate)?;
                Ok((run, run.others))
            })?);
        }
    }
    let spread = |value: fn(&Run) -> f64| Spread::of(runs.iter().map(value));
    Ok(Half {
        rate,
        p50_us: spread(|run| run.p50_us),
        p99_us: spread(|run| run.p99_us),
        p999_us: spread(|run| run.p999_us),
        direct_p99_us: Spread::of(direct.iter().map(|run| run.p99_us)),
        loss: spread(|run| run.loss).max,
        sink_loss: spread(|run| run.sink_loss).max,
        disturbed: runs.iter().filter(|run| run.others > DISTURBED).count(),
    })
}

impl Half {
    /// What the program adds to the 99th percentile, in microseconds.
    pub fn added_p99_us(&self) -> f64 {
        self.p99_us.median - self.direct_p99_us.median
    }
}

/// One run of one side at a steady rate.
pub fn run(plan: &Plan, side: &Side, route: &Route, rate: f64) -> Result<Run> {
    let rig = Rig::start(plan, side, route, Load::steady(rate, true))?;
    rig.set_phase(Phase::Run);
    pause(plan.warm_up)?;
    rig.set_phase(Phase::Stamp);
    let start = rig.snapshot()?;
    pause(plan.window)?;
    let others = others_between(&start, &rig.snapshot()?);
    let (sent, received) = rig.drain()?;
    let expected = float(sent * u64::from(side.copies(route))).max(1.0);
    let dropped = rig.faults()?.sink_drops;
    let (loss, sink_loss) = (1.0 - float(received + dropped) / expected, float(dropped) / expected);
    let times = rig.into_times()?;
    let [p50_us, p99_us, p999_us] =
        [500, 990, 999].map(|share| f64::from(percentile(&times, share)) / 1000.0);
    Ok(Run { p50_us, p99_us, p999_us, loss, sink_loss, others })
}
