//! What the daemon tells a service manager of itself (sd_notify(3)).

use std::time::Duration;

use anyhow::Result;
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::{Daemon, Frozen, Manager, Mode, Receiver};
use ipfix_balancer_tests::exporter::{Flows, TcpExporter};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use nix::sys::signal::Signal;

/// What the daemon says while all is well.
const ALIVE: &str = "WATCHDOG=1";

struct Scene {
    collectors: Vec<Collector>,
    receiver: Receiver,
    daemon: Daemon,
}

impl Scene {
    fn new() -> Result<Self> {
        let collectors = vec![Collector::start(Tcp, V4)?];
        let listen = free_address(V4)?;
        let receiver = Receiver::new(Mode::All, Tcp, listen).to(&collectors);
        let daemon = Daemon::start_managed(std::slice::from_ref(&receiver))?;
        Ok(Self { collectors, receiver, daemon })
    }

    /// All that the manager was told.
    fn told(&self) -> Vec<String> {
        self.daemon.manager().map(Manager::told).unwrap_or_default()
    }

    /// How often it was told this.
    fn times(&self, line: &str) -> usize {
        self.told().iter().filter(|told| *told == line).count()
    }

    /// Waits until it is told this once more.
    fn hears(&self, line: &str) -> Result<()> {
        let before = self.times(line);
        poll::wait(line, || self.times(line) > before)
    }
}

#[test]
fn start_reload_and_end_are_told_in_order() {
    let mut scene = Scene::new().unwrap();
    let before = now();
    assert_eq!(scene.daemon.reload().unwrap().code, 0);
    poll::wait("READY after RELOADING", || scene.times("READY=1") == 2).unwrap();
    scene.daemon.signal(Signal::SIGTERM).unwrap();
    assert!(scene.daemon.wait_for_exit().unwrap().success());

    let told = scene.told();
    let kinds = ["READY=1", "RELOADING=1", "STOPPING=1"];
    let order: Vec<&String> = told.iter().filter(|line| kinds.contains(&line.as_str())).collect();
    assert_eq!(order, ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
    // By this systemd tells which reload is meant.
    let at = told.iter().skip_while(|line| *line != "RELOADING=1").nth(1).unwrap();
    let at: i128 = at.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!((before..=now()).contains(&at), "{before} {at} {}", now());
}

/// Microseconds of the clock that does not jump.
fn now() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000
}

#[test]
fn the_status_has_rates() {
    let mut scene = Scene::new().unwrap();
    let mut exporter = TcpExporter::connect(scene.receiver.address()).unwrap();
    let mut flows = Flows::new(1);
    exporter.send(&flows.templates()).unwrap();
    let busy = || {
        exporter.send(&flows.data(3)).unwrap();
        let told = scene.told();
        let line = told.iter().rev().find_map(|line| line.strip_prefix("STATUS=")).unwrap_or("");
        let (begin, rates) = line.split_once(": ").unwrap_or_default();
        let quiet = rates.starts_with("0 messages/s in, ") || rates.contains(", 0/s out, ");
        begin == "1 receivers, 1 sessions" && !quiet && rates.ends_with(", 0/s dropped")
    };
    poll::wait("a line with rates", busy).unwrap();
    scene.collectors.clear();
    poll::wait("a destination that is down", || {
        exporter.send(&flows.data(3)).unwrap();
        let told = scene.told();
        told.iter().any(|line| line.ends_with("; 1 of 1 destinations down"))
    })
    .unwrap();
}

#[test]
fn a_stuck_handler_is_not_hidden() {
    let scene = Scene::new().unwrap();
    scene.hears(ALIVE).unwrap();
    let frozen = Frozen::thread(scene.daemon.pid(), "ipfix-full-0").unwrap();
    scene.daemon.wait_for_log(&["FULLFLOW[0]", "the handler is stuck"]).unwrap();
    // Longer than the manager's patience: it would have ended the daemon.
    let silence = Manager::PATIENCE + Duration::from_millis(500);
    let begin = scene.times(ALIVE);
    assert_eq!(poll::settled(silence, || scene.times(ALIVE)).unwrap(), begin);
    // The control side is alive.
    scene.daemon.status().unwrap().receiver("FULLFLOW[0]").unwrap();
    drop(frozen);
    scene.hears(ALIVE).unwrap();
    scene.daemon.wait_for_log(&["FULLFLOW[0]", "not stuck any more"]).unwrap();
}
