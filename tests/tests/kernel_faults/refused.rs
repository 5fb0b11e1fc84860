//! No kernel path, or not the best one: the daemon says why.

use std::net::SocketAddr;

use anyhow::{Result, anyhow, ensure};
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver, render};
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

use super::scene::Scene;

/// Runs a program as root without any of its capabilities.
const POWERLESS: [&str; 3] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
const GATES: [&str; 3] = ["CAP_BPF", "CAP_NET_ADMIN", "CLOSED"];

/// Starts a daemon that has to fail at once; what it says.
fn refused(lab: &Lab, runner: &[&str], receiver: &Receiver) -> Result<String> {
    let text = render(std::slice::from_ref(receiver));
    match lab.balancer().run(|| Daemon::start_by(runner, &text)) {
        Ok(_) => Err(anyhow!("it has started")),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn receiver(lab: &Lab, output: ipfix_balancer_tests::collector::Protocol) -> Result<Receiver> {
    let port = ipfix_balancer_tests::net::free_port(ipfix_balancer_tests::net::V4)?;
    let listen = SocketAddr::new(lab.balancer_ip(Family::V4), port);
    let collector = SocketAddr::new(lab.collector(0)?.ip(Family::V4), 4739);
    let receiver = Receiver::new(Mode::RoundRobin, Udp, listen).destinations(output, &[collector]);
    Ok(receiver.set("ACCEL", "require"))
}

#[test]
fn require_is_refused_where_the_kernel_path_cannot_do_it() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let said = refused(&lab, &[], &receiver(&lab, Tcp).unwrap()).unwrap();
    for part in ["FULLFLOW", "ACCEL", "require", "TCP"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

#[test]
fn require_is_refused_without_privilege_and_the_gates_are_listed() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let receiver = receiver(&lab, Udp).unwrap();
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let runtime = format!("XDG_RUNTIME_DIR={}", folder.path().display());
    std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
    let nobody = ["env", &runtime, "setpriv", "--reuid=65534", "--clear-groups"];
    for runner in [&POWERLESS[..], &nobody] {
        let said = refused(&lab, runner, &receiver).unwrap();
        for part in ["ACCEL=require", &GATES[..].join(" ")].iter().flat_map(|p| p.split(' ')) {
            assert!(said.contains(part), "no {part} in {said}");
        }
    }
}

/// Without privilege `auto` serves in userspace.
fn auto_without_privilege() -> Result<()> {
    let scene = Scene::run_by(Mode::RoundRobin, &POWERLESS)?;
    let status = scene.status()?;
    ensure!(status.path() == "userspace", "{status:?}");
    for part in GATES {
        ensure!(status.path_reason().contains(part), "no {part} in {}", status.path_reason());
    }
    let mut feed = scene.open(1)?;
    scene.setup.wait_until_up()?;
    feed.send(50)?;
    scene.is_complete(&feed)
}

#[test]
fn auto_without_privilege_serves_in_userspace_and_says_why() {
    if available() {
        auto_without_privilege().unwrap();
    }
}

/// Without privilege a reload can't ask for the kernel path, and changes nothing.
fn require_on_reload_without_privilege() -> Result<()> {
    let mut scene = Scene::run_by(Mode::RoundRobin, &POWERLESS)?;
    let mut feed = scene.open(1)?;
    scene.setup.wait_until_up()?;
    let one = [scene.collector(1)?.address()];
    let wrong = scene.receiver(Mode::RoundRobin).destinations(Udp, &one).set("ACCEL", "require");
    scene.daemon().edit(&[wrong])?;
    let outcome = scene.daemon().reload()?;
    ensure!(outcome.code != 0, "it was accepted");
    for part in GATES {
        ensure!(outcome.stderr.contains(part), "no {part} in {}", outcome.stderr);
    }
    feed.send(50)?;
    scene.is_complete(&feed)
}

#[test]
fn a_reload_cannot_require_what_privilege_does_not_allow() {
    if available() {
        require_on_reload_without_privilege().unwrap();
    }
}

#[test]
fn off_says_so() {
    if !available() {
        return;
    }
    let mut scene = Scene::new(Mode::All).unwrap();
    let off = scene.receiver(Mode::All).set("ACCEL", "off");
    scene.apply(off).unwrap();
    let status = scene.status().unwrap();
    assert_eq!(status.path(), "userspace");
    assert!(status.path_reason().contains("ACCEL"), "{}", status.path_reason());
}

/// A reload with what can't be changes nothing: sessions stay in the kernel path.
fn require_on_reload() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    let right = scene.setup.receiver.clone();
    let tcp = SocketAddr::new(scene.lab.collector(0)?.ip(Family::V4), 4739);
    let wrong = scene.receiver(Mode::RoundRobin).destinations(Tcp, &[tcp]);
    scene.daemon().edit(&[wrong.set("ACCEL", "require")])?;
    let outcome = scene.daemon().reload()?;
    ensure!(outcome.code != 0 && outcome.stderr.contains("require"), "{}", outcome.stderr);
    ensure!(scene.status()?.path() == "kernel", "{:?}", scene.status());
    scene.is_forwarded(&mut feed)?;
    scene.apply(right)?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

#[test]
fn a_reload_with_a_path_that_cannot_be_changes_nothing() {
    if available() {
        require_on_reload().unwrap();
    }
}

/// A program of somebody else, here another balancer, is at the interface already.
fn busy() -> Result<()> {
    let first = Scene::new(Mode::RoundRobin)?;
    let mut feed = first.feed(1)?;
    let Scene { lab, .. } = &first;
    let second = Setup::in_lab(lab, Mode::RoundRobin, (Udp, Udp), Family::V4)?;
    let reason =
        || -> Result<String> { Ok(second.daemon.status()?.receiver("FULLFLOW[0]")?.path_reason()) };
    let said = reason()?;
    ensure!(said.contains("tc on exp") && said.to_lowercase().contains("busy"), "{said}");
    let mut other = first.open_to(&second, 2)?;
    second.wait_until_up()?;
    poll::until_ok(|| {
        other.send(10)?;
        let forwarded = second.daemon.status()?.receiver("FULLFLOW[0]")?.kernel_messages();
        ensure!(forwarded > 20, "{forwarded} are forwarded");
        Ok(())
    })?;
    first.is_forwarded(&mut feed)?;
    first.is_complete(&feed)?;
    let sent = other.decoded();
    poll::until_ok(|| {
        let received = super::scene::decoded(&second.only_sessions()?);
        ipfix_balancer_tests::decode::round_robin(&sent, &received)
    })
}

#[test]
fn beside_another_xdp_program_tc_is_used_and_named() {
    if available() {
        busy().unwrap();
    }
}
