//! Both modes and both families, to any number of destinations, at any place.

use anyhow::Result;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, Shape, Site, available};

use crate::scene::{CROSSED, Case, PAIRS, Scene, cases, every_case};

const MESSAGES: usize = 300;

/// A session to collectors at `sites`: all of its flow data is forwarded, nothing else happens.
fn forwards(lab: &Lab, mode: Mode, family: Family, sites: &[&Site]) -> Result<()> {
    let scene = Scene::at(lab, mode, family, sites)?;
    let mut flows = Flows::new(7);
    let mut stream = scene.stream()?;
    stream.begin(&mut flows)?;
    // Sizes from a tenth of a frame to nearly a whole one.
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
fn destinations_at_interfaces_of_their_own() {
    if available() {
        let lab = Lab::new(3).unwrap();
        let [a, b, c] = [0, 1, 2].map(|index| lab.collector(index).unwrap());
        forwards_everything(&lab, &[a, b, c]).unwrap();
        forwards_some(&lab, PAIRS, &[a, b]).unwrap();
    }
}

#[test]
fn one_destination() {
    if available() {
        let lab = Lab::new(1).unwrap();
        forwards_everything(&lab, &[lab.collector(0).unwrap()]).unwrap();
    }
}

#[test]
fn destinations_behind_a_router() {
    if available() {
        let lab = Shape::new(0).routed(3).build().unwrap();
        forwards_everything(&lab, &lab.collectors().iter().collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn destinations_behind_one_interface() {
    if available() {
        let lab = Lab::new(1).unwrap();
        let site = lab.collector(0).unwrap();
        forwards_some(&lab, CROSSED, &[site, site, site]).unwrap();
    }
}

#[test]
fn sixteen_destinations_behind_several_interfaces_and_a_router() {
    if available() {
        let lab = Shape::new(2).routed(2).build().unwrap();
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| lab.collector(index).unwrap());
        forwards_everything(&lab, &[a, b, a, c, a, d, b, c, a, a, d, d, b, a, c, b]).unwrap();
    }
}

/// The collector where the exporter is: packets leave by the interface that they came in by.
#[test]
fn destinations_behind_the_exporters_interface() {
    if available() {
        let lab = Lab::new(1).unwrap();
        let (near, far) = (lab.exporter(), lab.collector(0).unwrap());
        forwards_some(&lab, PAIRS, &[near, far, near]).unwrap();
    }
}
