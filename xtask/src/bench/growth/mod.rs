//! How the cost of a message grows with destinations, exporters, templates and receivers.
//!
//! Along an axis one number changes and everything else stays, the rate included, which is far below
//! what the balancer can do: its CPU time for each message is compared with that at the axis's first
//! point.

mod axis;
mod chart;

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

pub use self::axis::AXES;
use self::axis::{Axis, Series};
use super::Plan;
use super::case::Route;
use super::rig::{DISTURBED, undisturbed};
use super::side::Side;
use super::stats::Spread;
use super::throughput::{self, Run};

/// Messages per second of all exporters together, at every point. They leave one by one, from however
/// many sessions.
const RATE: u32 = 10_000;

/// The lines of one chart.
#[derive(Clone, Debug, Serialize)]
pub struct AxisResult {
    name: &'static str,
    unit: &'static str,
    lines: Vec<Line>,
}

/// The points of one series.
#[derive(Clone, Debug, Serialize)]
struct Line {
    series: &'static str,
    points: Vec<Point>,
}

/// What a message costs at one point.
#[derive(Clone, Debug, Serialize)]
struct Point {
    value: u32,
    /// CPU time of the balancer for each message that arrives, in microseconds.
    cpu_us: Spread,
    /// The same, divided by that at the first point in the same turn.
    ratio: Spread,
    resident_mib: Spread,
    /// Share of the messages that did not arrive, in the worst run.
    loss: f64,
    /// Runs during which others used the machine.
    disturbed: usize,
}

/// Measures all points of an axis, in turns.
pub fn measure(plan: &Plan, axis: &Axis) -> Result<AxisResult> {
    let mut lines = Vec::new();
    for series in axis.series {
        lines.push(Line { series: series.name, points: line(plan, axis, series)? });
    }
    Ok(AxisResult { name: axis.name, unit: axis.unit, lines })
}

fn line(plan: &Plan, axis: &Axis, series: &Series) -> Result<Vec<Point>> {
    let routes = axis.values.iter().map(|value| axis.route(series, *value));
    let routes = routes.collect::<Result<Vec<_>>>()?;
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); routes.len()];
    for _ in 0..plan.runs {
        for ((_, route), runs) in routes.iter().zip(&mut runs) {
            runs.push(undisturbed(|| run(plan, route).map(|run| (run, run.others)))?);
        }
    }
    let first = runs.first().cloned().unwrap_or_default();
    let points = routes.iter().zip(&runs);
    Ok(points.map(|((value, _), runs)| Point::of(*value, runs, &first)).collect())
}

fn run(plan: &Plan, route: &Route) -> Result<Run> {
    throughput::run(plan, &Side::Balancer, route, RATE).with_context(|| format!("{route:?}"))
}

impl Point {
    fn of(value: u32, runs: &[Run], first: &[Run]) -> Self {
        let ratios = runs.iter().zip(first).map(|(run, first)| run.cpu_us / first.cpu_us);
        Self {
            value,
            cpu_us: Spread::of(runs.iter().map(|run| run.cpu_us)),
            ratio: Spread::of(ratios),
            resident_mib: Spread::of(runs.iter().map(|run| run.resident_mib)),
            loss: Spread::of(runs.iter().map(|run| run.loss)).max,
            disturbed: runs.iter().filter(|run| run.others > DISTURBED).count(),
        }
    }

    fn show(&self) -> String {
        let Self { cpu_us, ratio, resident_mib, .. } = self;
        let mut text = format!(
            "cpu {:>6.2} us ({:.2}-{:.2})  {:>5.2} times the first ({:.2}-{:.2})  {:>6.1} MiB",
            cpu_us.median,
            cpu_us.min,
            cpu_us.max,
            ratio.median,
            ratio.min,
            ratio.max,
            resident_mib.median,
        );
        if self.loss > 0.0 {
            text += &format!("  {:.3} % lost", self.loss * 100.0);
        }
        if self.disturbed > 0 {
            text += &format!("  others used the machine in {} runs", self.disturbed);
        }
        text
    }
}

impl AxisResult {
    /// Prints the points.
    pub fn show(&self) {
        for line in &self.lines {
            for point in &line.points {
                let (value, text) = (point.value, point.show());
                println!(
                    "{:<19} {:<14} {value:>5} {:<12} {text}",
                    self.name, line.series, self.unit
                );
            }
        }
    }

    /// Draws the ratios into a file of the axis's name.
    pub fn draw(&self, directory: &Path) -> Result<()> {
        let lines = self.lines.iter().map(|line| {
            let points = line.points.iter();
            (line.series, points.map(|point| (point.value, point.ratio.median)).collect())
        });
        let lines: Vec<(&str, Vec<(u32, f64)>)> = lines.collect();
        let path = directory.join(format!("{}.svg", self.name));
        std::fs::create_dir_all(directory)?;
        std::fs::write(&path, chart::draw(self.unit, &lines))
            .with_context(|| path.display().to_string())
    }
}
