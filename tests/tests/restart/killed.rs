//! `kill -9`: no connection breaks, and everything arrives at least once.

use anyhow::Result;
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;

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
