//! The kernel path: its programs against the least that a program can do, and against userspace.

mod case;
mod cost;
mod forwarding;
mod generator;
mod latency;
mod local;
mod poller;
mod programs;
mod scene;
mod sender;
mod show;
mod stand;

use anyhow::Result;
use nix::unistd::geteuid;
use serde::Serialize;

use self::case::{CASES, Case};
use self::local::{LOCALS, Local};
use self::programs::Object;
use self::scene::Scene;
use super::Plan;
use super::report::Report;
use crate::ebpf;

/// The case of the programs by themselves.
const COST: &str = "kernel-cost";

/// All figures of the kernel path.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    cost: Vec<cost::CaseResult>,
    forwarding: Vec<forwarding::CaseResult>,
    latency: Option<latency::CaseResult>,
    local: Vec<local::CaseResult>,
}

/// The cases that were asked for, and the programs for them.
pub struct Bench {
    cost: bool,
    forwarding: Vec<&'static Case>,
    latency: bool,
    local: Vec<&'static Local>,
    equipment: Object,
    own: Object,
}

impl Bench {
    /// Builds the programs. `None`: nothing of the kernel path was asked for, or can be measured.
    pub fn prepare(wanted: impl Fn(&str) -> bool) -> Result<Option<Self>> {
        let cost = wanted(COST);
        let forwarding: Vec<_> = CASES.iter().filter(|case| wanted(case.name)).collect();
        let latency = wanted(latency::NAME);
        let local: Vec<_> = LOCALS.iter().filter(|case| wanted(case.name)).collect();
        if !cost && forwarding.is_empty() && !latency && local.is_empty() {
            return Ok(None);
        }
        if !geteuid().is_root() {
            println!("the kernel path is left out: it can be measured by root alone");
            return Ok(None);
        }
        let [equipment, own] = ebpf::for_bench()?;
        let (equipment, own) = (Object::open(&equipment)?, Object::open(&own)?);
        Ok(Some(Self { cost, forwarding, latency, local, equipment, own }))
    }

    /// Measures.
    pub fn run(&self, plan: &Plan, report: &mut Report) -> Result<()> {
        if self.cost {
            report.cost(cost::measure(plan, COST, &self.equipment, &self.own)?);
        }
        if self.forwarding.is_empty() && !self.latency && self.local.is_empty() {
            return Ok(());
        }
        let scene = Scene::new(plan, &self.equipment)?;
        show::header();
        for case in &self.forwarding {
            report.forwarding(forwarding::measure(plan, &scene, &self.equipment, case)?);
        }
        if self.latency {
            report.latency(latency::measure(plan, &scene, &self.equipment)?);
        }
        for case in &self.local {
            report.local(local::measure(plan, &scene, &self.equipment, case)?);
        }
        Ok(())
    }
}
