//! Exporters on the balancer's host: their packets go by `lo`, with checksums that nobody has
//! completed.

use anyhow::Result;
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::net::{V4, V6};

use crate::scene::{MODES, Scene, collectors, every_case, required};

const MESSAGES: usize = 200;

/// Collectors on the balancer's host, at the address that the exporter sends to and at loopback's.
fn neighbours(lab: &Lab, family: Family) -> Result<Vec<Collector>> {
    let loopback = if family == Family::V4 { V4 } else { V6 };
    let start = |ip| lab.balancer().run(|| Collector::start(Udp, ip));
    [lab.balancer_ip(family), loopback].into_iter().map(start).collect()
}

fn forwards(lab: &Lab, mode: Mode, family: Family, to: Vec<Collector>) -> Result<()> {
    let scene = Scene::configured(lab, mode, family, to, required)?;
    let mut flows = Flows::new(7);
    let mut stream = scene.stream_from(lab.balancer())?;
    stream.begin(&mut flows)?;
    stream.data((0..MESSAGES).map(|index| flows.data(1 + index * 7 % 31)))?;
    scene.judge(&[&stream], MESSAGES)
}

/// Both modes and families, to the collectors that `to` starts.
fn forwards_everything(lab: &Lab, to: impl Fn(Family) -> Result<Vec<Collector>>) -> Result<()> {
    every_case(|mode, family| forwards(lab, mode, family, to(family)?))
}

#[test]
fn to_collectors_on_the_same_host() {
    if available() {
        let lab = Lab::new(0).unwrap();
        forwards_everything(&lab, |family| neighbours(&lab, family)).unwrap();
    }
}

#[test]
fn to_collectors_on_other_hosts() {
    if available() {
        let lab = Lab::new(2).unwrap();
        let [a, b] = [0, 1].map(|index| lab.collector(index).unwrap());
        forwards_everything(&lab, |family| collectors(&[a, b, a], family)).unwrap();
    }
}

#[test]
fn to_collectors_here_and_there() {
    if available() {
        let lab = Lab::new(1).unwrap();
        let site = lab.collector(0).unwrap();
        // A local one in the middle, and one at the end, where the original goes to.
        forwards_everything(&lab, |family| {
            let mut all = neighbours(&lab, family)?;
            all.splice(1..1, collectors(&[site], family)?);
            Ok(all)
        })
        .unwrap();
    }
}

/// Several messages in one packet are the daemon's to take apart.
#[test]
fn segments_of_one_send_go_up_and_arrive() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for mode in MODES {
        let mut scene = Scene::new(&lab, mode, Family::V4).unwrap();
        scene.window = 40;
        let mut flows = Flows::new(7);
        let mut stream = scene.stream_from(lab.balancer()).unwrap();
        stream.begin(&mut flows).unwrap();
        for _ in 0..30 {
            let segments: Vec<_> = (0..4).map(|_| flows.data(3)).collect();
            stream.exporter.send_segments(&segments).unwrap();
            segments.into_iter().try_for_each(|message| stream.note_data(message)).unwrap();
            // Others follow at once: they must not get ahead.
            stream.data((0..6).map(|index| flows.data(1 + index % 3))).unwrap();
        }
        assert_eq!(scene.status().unwrap().passed_up("gso"), 30 * 4, "{}", scene.describe());
        // And then it is the kernel's again.
        stream.settle(|| flows.data(3)).unwrap();
        scene.judge(&[&stream], 1).unwrap();
    }
}
