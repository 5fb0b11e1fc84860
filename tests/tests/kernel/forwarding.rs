//! Both modes and both families, to any number of destinations, at any place.

use anyhow::Result;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, Shape, Site, available};

use crate::scene::Scene;

const MESSAGES: usize = 300;
const MODES: [Mode; 2] = [Mode::RoundRobin, Mode::All];

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

/// Both modes, in both families, to collectors at `sites`.
fn forwards_everything(lab: &Lab, sites: &[&Site]) {
    for family in Family::BOTH {
        for mode in MODES {
            forwards(lab, mode, family, sites)
                .map_err(|error| error.context(format!("{mode}, {family:?}")))
                .unwrap();
        }
    }
}

/// As many destinations as these, each at an interface of its own.
fn direct(collectors: usize) {
    if available() {
        let lab = Lab::new(collectors).unwrap();
        forwards_everything(&lab, &lab.collectors().iter().collect::<Vec<_>>());
    }
}

#[test]
fn one_destination() {
    direct(1);
}

#[test]
fn two_destinations() {
    direct(2);
}

#[test]
fn three_destinations() {
    direct(3);
}

#[test]
fn destinations_behind_a_router() {
    if available() {
        let lab = Shape::new(0).routed(3).build().unwrap();
        forwards_everything(&lab, &lab.collectors().iter().collect::<Vec<_>>());
    }
}

#[test]
fn destinations_behind_one_interface() {
    if available() {
        let lab = Lab::new(1).unwrap();
        let site = lab.collector(0).unwrap();
        forwards_everything(&lab, &[site, site, site]);
    }
}

#[test]
fn sixteen_destinations_behind_several_interfaces_and_a_router() {
    if available() {
        let lab = Shape::new(2).routed(2).build().unwrap();
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| lab.collector(index).unwrap());
        forwards_everything(&lab, &[a, b, a, c, a, d, b, c, a, a, d, d, b, a, c, b]);
    }
}

/// The collector where the exporter is: packets leave by the interface that they came in by.
#[test]
fn destinations_behind_the_exporters_interface() {
    if available() {
        let lab = Lab::new(1).unwrap();
        forwards_everything(&lab, &[lab.exporter(), lab.collector(0).unwrap(), lab.exporter()]);
    }
}
