//! The lines of the table about recording.

use super::recorder::Side;
use super::{CaseResult, MESSAGES, SideResult};
use crate::bench::Protocol;
use crate::bench::report::{Report, Verdict};

/// Says what follows.
pub fn header() {
    println!(
        "\n{MESSAGES} messages recorded in each run, into files in {}",
        std::env::temp_dir().display()
    );
}

impl Report {
    /// Shows and keeps a case.
    pub fn recording(&mut self, case: CaseResult) {
        line(case.name, &case.other, "");
        let verdict = self.compare_recording(&case);
        line(case.name, &case.balancer, &verdict);
        self.keep_recording(case);
    }

    fn compare_recording(&mut self, case: &CaseResult) -> String {
        let CaseResult { other, balancer, target, .. } = case;
        let ratio = balancer.rate.median / other.rate.median;
        let name = name(other.side);
        // Where the exporter holds the balancer back, its rate is a lower bound.
        let limited = balancer.load_limited() > 0 && ratio < *target;
        let mut text = if other.load_limited() > 0 || limited {
            let verdict = self.verdict(&Verdict::NotQuoted);
            format!("{verdict} the exporter was the limit (>= {target})")
        } else {
            format!("{} rate {ratio:.2} of {name} (>= {target})", self.judge(ratio >= *target))
        };
        // A TCP exporter can be held back: there is no excuse for loss.
        if case.protocol == Protocol::Tcp {
            let lossless = balancer.runs.iter().all(|run| run.loss <= 0.0);
            text += &format!("; {} without loss", self.judge(lossless));
        }
        // What disturbs makes a run slower, never faster: the fastest ones say what the programs do.
        let fastest = balancer.rate.max / other.rate.max;
        let cpu = balancer.cpu_us.median / other.cpu_us.median;
        format!("{text}; fastest runs {fastest:.2}; cpu {cpu:.2} of {name}")
    }
}

fn line(case: &str, side: &SideResult, verdict: &str) {
    let mut remarks: Vec<String> = Vec::new();
    remarks.extend((!verdict.is_empty()).then(|| verdict.to_owned()));
    for (runs, what) in [
        (side.load_limited(), "the exporter was the limit"),
        (side.disturbed(), "others used the machine"),
    ] {
        let all = side.runs.len();
        remarks.extend((runs > 0).then(|| format!("{what} in {runs} of {all} runs")));
    }
    println!(
        "{case:<18} {:<9} {:>9.0} ({:>7.0}-{:>7.0}) {:>6.3} ({:.3}-{:.3}) {:>6.2}% {:>18}  {}",
        name(side.side),
        side.rate.median,
        side.rate.min,
        side.rate.max,
        side.cpu_us.median,
        side.cpu_us.min,
        side.cpu_us.max,
        side.loss().max(0.0) * 100.0,
        "",
        remarks.join("; "),
    );
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Balancer => "balancer",
        Side::Cat => "cat",
        Side::Nfcapd => "nfcapd",
    }
}
