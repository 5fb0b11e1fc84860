//! `ipfix-balancer doctor`.

use std::{path::Path, process::ExitCode};

use super::print;
use crate::doctor::{Finding, Verdict, examine};

pub fn doctor(config: &Path, json: bool) -> ExitCode {
    let findings = examine(config);
    match json {
        true => print(&(serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n")),
        false => print(&describe(&findings)),
    }
    match count(&findings, Verdict::Fail) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn describe(findings: &[Finding]) -> String {
    let mut lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    let (failed, warned) = (count(findings, Verdict::Fail), count(findings, Verdict::Warn));
    lines.push(format!("{failed} failed, {warned} with warnings, {} checks", findings.len()));
    lines.join("\n") + "\n"
}

fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}
