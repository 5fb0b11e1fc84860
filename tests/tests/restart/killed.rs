//! `kill -9`: no connection breaks, and everything arrives at least once.

use anyhow::Result;
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::poll;

use super::scene::Scene;

const KILLS: usize = 5;

fn goes_on(mode: Mode, output: Protocol) -> Result<()> {
    let mut scene = Scene::new(mode, Tcp, output)?;
    let traffic = scene.traffic()?;
    for _ in 0..KILLS {
        scene.more_arrive(200)?;
        scene.daemon.kill()?;
        scene.daemon.restart()?;
    }
    scene.more_arrive(200)?;
    let sent = traffic.end()?;
    scene.nothing_is_missing(&sent.messages)?;
    scene.is_decodable()
}

#[test]
fn a_killed_daemon_is_replaced_and_tcp_collectors_get_everything() {
    goes_on(Mode::All, Tcp).unwrap();
    goes_on(Mode::RoundRobin, Tcp).unwrap();
}

#[test]
fn a_killed_daemon_is_replaced_and_udp_collectors_get_everything() {
    goes_on(Mode::All, Udp).unwrap();
    goes_on(Mode::RoundRobin, Udp).unwrap();
}

/// Over UDP what the daemon had received is lost with it; templates are not.
fn templates_are_known(mode: Mode, output: Protocol) -> Result<()> {
    let mut scene = Scene::new(mode, Udp, output)?;
    let mut traffic = scene.traffic()?;
    for _ in 0..KILLS {
        scene.more_arrive(200)?;
        let sent = traffic.end()?;
        scene.nothing_is_missing(&sent.messages)?;
        scene.daemon.kill()?;
        scene.daemon.restart()?;
        traffic = sent.go_on();
    }
    scene.more_arrive(200)?;
    scene.nothing_is_missing(&traffic.end()?.messages)?;
    scene.is_decodable()
}

#[test]
fn the_templates_of_udp_exporters_outlive_a_killed_daemon() {
    templates_are_known(Mode::All, Tcp).unwrap();
    templates_are_known(Mode::RoundRobin, Tcp).unwrap();
    templates_are_known(Mode::RoundRobin, Udp).unwrap();
}

/// The daemon in between does nothing at all.
fn goes_on_after_two(mode: Mode) -> Result<()> {
    let mut scene = Scene::new(mode, Tcp, Udp)?;
    let (mut exporter, mut flows) = (scene.exporter()?, Flows::new(1));
    let mut sent = vec![flows.templates(), flows.data(1)];
    exporter.send_all(&sent)?;
    poll::wait("the first flow arrives", || scene.arrived() > scene.collectors.len())?;
    for _ in 0..2 {
        scene.daemon.kill()?;
        scene.daemon.restart()?;
    }
    let more: Vec<_> = (0..10).map(|_| flows.data(1)).collect();
    exporter.send_all(&more)?;
    sent.extend(more);
    scene.nothing_is_missing(&sent)?;
    scene.is_decodable()
}

#[test]
fn a_daemon_that_is_killed_at_once_forgets_nothing() {
    goes_on_after_two(Mode::All).unwrap();
    goes_on_after_two(Mode::RoundRobin).unwrap();
}
