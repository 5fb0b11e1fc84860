//! The lines of the table, with their verdicts.

use super::case::ADDED_P99_US;
use super::half::Half;

use super::report::{Report, Verdict};
use super::side::Side;
use super::stream::Account;
use super::throughput::{CaseResult, SideResult};
use super::{Plan, memory, stream};

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
         loss-free: highest rate with < 0.1 % loss; half: at half of that, or of the rate, or of what the load \
         can do\n"
    );
    println!(
        "{:<18} {:<9} {:>27} {:>20} {:>7} {:>9} {:>8}  verdict",
        "case", "side", "rate", "cpu us/message", "loss", "loss-free", "RSS MiB"
    );
}

impl Report {
    /// Shows and keeps a throughput case.
    pub fn throughput(&mut self, case: CaseResult) {
        for side in &case.sides {
            let mut remarks = remarks(side);
            if side.side == Side::Balancer {
                remarks.splice(0..0, self.judge_rates(&case, side));
            }
            println!("{}  {}", figures(case.name, side), remarks.join("; "));
        }
        show_left_out(case.name, &case.left_out);
        for side in &case.sides {
            if let Some(half) = &side.half {
                let verdict = self.judge_half(&side.side, half);
                println!("{}", half_load(case.name, &side.side, half, &verdict));
            }
        }
        self.keep(case);
    }

    /// Against the relay, and against the best peer.
    fn judge_rates(&mut self, case: &CaseResult, ours: &SideResult) -> Vec<String> {
        let mut verdicts = Vec::new();
        if let Some(relay) = case.sides.iter().find(|side| side.side == Side::Relay) {
            verdicts.push(self.compare_rates(ours, relay, case.of_relay));
        }
        let peers = || case.sides.iter().filter(|side| matches!(side.side, Side::Peer(_)));
        let by_rate = |a: &&SideResult, b: &&SideResult| a.rate.median.total_cmp(&b.rate.median);
        if let Some(best) = peers().max_by(by_rate) {
            verdicts.push(self.compare_rates(ours, best, case.of_peer));
        } else if case.of_peer.is_some() {
            verdicts.push(format!("{} no peer", self.verdict(&Verdict::NotQuoted)));
        }
        let by_cpu = |a: &&SideResult, b: &&SideResult| a.cpu_us.median.total_cmp(&b.cpu_us.median);
        if let Some(least) = peers().min_by(by_cpu) {
            let ratio = ours.cpu_us.median / least.cpu_us.median;
            let verdict = case.of_peer.map(|_| format!("{} ", self.judge(ratio < 1.0)));
            let name = least.side.name();
            verdicts.push(format!("{}cpu {ratio:.2} of {name}", verdict.unwrap_or_default()));
        }
        if case.lossless {
            verdicts.push(format!("{} without loss", self.judge(ours.lossless())));
        }
        verdicts
    }

    fn compare_rates(
        &mut self,
        ours: &SideResult,
        theirs: &SideResult,
        target: Option<f64>,
    ) -> String {
        let (ratio, name) = (ours.rate.median / theirs.rate.median, theirs.side.name());
        // Where the load holds the balancer back, its rate is a lower bound: that can show that the
        // target is reached, and nothing else. The other's must be its own.
        let limited = ours.load_limited() > 0;
        let bound = if limited { "at least " } else { "" };
        let mut text = match target {
            None => format!("rate {bound}{ratio:.2} of {name}"),
            Some(target) if theirs.load_limited() > 0 || (limited && ratio < target) => {
                let verdict = self.verdict(&Verdict::NotQuoted);
                format!("{verdict} rate {ratio:.2} of {name}, the load was the limit (>= {target})")
            }
            Some(target) => {
                let verdict = self.judge(ratio >= target);
                format!("{verdict} rate {bound}{ratio:.2} of {name} (>= {target})")
            }
        };
        if let (Some(ours), Some(theirs)) = (ours.loss_free, theirs.loss_free) {
            text += &format!(", loss-free {:.2}", ours / theirs.max(1.0));
        }
        text
    }

    fn judge_half(&mut self, side: &Side, half: &Half) -> String {
        let added = half.added_p99_us();
        if *side != Side::Balancer {
            return format!("adds {added:.0} us at p99");
        }
        let (time, loss) = (self.judge(added <= ADDED_P99_US), self.judge(half.loss <= 0.0));
        format!("{time} adds {added:.0} us at p99 (<= {ADDED_P99_US}); {loss} without loss")
    }

    /// Shows and keeps a memory case.
    pub fn memory(&mut self, case: memory::CaseResult) {
        let verdict = self.judge(case.most_mib < case.target_mib);
        println!(
            "{:<18} {:<9} {:.1} MiB resident, {:.1} MiB at most, with {} sessions  {verdict} (< {})",
            case.name, "balancer", case.now_mib, case.most_mib, case.sessions, case.target_mib,
        );
        self.keep_memory(case);
    }
}

impl Report {
    /// Shows and keeps what collectors got.
    pub fn stream(&mut self, case: stream::CaseResult) {
        for (side, account) in &case.sides {
            let verdict = match (side, account.is_clean()) {
                (Side::Balancer, clean) => self.judge(clean),
                (_, true) => "clean",
                (_, false) => "breaks the stream",
            };
            let Account { unknown, breaks, malformed, missing, surplus, messages } = account;
            println!(
                "{:<18} {:<9} {unknown} sets without template, {breaks} sequence breaks, {missing} \
                 records missing, {surplus} too many, {malformed} malformed; messages at the \
                 collectors: {messages:?}  {verdict}",
                case.name,
                side.name(),
            );
        }
        show_left_out(case.name, &case.left_out);
        self.keep_stream(case);
    }
}

fn show_left_out(case: &str, peers: &[(String, String)]) {
    for (name, why) in peers {
        println!("{case:<18} {name:<9} left out: {why}");
    }
}

fn figures(case: &str, side: &SideResult) -> String {
    format!(
        "{case:<18} {:<9} {:>9.0} ({:>7.0}-{:>7.0}) {:>6.3} ({:.3}-{:.3}) {:>6.2}% {:>9} {:>8.1}",
        side.side.name(),
        side.rate.median,
        side.rate.min,
        side.rate.max,
        side.cpu_us.median,
        side.cpu_us.min,
        side.cpu_us.max,
        side.loss().max(0.0) * 100.0,
        side.loss_free.map(|rate| format!("{rate:.0}")).unwrap_or_default(),
        side.resident_mib(),
    )
}

fn half_load(case: &str, side: &Side, half: &Half, verdict: &str) -> String {
    let disturbed = match half.disturbed {
        0 => String::new(),
        runs => format!("; others used the machine in {runs} runs"),
    };
    format!(
        "{case:<18} {:<9} half: {:>7.0}/s  p50 {:>5.0} us  p99 {:>5.0} us ({:.0}-{:.0})  p99.9 \
         {:>5.0} us  loss {:.3}%, {:.3}% at the sinks  {verdict}{disturbed}",
        side.name(),
        half.rate,
        half.p50_us.median,
        half.p99_us.median,
        half.p99_us.min,
        half.p99_us.max,
        half.p999_us.median,
        half.loss.max(0.0) * 100.0,
        half.sink_loss * 100.0,
    )
}

/// What has to be known to read a side's figures.
fn remarks(side: &SideResult) -> Vec<String> {
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
