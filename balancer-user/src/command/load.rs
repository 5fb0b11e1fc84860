//! `ipfix-balancer load`: the kernel's part, without a daemon that stays.

use std::{fmt::Write, path::Path, process::ExitCode};

use super::{complain, fail, print};
use crate::{
    config::Config,
    daemon::{self, Request, ask},
    kernel::{self, Pinned},
    log,
};

pub fn load(config: &Path) -> ExitCode {
    if ask(config, Request::Status).is_ok() {
        complain(&"a daemon is running, which does this itself");
        return ExitCode::FAILURE;
    }
    log::start(log::Format::Console);
    match try_load(config) {
        Ok(report) => {
            print(&report);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn try_load(config: &Path) -> anyhow::Result<String> {
    let checked = Config::load(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcomes = runtime.block_on(daemon::load(config, &checked.config))?;
    let mut report = String::new();
    for (receiver, outcome) in outcomes {
        // Writing to a String does not fail.
        let _ = match outcome {
            Ok(reason) => writeln!(report, "{receiver}: kernel ({reason})"),
            Err(why) => writeln!(report, "{receiver}: userspace ({why})"),
        };
    }
    match kernel::pinned(config) {
        Some(pinned) => describe(&mut report, &pinned),
        None => report.push_str("nothing is in the kernel\n"),
    }
    Ok(report)
}

fn describe(report: &mut String, pinned: &Pinned) {
    let Pinned { directory, links, maps } = pinned;
    let _ = writeln!(report, "pins: {}", directory.display());
    for (link, program) in links {
        let _ = writeln!(report, "  links/{link}: {program}");
    }
    let _ = writeln!(report, "  maps: {}", maps.join(", "));
}
