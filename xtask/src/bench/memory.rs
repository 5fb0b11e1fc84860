//! The balancer's resident memory with many exporter sessions.

use anyhow::{Result, ensure};
use serde::Serialize;

use super::case::Memory;
use super::page::Phase;
use super::rig::{Load, Rig, pause};
use super::side::Side;
use super::{Plan, cpu};

/// Messages per second of all sessions together.
const RATE: u32 = 20_000;

/// Memory after every session has sent something, all of them still open.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub sessions: u32,
    pub target_mib: f64,
    pub now_mib: f64,
    pub most_mib: f64,
}

/// Opens the sessions, has each send something, and reads the figures.
pub fn measure(plan: &Plan, case: &Memory) -> Result<CaseResult> {
    let load = Load { rate: RATE, times: false };
    let rig = Rig::start(plan, &Side::Balancer, &case.route, load)?;
    rig.set_phase(Phase::Run);
    pause(plan.window)?;
    let id = rig.measured_id()?;
    let mib = |line| cpu::memory_kib(id, line).map(|kib| f64::from(kib) / 1024.0);
    let (now_mib, most_mib) = (mib("VmRSS")?, mib("VmHWM")?);
    let (sent, received) = rig.drain()?;
    ensure!(received > 0 && sent > case.route.exporters.into(), "the sessions sent nothing");
    let (target_mib, sessions) = (case.most_mib, case.route.exporters);
    Ok(CaseResult { name: case.name, sessions, target_mib, now_mib, most_mib })
}
