//! A root whose systemd runs, as PID 1 of namespaces of its own.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::daemon::{Outcome, outcome};
use ipfix_balancer_tests::lab::Namespace;
use ipfix_balancer_tests::poll;

use super::root::Root;
use crate::process::family;
use crate::workspace::output;

/// What a systemd of few units may take to start.
const BOOT: Duration = Duration::from_secs(60);
const TRACING: &str = "/sys/kernel/tracing";

/// A running system; all of its processes end when it is dropped.
pub struct System {
    /// Its files.
    pub root: Root,
    starter: Child,
    group: String,
    _trace_points: TracePoints,
}

impl System {
    /// Starts the system that is in a root, in a network namespace.
    pub fn boot(root: Root, network: &Namespace) -> Result<Self> {
        let group = format!("ipfix-balancer-test-{}", std::process::id());
        let trace_points = TracePoints::look()?;
        let console = File::create(root.path().with_extension("console"))?;
        let mut command = Command::new("unshare");
        // Mounts stay in there.
        command.args(["--mount", "sh", "-c", include_str!("boot.sh"), "boot"]);
        command.arg(root.path()).arg(&group).stdin(Stdio::null());
        command.stdout(console.try_clone()?).stderr(console);
        let starter = network.run(|| command.spawn().context("cannot start unshare"))?;
        let system = Self { root, starter, group, _trace_points: trace_points };
        system.wait_until_up()?;
        Ok(system)
    }

    fn wait_until_up(&self) -> Result<()> {
        let up = || {
            let state = self.try_run(&["systemctl", "is-system-running"]).ok()?;
            ["running", "degraded"].contains(&state.stdout.trim()).then_some(())
        };
        poll::until(BOOT, "systemd is up", up).with_context(|| {
            fs::read_to_string(self.root.path().with_extension("console")).unwrap_or_default()
        })
    }

    /// The number that a process of this name has outside.
    pub fn process(&self, name: &str) -> Result<u32> {
        let is_it = |id: &u32| {
            let comm = fs::read_to_string(format!("/proc/{id}/comm"));
            comm.is_ok_and(|comm| comm.trim_end() == name)
        };
        let found = family(self.starter.id())?.into_iter().find(is_it);
        found.with_context(|| format!("there is no process {name}"))
    }

    /// Runs a command in it.
    pub fn try_run(&self, words: &[&str]) -> Result<Outcome> {
        let family = family(self.starter.id())?;
        let init = family.get(1).context("systemd does not run")?;
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &init.to_string()]).args(words);
        outcome(&mut command)
    }

    /// Runs a command in it, which has to succeed; what it printed.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let outcome = self.try_run(words)?;
        let Outcome { code, stdout, stderr } = &outcome;
        ensure!(*code == 0, "{words:?}: {code}\n{stdout}{stderr}\n{}", self.journal()?);
        Ok(outcome.stdout)
    }

    /// The journal.
    pub fn journal(&self) -> Result<String> {
        Ok(self.try_run(&["journalctl", "--no-pager"])?.stdout)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // With `unshare` its child is killed, and with PID 1 everything in the namespace.
        drop(self.starter.kill());
        drop(self.starter.wait());
        if let Err(error) = remove_groups(&self.group) {
            eprintln!("the control groups of {} stay: {error:#}", self.group);
        }
    }
}

/// Takes the control groups away, which is possible once the last process in them has ended.
fn remove_groups(group: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script =
        "mount -t cgroup2 cgroup2 \"$1\" && find \"$1/$2\" -depth -type d -exec rmdir {} +";
    let remove = |folder: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "remove"]).arg(folder).arg(group);
        output(&mut command)
    };
    poll::until_ok(|| remove(folder.path()).map(drop))
}

/// There is one trace file system for all, and the service's user is let in: afterwards it is closed
/// again.
struct TracePoints(Vec<(PathBuf, Metadata)>);

impl TracePoints {
    fn look() -> Result<Self> {
        let places =
            ["", "events/xdp/xdp_devmap_xmit/id"].map(|place| Path::new(TRACING).join(place));
        let there = places.into_iter().filter(|place| place.exists());
        Ok(Self(there.map(|place| Ok((place.clone(), place.metadata()?))).collect::<Result<_>>()?))
    }
}

impl Drop for TracePoints {
    fn drop(&mut self) {
        for (place, before) in &self.0 {
            let closed = chown(place, Some(before.uid()), Some(before.gid()))
                .and_then(|()| fs::set_permissions(place, before.permissions()));
            if let Err(error) = closed {
                eprintln!("{} stays open to the service's group: {error}", place.display());
            }
        }
    }
}
