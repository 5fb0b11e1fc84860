//! `ipfix-balancer doctor`: one look at everything that forwarding rests on, each with what to do.
//!
//! Every check is a function from what was found on the machine to [`Finding`]s, so that it can be
//! tested with a machine that is not there; [`examine`] looks at the real one. Nothing is changed.

mod check;
mod daemon;
mod disk;
mod machine;
mod network;

use std::{fmt, path::Path};

use serde::Serialize;

pub use check::Check;

use crate::{
    config::{Accel, Config, Receiver},
    daemon::{Reply, Request, Status, ask, is_fit},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could, or not for long.
    Warn,
    /// Messages are not received, not sent or not written because of it.
    Fail,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: Check,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; nothing where all is well.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: Check, found: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warn(check: Check, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        let advice = Some(advice.into());
        Finding { check, verdict: Verdict::Warn, found: found.into(), advice }
    }

    fn fail(check: Check, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fail, ..Finding::warn(check, found, advice) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        write!(f, "{verdict}  {}: {}", self.check, self.found)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "\n      {advice}"))
    }
}

/// How much the kernel path is wanted by a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// By no receiver: none forwards UDP to UDP, or ACCEL is off.
    None,
    /// Where it can be had.
    Wanted,
    /// A receiver does not start without it.
    Required,
}

impl Need {
    fn of(receivers: &[&Receiver]) -> Need {
        let fit = receivers.iter().filter(|receiver| is_fit(receiver));
        let needs = fit.map(|receiver| match receiver.accel {
            Accel::Require => Need::Required,
            Accel::Auto | Accel::Off => Need::Wanted,
        });
        needs.max().unwrap_or(Need::None)
    }

    /// Something that the kernel path can't do without is not there.
    fn unmet(self, check: Check, found: String, advice: &str) -> Finding {
        match self {
            Need::None => Finding::ok(check, found + "; no receiver needs it"),
            Need::Wanted => Finding::warn(check, found, advice),
            Need::Required => Finding::fail(check, found, advice),
        }
    }
}

/// Looks at the configuration, the running daemon and this machine.
pub fn examine(path: &Path) -> Vec<Finding> {
    let (config, mut findings) = configuration(path);
    let status = running(path);
    findings.extend(daemon::check(status.as_ref(), env!("CARGO_PKG_VERSION")));
    let receivers: Vec<&Receiver> = config
        .iter()
        .flat_map(|config| config.receivers.iter().chain(&config.launched))
        .map(AsRef::as_ref)
        .collect();
    let need = Need::of(&receivers);
    findings.extend(machine::look(&receivers, need, status.as_ref()));
    findings.extend(network::look(&receivers, need, status.is_some()));
    findings.extend(disk::look(&receivers));
    findings
}

fn configuration(path: &Path) -> (Option<Config>, Vec<Finding>) {
    const CHECK: Check = Check::Configuration;
    match Config::load(path) {
        Ok(checked) => {
            let found = format!("{}: {} receivers", path.display(), checked.config.receivers.len());
            let finding = match checked.config.receivers.is_empty() {
                true => Finding::fail(CHECK, found, "Add a receiver: see docs/configuration.md."),
                false => Finding::ok(CHECK, found),
            };
            (Some(checked.config), vec![finding])
        }
        Err(error) => {
            let advice = "`ipfix-balancer check` shows every fault; what rests on the configuration \
                          was not looked at.";
            (None, vec![Finding::fail(CHECK, error.to_string().trim_end(), advice)])
        }
    }
}

fn running(path: &Path) -> Option<Status> {
    match ask(path, Request::Status) {
        Ok(Reply::Status(status)) => Some(*status),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
