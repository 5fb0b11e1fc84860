//! The balancer's resident memory with many exporter sessions.

use anyhow::Result;
use serde::Serialize;

use super::case::Memory;
use super::page::Phase;
use super::rig::{Load, Rig, Side};
use super::{Plan, cpu};

/// Memory after every session has sent something, all of them still open.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub sessions: u32,
    pub target_mib: f64,
    pub now_mib: f64,
    pub most_mib: f64,
}

/// Opens the sessions and reads the figures.
pub fn measure(plan: &Plan, case: &Memory) -> Result<CaseResult> {
    let load = Load { rate: 0, sessions: case.sessions, times: false };
    let mut rig = Rig::start(plan, Side::Balancer, &case.route, load)?;
    rig.wait_for_sessions(case.route.copies())?;
    let id = rig.measured_id()?;
    let mib = |line| cpu::memory_kib(id, line).map(|kib| f64::from(kib) / 1024.0);
    let (now_mib, most_mib) = (mib("VmRSS")?, mib("VmHWM")?);
    rig.set_phase(Phase::Stop);
    let target_mib = case.most_mib;
    Ok(CaseResult { name: case.name, sessions: case.sessions, target_mib, now_mib, most_mib })
}
