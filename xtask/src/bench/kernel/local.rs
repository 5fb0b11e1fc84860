//! An exporter on the balancer's host: what it can send to the balancer, by `lo`, against what it can
//! send straight to the collector.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::case::{Case, Side};
use super::poller::{self, Urgent};
use super::programs::Object;
use super::scene::Scene;
use super::sender::Sender;
use super::stand::Stand;
use crate::bench::case::Route;
use crate::bench::message::Sizes;
use crate::bench::page::Phase;
use crate::bench::rig::{Load, Rig, pause};
use crate::bench::side::Side as RigSide;
use crate::bench::stats::Spread;
use crate::bench::{Mode, Plan, Protocol};
use crate::process::{Placement, wait_until};

/// How long anything of it may take.
const LIMIT: Duration = Duration::from_secs(20);
/// The daemon has done nothing for so long: its time is counted in hundredths of a second.
const SETTLED: Duration = Duration::from_millis(200);
/// Share of the messages that the kernel path must have forwarded, for a run to say anything.
pub const FORWARDED: f64 = 0.95;

/// Where the collectors are, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    pub name: &'static str,
    /// On this host too, rather than behind an interface.
    near: bool,
    destinations: u16,
    /// Least ratio to sending straight to the collector.
    pub of_direct: f64,
}

/// The cases.
pub const LOCALS: [Local; 3] = [
    Local { name: "kernel-lo-out", near: false, destinations: 2, of_direct: 1.0 },
    Local { name: "kernel-lo-1", near: true, destinations: 1, of_direct: 1.0 },
    Local { name: "kernel-lo-2", near: true, destinations: 2, of_direct: 1.0 },
];

/// One run: messages per second at the collectors, and CPU time for each, of all who had to do with
/// it, in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    pub rate: f64,
    pub cost_ns: f64,
}

/// The runs of both sides.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub of_direct: f64,
    pub direct: Vec<Run>,
    pub balancer: Vec<Run>,
}

impl CaseResult {
    /// Rate and cost of each side.
    pub fn sides(&self) -> [(&'static str, Spread, Spread); 2] {
        [("direct", &self.direct), ("balancer", &self.balancer)].map(|(name, runs)| {
            let rate = Spread::of(runs.iter().map(|run| run.rate));
            (name, rate, Spread::of(runs.iter().map(|run| run.cost_ns)))
        })
    }
}

/// Measures the sides in turns.
pub fn measure(plan: &Plan, scene: &Scene, object: &Object, case: &Local) -> Result<CaseResult> {
    let Local { name, of_direct, .. } = *case;
    let mut result = CaseResult { name, of_direct, direct: Vec::new(), balancer: Vec::new() };
    let run = |balancer| match case.near {
        true => near(plan, scene, case, balancer),
        false => out(plan, scene, object, case, balancer),
    };
    for _ in 0..plan.runs {
        result.direct.push(run(false)?);
        result.balancer.push(run(true)?);
    }
    Ok(result)
}

/// Collectors on this host: sockets.
fn near(plan: &Plan, scene: &Scene, case: &Local, balancer: bool) -> Result<Run> {
    let plan = plan.inside(scene.network());
    let route = Route {
        sizes: Sizes::Varied,
        destinations: case.destinations.into(),
        kernel: true,
        ..Route::base(Protocol::Udp, Protocol::Udp, Mode::RoundRobin)
    };
    let side = if balancer { RigSide::Balancer } else { RigSide::Direct };
    let rig = Rig::start(&plan, &side, &route, Load { rate: 0, times: false })?;
    rig.set_phase(Phase::Run);
    pause(plan.warm_up)?;
    settle(&rig)?;
    let start = rig.snapshot()?;
    pause(plan.window)?;
    let end = rig.snapshot()?;
    let daemon = end.measured_cpu.saturating_sub(start.measured_cpu);
    let seconds = (end.time - start.time).as_secs_f64();
    let busy = daemon.as_secs_f64() / seconds;
    ensure!(busy < 1.0 - FORWARDED, "the daemon was busy for {busy:.2} of the time");
    let received = float(end.received - start.received).max(1.0);
    let cpu = end.rig_cpu.saturating_sub(start.rig_cpu).as_secs_f64();
    Ok(Run { rate: received / seconds, cost_ns: cpu * 1e9 / received })
}

/// Waits until the kernel path has the session: an exporter that begins at full speed sends more than
/// the daemon can take, which has to catch up first.
fn settle(rig: &Rig) -> Result<()> {
    let mut last = rig.snapshot()?;
    wait_until("the kernel path has the session", LIMIT, || {
        pause(SETTLED)?;
        let now = rig.snapshot()?;
        let idle = now.measured_cpu == std::mem::replace(&mut last, now).measured_cpu;
        Ok(idle.then_some(()))
    })
}

/// A collector behind an interface.
fn out(plan: &Plan, scene: &Scene, object: &Object, case: &Local, balancer: bool) -> Result<Run> {
    let forwarding = Case {
        name: case.name,
        mode: Mode::RoundRobin,
        destinations: case.destinations,
        sizes: Sizes::Varied,
        of_bare: 0.0,
        of_userspace: None,
        of_peer: 0.0,
    };
    let stand = match balancer {
        true => Some(scene.stand(plan, object, &forwarding, &Side::Kernel)?),
        false => None,
    };
    let target = match &stand {
        Some(stand) => stand.session.receiver,
        None => scene.destination()?,
    };
    let placement = Placement { network: Some(scene.network()), ..plan.measured.clone() };
    let sender = Sender::start(plan, scene, &placement, target, 0)?;
    poller::equal(sender.id())?;
    sender.set_phase(Phase::Run);
    let _urgent = Urgent::new()?;
    pause(plan.warm_up)?;
    let start = read(scene, stand.as_ref(), &sender)?;
    pause(plan.window)?;
    let end = read(scene, stand.as_ref(), &sender)?;
    let delivered = float(end.delivered - start.delivered).max(1.0);
    if stand.is_some() {
        let forwarded = float(end.forwarded - start.forwarded) / delivered;
        ensure!(forwarded > FORWARDED, "{forwarded:.2} of it went through the kernel path");
    }
    let seconds = (end.time - start.time).as_secs_f64();
    let cpu = end.cpu.saturating_sub(start.cpu).as_secs_f64();
    Ok(Run { rate: delivered / seconds, cost_ns: cpu * 1e9 / delivered })
}

struct Reading {
    time: Instant,
    delivered: u64,
    forwarded: u64,
    cpu: Duration,
}

fn read(scene: &Scene, stand: Option<&Stand>, sender: &Sender) -> Result<Reading> {
    let (forwarded, daemon) = match stand {
        Some(stand) => (stand.forwarded()?, stand.daemon_time()?),
        None => (0, Duration::ZERO),
    };
    let cpu = poller::time_of(sender.id())? + daemon;
    Ok(Reading { time: Instant::now(), delivered: scene.delivered()?, forwarded, cpu })
}

/// Counts of a run are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}
