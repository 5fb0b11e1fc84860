//! Restarts in order: nothing is missing, nothing is there twice.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::{Exporter, Flows};

use super::scene::Scene;

/// How often the daemon is replaced under one exporter.
const RESTARTS: usize = 5;

fn goes_on(mode: Mode, input: Protocol, output: Protocol) -> Result<()> {
    let mut scene = Scene::new(mode, input, output)?;
    let traffic = scene.traffic()?;
    for _ in 0..RESTARTS {
        scene.more_arrive(200)?;
        scene.daemon.replace()?;
    }
    scene.more_arrive(200)?;
    let sent = traffic.end()?;
    scene.is_complete(&sent.messages)?;
    scene.is_decodable()?;
    scene.numbers_go_on()?;
    // Over UDP the session at a collector is the same all the time: the source port is.
    let sessions = if output == Udp { 1 } else { RESTARTS + 1 };
    for collector in &scene.collectors {
        ensure!(collector.sessions().len() == sessions, "{} sessions", collector.sessions().len());
    }
    Ok(())
}

#[test]
fn a_tcp_exporter_loses_nothing_to_tcp_collectors() {
    goes_on(Mode::All, Tcp, Tcp).unwrap();
    goes_on(Mode::RoundRobin, Tcp, Tcp).unwrap();
}

#[test]
fn a_tcp_exporter_loses_nothing_to_udp_collectors() {
    goes_on(Mode::All, Tcp, Udp).unwrap();
    goes_on(Mode::RoundRobin, Tcp, Udp).unwrap();
}

#[test]
fn a_udp_exporter_loses_nothing_to_tcp_collectors() {
    goes_on(Mode::All, Udp, Tcp).unwrap();
    goes_on(Mode::RoundRobin, Udp, Tcp).unwrap();
}

#[test]
fn a_udp_exporter_loses_nothing_to_udp_collectors() {
    goes_on(Mode::All, Udp, Udp).unwrap();
    goes_on(Mode::RoundRobin, Udp, Udp).unwrap();
}

/// `ipfix-balancer restart`, without a service manager.
fn is_taken_over(mode: Mode) -> Result<()> {
    let mut scene = Scene::alone(mode, Tcp, Tcp)?;
    let traffic = scene.traffic()?;
    for _ in 0..RESTARTS {
        scene.more_arrive(200)?;
        scene.daemon.take_over()?;
    }
    scene.more_arrive(200)?;
    let sent = traffic.end()?;
    scene.is_complete(&sent.messages)?;
    scene.is_decodable()?;
    scene.numbers_go_on()
}

#[test]
fn another_daemon_takes_over() {
    is_taken_over(Mode::All).unwrap();
    is_taken_over(Mode::RoundRobin).unwrap();
}

#[test]
fn what_systemd_runs_is_not_taken_over() {
    let scene = Scene::new(Mode::All, Tcp, Tcp).unwrap();
    let outcome = scene.daemon.command(&["restart"]).unwrap();
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("systemctl restart"), "{}", outcome.stderr);
    scene.daemon.status().unwrap();
}

/// The half of a message has come when the daemon is replaced.
fn half_a_message(mode: Mode, end: fn(&mut Scene) -> Result<()>) -> Result<()> {
    let mut scene = Scene::new(mode, Tcp, Tcp)?;
    let mut exporter = scene.exporter()?;
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    exporter.send(&sent[0])?;
    scene.wait_until_up()?;
    for cut in [1, 3, 16, 100] {
        let (whole, message) = (flows.data(1), flows.data(9));
        exporter.send(&[&whole[..], &message[..cut]].concat())?;
        sent.push(whole);
        scene.is_complete(&sent)?;
        end(&mut scene)?;
        exporter.send(&message[cut..])?;
        sent.push(message);
        scene.is_complete(&sent)?;
    }
    scene.is_decodable()
}

#[test]
fn half_a_message_is_completed_for_the_next_daemon() {
    half_a_message(Mode::All, |scene| scene.daemon.replace()).unwrap();
    half_a_message(Mode::RoundRobin, |scene| scene.daemon.replace()).unwrap();
}

#[test]
fn half_a_message_is_completed_after_a_kill() {
    let kill = |scene: &mut Scene| {
        scene.daemon.kill()?;
        scene.daemon.restart()
    };
    half_a_message(Mode::All, kill).unwrap();
    half_a_message(Mode::RoundRobin, kill).unwrap();
}

/// An exporter that says nothing through the restart, and one that connects while no daemon runs.
fn silent_and_waiting() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin, Tcp, Tcp)?;
    let mut silent = scene.exporter()?;
    scene.daemon.manager()?.wait_until_kept(2)?;
    scene.daemon.signal(nix::sys::signal::Signal::SIGTERM)?;
    scene.daemon.wait_for_exit()?;
    let mut waiting = scene.exporter()?;
    let mut flows = Flows::new(1);
    let first = flows.session(5, 2);
    waiting.send_all(&first)?;
    scene.daemon.restart()?;
    let mut others = Flows::new(2);
    let second = others.session(5, 2);
    silent.send_all(&second)?;
    scene.is_complete(&[first, second].concat())?;
    scene.is_decodable()?;
    // What ends is not kept any longer.
    let Exporter::Tcp(silent) = &mut silent else { return Ok(()) };
    silent.finish()?;
    ensure!(silent.is_closed_within(Duration::from_secs(10))?, "it was not closed");
    scene.daemon.manager()?.wait_until_kept(2)?;
    drop(waiting);
    scene.daemon.manager()?.wait_until_kept(1)
}

#[test]
fn silent_exporters_and_those_that_have_to_wait_are_served() {
    silent_and_waiting().unwrap();
}

#[test]
fn the_service_manager_hears_when_the_daemon_is_ready_and_when_it_ends() {
    let mut scene = Scene::new(Mode::All, Tcp, Tcp).unwrap();
    assert!(scene.daemon.manager().unwrap().was_told("READY=1"));
    assert!(!scene.daemon.manager().unwrap().was_told("STOPPING=1"));
    scene.daemon.replace().unwrap();
    assert!(scene.daemon.manager().unwrap().was_told("STOPPING=1"));
    assert_eq!(scene.daemon.reload().unwrap().code, 0);
    assert!(scene.daemon.manager().unwrap().was_told("RELOADING=1"));
}

/// `ipfix-balancer stop` is the end: connections are closed, and nobody keeps them.
#[test]
fn stop_closes_what_a_restart_would_keep() {
    let mut scene = Scene::new(Mode::All, Tcp, Tcp).unwrap();
    let Exporter::Tcp(mut exporter) = scene.exporter().unwrap() else { return };
    scene.daemon.manager().unwrap().wait_until_kept(2).unwrap();
    assert_eq!(scene.daemon.command(&["stop"]).unwrap().code, 0);
    scene.daemon.wait_for_exit().unwrap();
    scene.daemon.manager().unwrap().wait_until_kept(0).unwrap();
    assert!(exporter.is_closed_within(Duration::from_secs(10)).unwrap());
}
