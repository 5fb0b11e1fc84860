//! The kernel path's lines of the table.

use super::case::Side;
use super::cost::{CaseResult as Cost, MessageResult};
use super::forwarding::{CaseResult, SideResult};
use super::{latency, local};
use crate::bench::report::Report;
use crate::bench::stats::Spread;

/// Names the columns.
pub fn header() {
    println!(
        "\n{:<17} {:<9} {:>27} {:>24} {:>5} {:>7} {:>6}  verdict",
        "case", "side", "rate", "cpu ns/message", "busy", "overrun", "loss"
    );
}

impl Report {
    /// Shows and keeps what the balancer's program costs.
    pub fn cost(&mut self, case: Cost) {
        let show = |what: &str, ns: Spread, verdict: String| {
            println!(
                "{:<17} {what:<13} {:>6.1} ns ({:.1}-{:.1}) a run  {verdict}",
                case.name, ns.median, ns.min, ns.max,
            );
        };
        show("bare redirect", case.redirect_ns, String::new());
        for MessageResult { message, ns } in &case.messages {
            let verdict = message
                .target_ns
                .map(|target| format!("{} (<= {target})", self.judge(ns.median <= target)));
            show(message.name, *ns, verdict.unwrap_or_default());
        }
        self.kernel_path().cost.push(case);
    }

    /// Shows and keeps what forwarding costs.
    pub fn forwarding(&mut self, case: CaseResult) {
        for side in &case.sides {
            let verdicts = match side.side {
                Side::Kernel => self.judge_forwarding(&case, side),
                _ => Vec::new(),
            };
            line(case.name, side, &verdicts.join("; "));
        }
        self.kernel_path().forwarding.push(case);
    }

    fn judge_forwarding(&mut self, case: &CaseResult, ours: &SideResult) -> Vec<String> {
        let side = |wanted| case.sides.iter().find(|side| side.side == wanted);
        let peers = case.sides.iter().filter(|side| matches!(side.side, Side::Peer(_)));
        let best = peers.min_by(|a, b| a.cost_ns.median.total_cmp(&b.cost_ns.median));
        let others = [
            (side(Side::Bare), Some(case.of_bare)),
            (side(Side::Userspace), case.of_userspace),
            (best, Some(case.of_peer)),
        ];
        let others = others.into_iter().filter_map(|(other, target)| other.zip(target));
        others.map(|(other, target)| self.compare_with(ours, other, target)).collect()
    }

    /// Shows and keeps how long messages are on their way.
    pub fn latency(&mut self, case: latency::CaseResult) {
        let sides = case.sides();
        let [(_, [_, forward, _]), (_, [_, ours, _])] = sides;
        let ratio = ours.median / forward.median.max(1.0);
        let verdict = self.judge(ratio <= latency::OF_FORWARD);
        let verdict = format!("{verdict} p99 {ratio:.2} of forward (<= {})", latency::OF_FORWARD);
        for ((side, [p50, p99, p999]), verdict) in sides.into_iter().zip(["", &verdict]) {
            println!(
                "{:<17} {side:<9} {:>9.0}/s  p50 {:>4.0} us  p99 {:>4.0} us ({:.0}-{:.0})  p99.9 {:>4.0} \
                 us  {verdict}",
                latency::NAME,
                case.rate,
                p50.median,
                p99.median,
                p99.min,
                p99.max,
                p999.median,
            );
        }
        self.kernel_path().latency = Some(case);
    }

    /// Shows and keeps what an exporter on this host can send.
    pub fn local(&mut self, case: local::CaseResult) {
        let [(_, direct_rate, direct_ns), (_, rate, ns)] = case.sides();
        let (by_cost, by_rate) = (direct_ns.median / ns.median, rate.median / direct_rate.median);
        let verdict = self.judge(by_cost >= case.of_direct);
        let target = case.of_direct;
        let verdict =
            format!("{verdict} {by_cost:.2} of direct (>= {target}), by rate {by_rate:.2}");
        for ((side, rate, ns), verdict) in case.sides().into_iter().zip(["", &verdict]) {
            println!("{} {verdict}", figures(case.name, side, rate, ns));
        }
        self.kernel_path().local.push(case);
    }

    /// Of what takes half the time, twice as much goes through the same CPU.
    fn compare_with(&mut self, ours: &SideResult, theirs: &SideResult, target: f64) -> String {
        let name = theirs.side.name();
        let ratio = theirs.cost_ns.median / ours.cost_ns.median;
        let rate = ours.rate.median / theirs.rate.median;
        let verdict = self.judge(ratio >= target);
        format!("{verdict} {ratio:.2} of {name} (>= {target}), by rate {rate:.2}")
    }
}

fn line(case: &str, side: &SideResult, verdict: &str) {
    println!(
        "{} {:>4.0}% {:>6.1}% {:>5.1}%  {verdict}",
        figures(case, side.side.name(), side.rate, side.cost_ns),
        side.median(|run| run.busy) * 100.0,
        side.median(|run| run.overrun) * 100.0,
        side.median(|run| run.loss) * 100.0,
    );
}

fn figures(case: &str, side: &str, rate: Spread, ns: Spread) -> String {
    format!(
        "{case:<17} {side:<9} {:>9.0} ({:>7.0}-{:>7.0}) {:>7.0} ({:>6.0}-{:>6.0})",
        rate.median, rate.min, rate.max, ns.median, ns.min, ns.max,
    )
}
