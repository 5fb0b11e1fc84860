//! Messages longer than a way takes, among others that are forwarded.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};

use crate::scene::{CROSSED, PAIRS, Scene, cases};

const ROUNDS: usize = 20;

/// Every 20 messages one of `records` records, which leaves in two pieces. `reason` is why.
fn among_others(lab: &Lab, mode: Mode, family: Family, records: usize, reason: &str) -> Result<()> {
    let mut scene = Scene::new(lab, mode, family)?;
    scene.window = 12;
    let mut flows = Flows::new(7);
    let mut stream = scene.stream()?;
    stream.begin(&mut flows)?;
    for _ in 0..ROUNDS {
        stream.pieces(flows.data(records), 2)?;
        stream.data((0..20).map(|index| flows.data(1 + index % 5)))?;
    }
    scene.wait_for_arrival(0)?;
    let (up, rounds) = (scene.status()?.passed_up(reason), u64::try_from(ROUNDS)?);
    ensure!(up > 0 && up <= rounds, "{up} went up: {reason}\n{}", scene.describe());
    scene.judge(&[&stream], ROUNDS * 20 / 4)
}

#[test]
fn fragmented_by_the_exporter_and_split_for_the_collectors() {
    if !available() {
        return;
    }
    let lab = Lab::new(3).unwrap();
    cases(PAIRS, |mode, family| among_others(&lab, mode, family, 60, "fragment")).unwrap();
}

#[test]
fn longer_than_the_way_to_the_collectors_takes() {
    if !available() {
        return;
    }
    let lab = Lab::new(3).unwrap();
    for site in lab.collectors() {
        site.set_mtu(1300).unwrap();
    }
    cases(CROSSED, |mode, family| among_others(&lab, mode, family, 30, "mtu")).unwrap();
}

/// Long messages in one frame each: TC serves such an interface.
#[test]
fn jumbo_frames_are_split_for_the_collectors() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    lab.exporter().set_mtu(9000).unwrap();
    cases(PAIRS, |mode, family| among_others(&lab, mode, family, 60, "mtu")).unwrap();
}
