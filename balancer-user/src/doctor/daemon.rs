//! What the running daemon says of itself.

use common::reason::Reason;

use super::{Check, Finding};
use crate::{
    advice::advice,
    daemon::{DestinationStatus, ReceiverStatus, Status},
};

const DAEMON: Check = Check::Daemon;

/// Whether it runs, in this version, and what goes wrong in it.
pub fn check(status: Option<&Status>, version: &str) -> Vec<Finding> {
    let Some(status) = status else {
        let found =
            "no daemon runs with this configuration, or its control socket can't be reached";
        let advice = "`systemctl start ipfix-balancer`, or run doctor as the daemon's user.";
        return vec![Finding::warn(DAEMON, found, advice)];
    };
    let mut findings = vec![runs(status, version)];
    findings.extend(status.receivers.iter().flat_map(receiver));
    findings
}

fn runs(status: &Status, version: &str) -> Finding {
    let found = format!("version {}, pid {}", status.version, status.pid);
    match status.version == version {
        true => Finding::ok(DAEMON, found),
        false => {
            let advice = "Restart it: another version is installed than the one that runs.";
            Finding::warn(DAEMON, found, advice)
        }
    }
}

fn receiver(receiver: &ReceiverStatus) -> Vec<Finding> {
    let name = &receiver.name;
    let mut findings = drops(name, &receiver.dropped);
    if let Some(recording) = receiver.recording.as_ref().filter(|r| r.state == "failing") {
        let why = recording.last_error.as_deref().unwrap_or("no error was noted");
        let advice = "Make room, or set DUMP_KEEP_MB; recording goes on by itself.";
        findings.push(Finding::fail(Check::Recording, format!("{name}: {why}"), advice));
    }
    findings.extend(receiver.destinations.iter().flat_map(|d| destination(name, d)));
    findings
}

fn destination(receiver: &str, status: &DestinationStatus) -> Vec<Finding> {
    let place = format!("{receiver} {}/{}", status.address, status.protocol);
    let mut findings = drops(&place, &status.dropped);
    if matches!(status.state.as_str(), "down" | "partly") {
        let why = status.last_error.as_deref().unwrap_or("it can't be reached");
        let advice =
            "Start the collector, and look at firewalls on the way; it is tried again for ever.";
        findings.push(Finding::fail(Check::Destination, format!("{place}: {why}"), advice));
    }
    findings
}

fn drops(place: &str, dropped: &std::collections::BTreeMap<String, u64>) -> Vec<Finding> {
    let known = |(name, count): (&String, &u64)| {
        let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == name)?;
        let found = format!("{place}: {count} {name} since it was started. {}", reason.meaning());
        Some(Finding::warn(Check::Drops, found, advice(reason)))
    };
    dropped.iter().filter_map(known).collect()
}
