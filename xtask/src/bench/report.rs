//! The table, the verdicts and the file of figures.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use super::rig::Side;
use super::{Plan, kernel, latency, memory, throughput};

/// Shows how things are measured.
pub fn header(plan: &Plan) {
    println!(
        "measured program on CPU {:?}, exporter and sinks on CPU {:?}; loopback; {} runs of {} s \
         a side, taking turns; medians (min-max)",
        plan.measured.cpus,
        plan.load.cpus,
        plan.runs,
        plan.window.as_secs_f32(),
    );
    println!(
        "rate: messages/s at all collectors together; cpu: time of the measured program for each; \
         loss-free: highest rate with < 0.1 % loss\n"
    );
    println!(
        "{:<15} {:<9} {:>27} {:>20} {:>7} {:>10}  verdict",
        "case", "side", "rate", "cpu us/message", "loss", "loss-free"
    );
}

/// The results so far.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    kernel: String,
    cpu: String,
    runs: usize,
    window_seconds: f32,
    throughput: Vec<throughput::CaseResult>,
    latency: Vec<latency::CaseResult>,
    memory: Vec<memory::CaseResult>,
    kernel_path: kernel::Results,
    passed: usize,
    missed: usize,
    not_quoted: usize,
}

/// What a figure is worth.
enum Verdict {
    Pass,
    Miss,
    NotQuoted,
}

impl Report {
    /// An empty report of this machine.
    pub fn new(plan: &Plan) -> Self {
        let first_line = |path: &str, start: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
        };
        Self {
            kernel: first_line("/proc/version", "Linux"),
            cpu: first_line("/proc/cpuinfo", "model name"),
            runs: plan.runs,
            window_seconds: plan.window.as_secs_f32(),
            ..Self::default()
        }
    }

    /// Shows and keeps a throughput case.
    pub fn throughput(&mut self, case: throughput::CaseResult) {
        let relay = case.sides.iter().find(|side| side.side == Side::Relay);
        for side in &case.sides {
            let mut remarks = remarks(side);
            if let (Side::Balancer, Some(relay)) = (side.side, relay) {
                remarks.insert(0, self.compare(&case, side, relay));
            }
            println!(
                "{:<15} {:<9} {:>9.0} ({:>7.0}-{:>7.0}) {:>6.3} ({:.3}-{:.3}) {:>6.2}% {:>10}  {}",
                case.name,
                name(side.side),
                side.rate.median,
                side.rate.min,
                side.rate.max,
                side.cpu_us.median,
                side.cpu_us.min,
                side.cpu_us.max,
                side.loss().max(0.0) * 100.0,
                side.loss_free.map(|rate| format!("{rate:.0}")).unwrap_or_default(),
                remarks.join("; "),
            );
        }
        self.throughput.push(case);
    }

    fn compare(
        &mut self,
        case: &throughput::CaseResult,
        balancer: &throughput::SideResult,
        relay: &throughput::SideResult,
    ) -> String {
        let ratio = balancer.rate.median / relay.rate.median;
        let target = case.target;
        // Where the load holds the balancer back, its rate is a lower bound: that can show that the
        // target is reached, and nothing else. The relay's must be its own.
        let limited = balancer.load_limited() > 0;
        let mut text = if relay.load_limited() > 0 || (limited && ratio < target) {
            format!("{} the load was the limit (>= {target})", self.verdict(&Verdict::NotQuoted))
        } else if limited {
            format!("{} rate at least {target} of relay, the load was the limit", self.judge(true))
        } else {
            format!("{} rate {ratio:.2} of relay (>= {target})", self.judge(ratio >= target))
        };
        if let (Some(ours), Some(theirs)) = (balancer.loss_free, relay.loss_free) {
            text += &format!(", loss-free {:.2}", ours / theirs.max(1.0));
        }
        if case.lossless {
            text += &format!("; {} without loss", self.judge(balancer.lossless()));
        }
        let cpu = balancer.cpu_us.median / relay.cpu_us.median;
        if case.less_cpu {
            text += &format!("; {} cpu {cpu:.2} of relay (< 1)", self.judge(cpu < 1.0));
        } else {
            text += &format!("; cpu {cpu:.2} of relay");
        }
        text
    }

    /// Shows and keeps a latency case.
    pub fn latency(&mut self, case: latency::CaseResult) {
        let direct = case.sides.iter().find(|side| side.side == Side::Direct);
        for side in &case.sides {
            let added = side.p99_us.median - direct.map_or(0.0, |direct| direct.p99_us.median);
            let verdict = match side.side {
                Side::Direct => String::new(),
                Side::Relay => format!("adds {added:.0} us at p99"),
                Side::Balancer => {
                    let verdict = self.judge(added < case.target_us);
                    format!("{verdict} adds {added:.0} us at p99 (< {})", case.target_us)
                }
            };
            let disturbed = match side.disturbed {
                0 => String::new(),
                runs => format!("; others used the machine in {runs} runs"),
            };
            println!(
                "{:<15} {:<9} p50 {:>5.0} us  p99 {:>5.0} us ({:.0}-{:.0})  p99.9 {:>5.0} us at \
                 {} messages/s  {verdict}{disturbed}",
                case.name,
                name(side.side),
                side.p50_us.median,
                side.p99_us.median,
                side.p99_us.min,
                side.p99_us.max,
                side.p999_us.median,
                case.rate,
            );
        }
        self.latency.push(case);
    }

    /// Shows and keeps a memory case.
    pub fn memory(&mut self, case: memory::CaseResult) {
        let verdict = self.judge(case.most_mib < case.target_mib);
        println!(
            "{:<15} {:<9} {:.1} MiB resident, {:.1} MiB at most, with {} sessions  {verdict} (< {})",
            case.name, "balancer", case.now_mib, case.most_mib, case.sessions, case.target_mib,
        );
        self.memory.push(case);
    }

    /// The kernel path's figures.
    pub fn kernel_path(&mut self) -> &mut kernel::Results {
        &mut self.kernel_path
    }

    /// Shows the sum and writes the file; success if every target was reached.
    pub fn finish(&self, json: Option<&Path>) -> Result<ExitCode> {
        let Self { passed, missed, not_quoted, .. } = self;
        println!("\n{passed} targets reached, {missed} missed, {not_quoted} not measurable");
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(self)?;
            fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        Ok(if missed + not_quoted == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Counts a target, and names what became of it.
    pub fn judge(&mut self, reached: bool) -> &'static str {
        self.verdict(if reached { &Verdict::Pass } else { &Verdict::Miss })
    }

    fn verdict(&mut self, verdict: &Verdict) -> &'static str {
        let (count, text) = match verdict {
            Verdict::Pass => (&mut self.passed, "PASS"),
            Verdict::Miss => (&mut self.missed, "MISS"),
            Verdict::NotQuoted => (&mut self.not_quoted, "NO FIGURE"),
        };
        *count += 1;
        text
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Direct => "direct",
        Side::Relay => "relay",
        Side::Balancer => "balancer",
    }
}

/// What has to be known to read a side's figures.
fn remarks(side: &throughput::SideResult) -> Vec<String> {
    let mut remarks = Vec::new();
    let runs = side.runs.len();
    if side.load_limited() > 0 {
        remarks.push(format!("load was the limit in {} of {runs} runs", side.load_limited()));
    }
    if side.disturbed() > 0 {
        remarks.push(format!("others used the machine in {} of {runs} runs", side.disturbed()));
    }
    let malformed: u64 = side.runs.iter().map(|run| run.faults.malformed).sum();
    if malformed > 0 {
        remarks.push(format!("{malformed} pieces were no IPFIX"));
    }
    remarks
}
