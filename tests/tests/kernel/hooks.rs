//! Interfaces without XDP: the program is at TC there.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, Shape, Site, available};

use crate::scene::{CROSSED, Case, MODES, PAIRS, Scene, cases, every_case};

const MESSAGES: usize = 200;

/// A lab whose exporter sends by an interface that XDP refuses for the frames it may get.
fn lab(collectors: usize) -> Result<Lab> {
    let lab = Lab::new(collectors)?;
    lab.exporter().set_mtu(9000)?;
    Ok(lab)
}

/// The program is at TC, and forwards all of a session's flow data.
fn forwards(lab: &Lab, mode: Mode, family: Family, sites: &[&Site]) -> Result<()> {
    let scene = Scene::at(lab, mode, family, sites)?;
    let hooks = scene.status()?.path_reason();
    ensure!(hooks.contains("tc on "), "{hooks}");
    let mut flows = Flows::new(7);
    let mut stream = scene.stream()?;
    stream.begin(&mut flows)?;
    stream.data((0..MESSAGES).map(|index| flows.data(1 + index * 7 % 31)))?;
    scene.judge(&[&stream], MESSAGES)
}

fn forwards_everything(lab: &Lab, sites: &[&Site]) -> Result<()> {
    every_case(|mode, family| forwards(lab, mode, family, sites))
}

fn forwards_some(lab: &Lab, some: [Case; 2], sites: &[&Site]) -> Result<()> {
    cases(some, |mode, family| forwards(lab, mode, family, sites))
}

#[test]
fn tc_takes_jumbo_frames_to_one_and_three_destinations() {
    if available() {
        let lab = lab(3).unwrap();
        forwards_some(&lab, PAIRS, &[lab.collector(0).unwrap()]).unwrap();
        forwards_everything(&lab, &lab.collectors().iter().collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn tc_to_destinations_behind_one_interface_and_others() {
    if available() {
        let lab = lab(2).unwrap();
        let [a, b] = [0, 1].map(|index| lab.collector(index).unwrap());
        forwards_some(&lab, CROSSED, &[a, a, b, a, b, lab.exporter()]).unwrap();
    }
}

/// A collector's interface takes no redirected frames: TC forwards, and log and `status` say so.
fn no_redirected_frames() -> Result<()> {
    let lab = Shape::new(2).no_receive_offload().build()?;
    forwards_everything(&lab, &lab.collectors().iter().collect::<Vec<_>>())?;
    let scene = Scene::new(&lab, Mode::RoundRobin, Family::V4)?;
    let said = ["at TC instead of XDP", "col0"];
    scene.setup.daemon.wait_for_log(&[&["10.77.1.2"], &said[..]].concat())?;
    let reason = scene.status()?.path_reason();
    ensure!(said.iter().all(|part| reason.contains(part)), "{reason}");
    Ok(())
}

#[test]
fn tc_where_a_driver_takes_no_redirected_frames() {
    if available() {
        no_redirected_frames().unwrap();
    }
}

/// Messages of up to 9,000 octets, which do not come in one piece of memory.
#[test]
fn tc_forwards_long_messages() {
    if !available() {
        return;
    }
    let lab = Shape::new(2).mtu(9000).build().unwrap();
    for mode in MODES {
        let mut scene = Scene::new(&lab, mode, Family::V4).unwrap();
        scene.window = 20;
        let mut flows = Flows::new(7);
        let mut stream = scene.stream().unwrap();
        stream.begin(&mut flows).unwrap();
        stream.data((0..MESSAGES).map(|index| flows.data(1 + index * 17 % 198))).unwrap();
        scene.judge(&[&stream], MESSAGES).unwrap();
    }
}

/// GRO would join what comes in together before the program sees it.
#[test]
fn tc_forwards_where_the_interface_joins_packets() {
    if !available() {
        return;
    }
    let lab = lab(2).unwrap();
    lab.exporter().peer.feature("gro", true).unwrap();
    for mode in MODES {
        let scene = Scene::new(&lab, mode, Family::V4).unwrap();
        let mut flows = Flows::new(7);
        let mut stream = scene.stream().unwrap();
        stream.begin(&mut flows).unwrap();
        // Of one size: the only ones that are joined.
        stream.data((0..MESSAGES).map(|_| flows.data(3))).unwrap();
        scene.judge(&[&stream], MESSAGES).unwrap();
    }
}

/// The exporter's interface is a port of a bridge, which has the address.
#[test]
fn tc_on_a_bridge() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    bridge(&lab).unwrap();
    forwards_some(&lab, PAIRS, &lab.collectors().iter().collect::<Vec<_>>()).unwrap();
}

fn bridge(lab: &Lab) -> Result<()> {
    let (namespace, port) = (lab.balancer(), &lab.exporter().peer);
    namespace.ip(&format!("addr flush dev {}", port.name()))?;
    namespace.ip("link add bridge type bridge")?;
    namespace.ip(&format!("link set dev {} master bridge", port.name()))?;
    namespace.ip("link set dev bridge up")?;
    namespace.ip(&format!("address add {}/24 dev bridge", port.ip(Family::V4)))?;
    namespace.ip(&format!("address add {}/64 dev bridge", port.ip(Family::V6)))?;
    // The address has moved to another Ethernet address.
    lab.exporter().interface.flush_neighbours()
}
