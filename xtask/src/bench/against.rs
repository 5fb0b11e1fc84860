//! `--quick`: the working tree against another revision of the balancer, for every day.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::case::{CASES, Case};
use super::side::Side;
use super::stats::Spread;
use super::{Plan, half, throughput};
use crate::workspace::{cargo, root, run as run_command, target_dir};

/// A difference below this share is none that a change has to answer for.
const LEAST: f64 = 0.02;
/// Messages per second while times on the way are measured.
const PACE: f64 = 30_000.0;

/// The cases that show a change, and whether times on the way are measured in them.
const QUICK: [(&str, bool); 6] = [
    ("udp-rr-2", true),
    ("udp-rr-2-varied", false),
    ("udp-all-2", false),
    ("udp-all-2-varied", false),
    ("tcp-rr-2", true),
    ("tcp-all-2", false),
];

/// Measures both in turns, and says what got slower; a failure if anything did.
pub fn run(plan: &Plan, revision: &str, wants: impl Fn(&str) -> bool) -> Result<ExitCode> {
    let before = Side::Before(build(revision)?);
    println!(
        "working tree against {revision}, {} turns of {} s each; > 1 is better; median of the turns' \
         ratios (quartiles)\n",
        plan.runs,
        plan.window.as_secs_f32()
    );
    println!("{:<17} {:<7} {:>9} {:>9} {:>20}", "case", "figure", "before", "now", "ratio");
    let mut slower = 0;
    for (name, times) in QUICK.into_iter().filter(|(name, _)| wants(name)) {
        let case = CASES.iter().find(|case| case.name == name).context("no such case")?;
        let mut figures = saturated(plan, &before, case)?;
        if times {
            figures.extend(on_the_way(plan, &before, case)?);
        }
        slower += figures.iter().filter(|figure| figure.show(name)).count();
    }
    println!("\n{slower} slower");
    Ok(if slower == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the balancer of a revision, beside what is built here; where the program is.
fn build(revision: &str) -> Result<PathBuf> {
    let directory = target_dir()?.join("bench");
    let (tree, target) = (directory.join("against"), directory.join("against-target"));
    let commit = git(&root(), &["rev-parse", "--verify", &format!("{revision}^{{commit}}")])?;
    println!("building {revision} ({commit:.12})");
    if tree.join(".git").exists() {
        git(&tree, &["checkout", "--quiet", "--detach", &commit])?;
    } else {
        std::fs::create_dir_all(&directory)?;
        let place = tree.to_str().context("a path that is no UTF-8")?;
        // By force: `cargo clean` takes the tree away, and leaves git's knowledge of it.
        git(&root(), &["worktree", "add", "--quiet", "--force", "--detach", place, &commit])?;
    }
    let mut command = cargo();
    command.current_dir(&tree).env("CARGO_TARGET_DIR", &target);
    command.args(["build", "--quiet", "--release", "--locked", "--package=ipfix-balancer"]);
    run_command(&mut command).with_context(|| format!("{revision} does not build"))?;
    Ok(target.join("release/ipfix-balancer"))
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").current_dir(directory).args(arguments).output()?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// One figure of both, in each turn.
struct Figure {
    name: &'static str,
    /// Whether more of it is better.
    gain: bool,
    before: Vec<f64>,
    now: Vec<f64>,
}

impl Figure {
    fn new<T>(name: &'static str, gain: bool, turns: &[[T; 2]], value: impl Fn(&T) -> f64) -> Self {
        let before = turns.iter().map(|[before, _]| value(before)).collect();
        Self { name, gain, before, now: turns.iter().map(|[_, now]| value(now)).collect() }
    }

    /// Shows it; true if it got worse.
    fn show(&self, case: &str) -> bool {
        let turns = self.before.iter().zip(&self.now);
        let ratios = turns.map(|(before, now)| if self.gain { now / before } else { before / now });
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        let [lower, median, upper] = quartiles(&ratios);
        let (verdict, slower) = judge(lower, upper);
        let middle = |values: &[f64]| Spread::of(values.iter().copied()).median;
        println!(
            "{case:<17} {:<7} {:>9} {:>9} {median:>6.3} ({lower:.3}-{upper:.3})  {verdict}",
            self.name,
            short(middle(&self.before)),
            short(middle(&self.now)),
        );
        slower
    }
}

/// Three turns of four have to agree.
fn judge(lower: f64, upper: f64) -> (&'static str, bool) {
    if upper < 1.0 - LEAST {
        ("SLOWER", true)
    } else if lower > 1.0 + LEAST {
        ("faster", false)
    } else {
        ("no difference seen", false)
    }
}

/// Of sorted values.
fn quartiles(sorted: &[f64]) -> [f64; 3] {
    [1, 2, 3].map(|quarter| {
        let place = (sorted.len().saturating_sub(1) * quarter + 2) / 4;
        sorted.get(place).copied().unwrap_or_default()
    })
}

fn short(value: f64) -> String {
    if value < 100.0 { format!("{value:.3}") } else { format!("{value:.0}") }
}

/// Rates, where the balancer was the limit, and costs.
fn saturated(plan: &Plan, before: &Side, case: &Case) -> Result<Vec<Figure>> {
    let turns = turns(plan, before, |side| throughput::run(plan, side, &case.route, 0))?;
    let mut figures = vec![Figure::new("cpu us", false, &turns, |run| run.cpu_us)];
    if !turns.iter().flatten().any(|run| run.load_limited) {
        figures.insert(0, Figure::new("rate", true, &turns, |run| run.rate));
    }
    Ok(figures)
}

fn on_the_way(plan: &Plan, before: &Side, case: &Case) -> Result<Vec<Figure>> {
    let turns = turns(plan, before, |side| half::run(plan, side, &case.route, PACE))?;
    Ok(vec![
        Figure::new("p50 us", false, &turns, |run| run.p50_us),
        Figure::new("p99 us", false, &turns, |run| run.p99_us),
    ])
}

/// Runs of both; who begins changes from turn to turn.
fn turns<T>(plan: &Plan, before: &Side, run: impl Fn(&Side) -> Result<T>) -> Result<Vec<[T; 2]>> {
    (0..plan.runs)
        .map(|turn| {
            if turn % 2 == 0 {
                let old = run(before)?;
                return Ok([old, run(&Side::Balancer)?]);
            }
            let new = run(&Side::Balancer)?;
            Ok([run(before)?, new])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{judge, quartiles};

    #[test]
    fn three_of_four_turns_have_to_agree() {
        let verdict = |ratios: &[f64]| {
            let [lower, _, upper] = quartiles(ratios);
            judge(lower, upper).0
        };
        assert_eq!(verdict(&[0.8, 0.9, 0.9, 0.9, 0.95, 0.95, 1.2]), "SLOWER");
        assert_eq!(verdict(&[0.8, 0.9, 0.9, 0.9, 0.95, 1.0, 1.2]), "no difference seen");
        assert_eq!(verdict(&[0.9, 1.1, 1.1, 1.1, 1.2, 1.2, 1.2]), "faster");
    }
}
