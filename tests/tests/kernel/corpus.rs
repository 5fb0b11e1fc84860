//! The corpus through the kernel path, and through userspace: collectors get the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::{Collector, total};
use ipfix_balancer_tests::corpus::{self, File};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Exporter;
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::{decode, poll};

use crate::scene::{Scene, collectors};

/// Nothing more arrives of a file.
const QUIET: Duration = Duration::from_millis(60);

/// What each session of each collector brought.
type Arrived = Vec<Vec<Vec<Vec<u8>>>>;

/// Sends every file in a session of its own. Gives what arrived, and how many messages were
/// forwarded.
fn replay(lab: &Lab, mode: Mode, family: Family, accel: &'static str) -> Result<(Arrived, u64)> {
    let sites: Vec<_> = lab.collectors().iter().collect();
    let scene = Scene::configured(lab, mode, family, collectors(&sites, family)?, |receiver| {
        receiver.set("ACCEL", accel)
    })?;
    let mut exporters: Vec<Exporter> = Vec::new();
    for file in corpus::valid()? {
        let mut exporter = lab.exporter().run(|| scene.setup.exporter())?;
        exporter.send_all(&file.messages)?;
        exporters.push(exporter);
        poll::settled(QUIET, || total(&scene.setup.collectors))?;
    }
    let sessions = |collector: &Collector| {
        collector.sessions().into_iter().map(|session| session.messages).collect()
    };
    let arrived = scene.setup.collectors.iter().map(sessions).collect();
    Ok((arrived, scene.status()?.kernel_messages()))
}

fn same_on_both_paths(mode: Mode, family: Family) -> Result<()> {
    if !available() {
        return Ok(());
    }
    let lab = Lab::new(3)?;
    let (kernel, forwarded) = replay(&lab, mode, family, "require")?;
    let (userspace, none) = replay(&lab, mode, family, "off")?;
    ensure!(none == 0, "{none} forwarded with ACCEL=off");
    let turns =
        |file: &File| decode::turns(&file.messages).into_iter().filter(|turn| *turn).count();
    let flows: usize = corpus::valid()?.iter().map(turns).sum();
    ensure!(forwarded > u64::try_from(flows / 2)?, "{forwarded} forwarded of {flows}");
    for (kernel, userspace) in kernel.iter().zip(&userspace) {
        ensure!(kernel.len() == userspace.len(), "{} and {}", kernel.len(), userspace.len());
        let differs = kernel.iter().zip(userspace).position(|(one, other)| one != other);
        ensure!(differs.is_none(), "session {differs:?} is not the same");
    }
    Ok(())
}

#[test]
fn round_robin_ipv4() {
    same_on_both_paths(Mode::RoundRobin, Family::V4).unwrap();
}

#[test]
fn all_ipv6() {
    same_on_both_paths(Mode::All, Family::V6).unwrap();
}
