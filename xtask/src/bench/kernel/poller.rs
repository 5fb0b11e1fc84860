//! Threads that do what else would be done in interrupts, so that their time can be read.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use ipfix_balancer_tests::lab::Interface;
use nix::unistd::Pid;

use crate::bench::sys;
use crate::process::{pin, silent, wait_until};

/// How long the kernel may take to start one.
const LIMIT: Duration = Duration::from_secs(5);
/// Real-time priority of what takes packets in: as an interrupt, it goes before other programs.
pub const PRIORITY: i32 = 2;

/// The thread that handles what comes in by an interface, and runs its program (threaded NAPI).
#[derive(Debug)]
pub struct Poller {
    id: u32,
}

impl Poller {
    /// Gives the interface one, on these CPUs. It is there for as long as the interface, which must
    /// have GRO: else it has nothing to be polled while it has no program.
    pub fn start(interface: &Interface, cpus: &[usize], priority: i32) -> Result<Self> {
        interface.feature("gro", true)?;
        let name = interface.name();
        let before = pollers(name)?;
        let switch = format!("echo 1 > /sys/class/net/{name}/threaded");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", interface.namespace().name(), "sh", "-c", &switch]);
        let done = silent(&mut command)?;
        anyhow::ensure!(done.success(), "{name}: no threaded NAPI (Linux 5.12)");
        let id = wait_until("an interface has its thread", LIMIT, || {
            Ok(pollers(name)?.difference(&before).next().copied())
        })?;
        pin(Pid::from_raw(i32::try_from(id)?), cpus)?;
        sys::go_first(id, priority)?;
        Ok(Self { id })
    }

    /// CPU time so far.
    pub fn time(&self) -> Result<Duration> {
        run_time(&format!("/proc/{}/schedstat", self.id))
    }
}

/// The calling thread goes before everything that is measured, while this lives: it does little, but at
/// the right time.
pub struct Urgent(());

impl Urgent {
    /// Begins.
    pub fn new() -> Result<Self> {
        sys::go_first(0, PRIORITY + 1)?;
        Ok(Self(()))
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        if let Err(error) = sys::go_first(0, 0) {
            eprintln!("a priority stays: {error}");
        }
    }
}

/// CPU time of a process so far, with all its threads.
pub fn time_of(process: u32) -> Result<Duration> {
    threads(process)?.iter().map(|thread| run_time(&format!("/proc/{thread}/schedstat"))).sum()
}

/// Gives a process the priority of a poller: the two share a CPU.
pub fn equal(process: u32) -> Result<()> {
    threads(process)?.into_iter().try_for_each(|thread| Ok(sys::go_first(thread, PRIORITY)?))
}

fn threads(process: u32) -> Result<Vec<u32>> {
    let entries = fs::read_dir(format!("/proc/{process}/task"))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// In nanoseconds, where `stat` has hundredths of a second.
fn run_time(path: &str) -> Result<Duration> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let first = text.split_whitespace().next().context("no time")?;
    Ok(Duration::from_nanos(first.parse()?))
}

/// All threads, of this machine, for interfaces of this name.
fn pollers(interface: &str) -> Result<BTreeSet<u32>> {
    let prefix = format!("napi/{interface}-");
    let ids =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_name = |id: &u32| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.starts_with(&prefix))
    };
    Ok(ids.filter(has_name).collect())
}
