//! The configuration changes while no daemon runs.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::{Mode, Receiver};
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::net::{V4, free_address};

use super::scene::Scene;

/// The receiver has another port: what was left of the old one is closed.
fn the_port_changes() -> Result<()> {
    let mut scene = Scene::new(Mode::All, Tcp, Tcp)?;
    let Exporter::Tcp(mut exporter) = scene.exporter()? else { return Ok(()) };
    scene.daemon.manager()?.wait_until_kept(2)?;
    let moved = Receiver::new(Mode::All, Tcp, free_address(V4)?).to(&scene.collectors);
    scene.daemon.edit(&[moved])?;
    scene.daemon.replace()?;
    ensure!(exporter.is_closed_within(Duration::from_secs(10))?, "it was not closed");
    scene.daemon.manager()?.wait_until_kept(1)?;
    ensure!(scene.exporter().is_err(), "the old port is still served");
    Ok(())
}

#[test]
fn sockets_of_a_port_that_is_gone_are_closed() {
    the_port_changes().unwrap();
}

/// The receiver listens on all addresses now: the old socket is in the way of the new one.
fn the_address_changes() -> Result<()> {
    let mut scene = Scene::new(Mode::All, Tcp, Tcp)?;
    let port = scene.receiver.address().port();
    let mut exporter = scene.exporter()?;
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates(), flows.data(2)];
    exporter.send_all(&sent)?;
    scene.is_complete(&sent)?;
    let everywhere = ([0, 0, 0, 0], port).into();
    let wider = Receiver::new(Mode::All, Tcp, everywhere).to(&scene.collectors);
    scene.daemon.edit(&[wider])?;
    scene.daemon.replace()?;
    // The connection is one that the new receiver would have accepted.
    sent.push(flows.data(3));
    exporter.send(&sent[2])?;
    scene.is_complete(&sent)?;
    scene.exporter()?;
    scene.is_decodable()
}

#[test]
fn connections_stay_where_the_receiver_still_listens_for_them() {
    the_address_changes().unwrap();
}

/// Another destination takes the place of one, and the mode changes.
fn destinations_change(from: Mode, to: Mode) -> Result<()> {
    let mut scene = Scene::new(from, Tcp, Tcp)?;
    let mut exporter = scene.exporter()?;
    let mut flows = Flows::new(1);
    let first = vec![flows.templates(), flows.options_data(2), flows.data(2), flows.data(2)];
    exporter.send(&first[0])?;
    scene.wait_until_up()?;
    exporter.send_all(&first[1..])?;
    scene.is_complete(&first)?;
    scene.collectors[1] = Collector::start(Tcp, V4)?;
    scene.mode = to;
    let changed = Receiver::new(to, Tcp, scene.receiver.address()).to(&scene.collectors);
    scene.daemon.edit(&[changed])?;
    scene.daemon.replace()?;
    let second: Vec<_> = (0..10).map(|_| flows.data(3)).collect();
    exporter.send_all(&second)?;
    scene.nothing_is_missing(&[&first[..1], &second].concat())?;
    scene.is_decodable()
}

#[test]
fn destinations_and_mode_may_change() {
    destinations_change(Mode::All, Mode::All).unwrap();
    destinations_change(Mode::RoundRobin, Mode::RoundRobin).unwrap();
    destinations_change(Mode::RoundRobin, Mode::All).unwrap();
    destinations_change(Mode::All, Mode::RoundRobin).unwrap();
}

/// A faulty file: the daemon that is asked to restart goes on.
#[test]
fn a_faulty_configuration_keeps_the_daemon_from_restarting() {
    let scene = Scene::alone(Mode::All, Tcp, Tcp).unwrap();
    std::fs::write(scene.daemon.config(), "IPFIX_FULLFLOW_PORT=none\n").unwrap();
    let outcome = scene.daemon.command(&["restart"]).unwrap();
    assert_eq!(outcome.code, 2, "{outcome:?}");
    scene.daemon.status().unwrap();
}
