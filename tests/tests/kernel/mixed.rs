//! Destinations of which the kernel path reaches some only: every turn of the others goes up.

use anyhow::Result;
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};

use crate::scene::{Scene, collectors, required};

const MESSAGES: usize = 400;

/// Collectors on other hosts, and one on the balancer's, which an exporter on another host does not
/// reach through a program.
fn partly_local(lab: &Lab, family: Family) -> Result<Vec<Collector>> {
    let sites: Vec<_> = lab.collectors().iter().collect();
    let mut all = collectors(&sites, family)?;
    let ip = lab.balancer_ip(family);
    all.insert(1, lab.balancer().run(|| Collector::start(Udp, ip))?);
    Ok(all)
}

#[test]
fn turns_stay_exact_when_each_third_message_goes_up() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    // With many on their way the daemon hardly ever catches up.
    for (family, window, forwarded) in [(Family::V4, 4, 20), (Family::V6, 60, 1)] {
        let to = partly_local(&lab, family).unwrap();
        let mut scene = Scene::configured(&lab, Mode::RoundRobin, family, to, required).unwrap();
        scene.window = window;
        let mut flows = Flows::new(7);
        let mut stream = scene.stream().unwrap();
        stream.begin(&mut flows).unwrap();
        stream.data((0..MESSAGES).map(|index| flows.data(1 + index * 7 % 31))).unwrap();
        scene.judge(&[&stream], forwarded).unwrap();
        let status = scene.status().unwrap();
        assert!(status.passed_up("no_route") > 0);
        let hooks = status.path_reason();
        assert!(hooks.contains("xdp on "), "{hooks}");
    }
}

/// A copy that can't be made keeps all of them in userspace.
#[test]
fn all_copies_or_none() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    let to = partly_local(&lab, Family::V4).unwrap();
    let scene = Scene::configured(&lab, Mode::All, Family::V4, to, required).unwrap();
    let mut flows = Flows::new(7);
    let mut stream = scene.stream().unwrap();
    stream.common(flows.templates()).unwrap();
    scene.setup.wait_until_up().unwrap();
    stream.data((0..MESSAGES).map(|_| flows.data(3))).unwrap();
    scene.judge(&[&stream], 0).unwrap();
    assert_eq!(scene.status().unwrap().kernel_messages(), 0);
}
