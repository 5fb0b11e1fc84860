//! Collectors that nothing is heard of any more, and no reset either: their host is gone, or the
//! way to it, or the way back.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

use super::scene::{Load, SLOW, arrive_at};

const A_WHILE: usize = 500;

/// What becomes of a collector's host, and how it comes back.
pub struct Fault {
    pub begin: fn(&Lab) -> Result<()>,
    end: fn(&Lab) -> Result<()>,
}

/// Nothing comes back from it, and no error from anywhere.
pub const HOST_GONE: Fault =
    Fault { begin: |lab| swallow(lab, "add"), end: |lab| swallow(lab, "del") };

fn swallow(lab: &Lab, change: &str) -> Result<()> {
    let site = &lab.collectors()[0];
    let balancer = site.peer.ip(Family::V4);
    site.namespace.ip(&format!("route {change} blackhole {balancer}/32")).map(drop)
}

/// The cable is out.
const LINK_DOWN: Fault = Fault {
    begin: |lab| lab.collectors()[0].interface.down(),
    end: |lab| lab.collectors()[0].interface.up(),
};

fn is_noticed(setup: &Setup) -> Result<()> {
    poll::until_ok(|| {
        let receiver = setup.daemon.status()?.receiver(&setup.receiver.name())?;
        let states: Vec<_> = receiver.destinations().iter().map(|one| one.state()).collect();
        ensure!(states == ["down", "up"], "{states:?}");
        Ok(())
    })
}

fn silent_under_load(fault: &Fault) -> Result<()> {
    let lab = Lab::new(2)?;
    let setup = Setup::in_lab(&lab, Mode::All, (Tcp, Tcp), Family::V4)?;
    let load = Load::start(lab.exporter().run(|| setup.tcp())?, SLOW);
    load.wait_for(A_WHILE)?;
    (fault.begin)(&lab)?;
    is_noticed(&setup)?;
    (fault.end)(&lab)?;
    load.wait_for(A_WHILE)?;
    let sent = load.finish()?;
    for collector in &setup.collectors {
        arrive_at(collector, &sent)?;
    }
    ensure!(setup.collectors[1].session_count() == 1, "the other one has noticed");
    ensure!(setup.dropped()? == 0, "some were dropped");
    Ok(())
}

#[test]
fn all_a_host_that_vanishes_under_load_is_noticed_and_gets_every_message() {
    if available() {
        silent_under_load(&HOST_GONE).unwrap();
    }
}

#[test]
fn all_a_cable_that_is_out_for_a_while_costs_no_message() {
    if available() {
        silent_under_load(&LINK_DOWN).unwrap();
    }
}

#[test]
fn a_host_that_vanishes_is_noticed_with_nothing_to_send() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    let setup = Setup::in_lab(&lab, Mode::All, (Tcp, Tcp), Family::V4).unwrap();
    let mut exporter = lab.exporter().run(|| setup.tcp()).unwrap();
    exporter.send(&Flows::new(1).templates()).unwrap();
    for collector in &setup.collectors {
        collector.wait_for(1).unwrap();
    }
    (HOST_GONE.begin)(&lab).unwrap();
    is_noticed(&setup).unwrap();
}
