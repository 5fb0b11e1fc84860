//! More of something than the maps have places for.

use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, ensure};
use common::maps::MAX_RECEIVERS;
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::daemon::{Mode, Outcome, Receiver};
use ipfix_balancer_tests::exporter::Message;
use ipfix_balancer_tests::lab::{Family, available};
use ipfix_balancer_tests::poll;

use super::scene::{Scene, all_there, decoded};

/// As many receivers as there are places for, on ports from this one on.
fn crowd(scene: &Scene, port: u16) -> Result<Vec<Receiver>> {
    let ip = scene.lab.balancer_ip(Family::V4);
    let receiver = |index: u16| {
        let listen = SocketAddr::new(ip, port + index);
        let receiver = Receiver::new(Mode::All, Udp, listen).named("DNSFLOW", index.into());
        receiver.to(&scene.setup.collectors)
    };
    Ok((0..u16::try_from(MAX_RECEIVERS)?).map(receiver).collect())
}

fn reload(scene: &Scene, receivers: &[Receiver]) -> Result<Outcome> {
    scene.setup.daemon.edit(receivers)?;
    scene.setup.daemon.reload()
}

/// The path of each receiver, and why it is that one.
fn paths(scene: &Scene, receivers: &[Receiver]) -> Result<Vec<(String, String)>> {
    let status = scene.setup.daemon.status()?;
    let path = |receiver: &Receiver| {
        let receiver = status.receiver(&receiver.name())?;
        Ok((receiver.path(), receiver.path_reason()))
    };
    receivers.iter().map(path).collect()
}

/// The one that finds no place is served in userspace; where it insists, the reload changes nothing;
/// where another one makes room, it gets that place.
fn too_many_receivers() -> Result<()> {
    let scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    let mut receivers = crowd(&scene, 1024)?;
    receivers.insert(0, scene.setup.receiver.clone());
    let outcome = reload(&scene, &receivers)?;
    ensure!(outcome.code == 0, "{}", outcome.stderr);
    let before = paths(&scene, &receivers)?;
    let (late, served) = before.split_last().context("no receivers")?;
    ensure!(served.iter().all(|(path, _)| path == "kernel"), "{served:?}");
    let said = format!("serves {MAX_RECEIVERS} receivers");
    ensure!(late.0 == "userspace" && late.1.contains(&said), "{late:?}");
    scene.is_forwarded(&mut feed)?;

    let late = receivers.pop().context("no receivers")?.set("ACCEL", "require");
    let mut insisting = [&receivers[..], std::slice::from_ref(&late)].concat();
    // Were it applied, its destinations would be others, and the feed would not be complete.
    let first = insisting.first_mut().context("no receivers")?;
    *first = first.clone().to(&[scene.another_collector(0)?]);
    let outcome = reload(&scene, &insisting)?;
    ensure!(outcome.code != 0 && outcome.stderr.contains(&said), "{}", outcome.stderr);
    ensure!(paths(&scene, &insisting)? == before, "something has changed");
    scene.is_forwarded(&mut feed)?;

    let one = receivers.pop().context("no receivers")?.set("ACCEL", "off");
    let outcome = reload(&scene, &[&receivers[..], &[one, late.clone()]].concat())?;
    ensure!(outcome.code == 0, "{}", outcome.stderr);
    let [(path, reason)] = &paths(&scene, &[late])?[..] else { return Err(anyhow!("no path")) };
    ensure!(path == "kernel", "{reason}");
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

#[test]
fn a_receiver_without_a_place_in_the_maps_is_served_in_userspace() {
    if available() {
        too_many_receivers().unwrap();
    }
}

/// What a killed daemon has left keeps no receiver of the next one out.
fn all_places_are_left_over() -> Result<()> {
    let mut scene = Scene::new(Mode::All)?;
    let outcome = reload(&scene, &crowd(&scene, 1024)?)?;
    ensure!(outcome.code == 0, "{}", outcome.stderr);
    scene.kill()?;
    let insist = |receiver: Receiver| receiver.set("ACCEL", "require");
    let receivers: Vec<_> = crowd(&scene, 2048)?.into_iter().map(insist).collect();
    scene.daemon().edit(&receivers)?;
    scene.restart()?;
    let paths = paths(&scene, &receivers)?;
    ensure!(paths.iter().all(|(path, _)| path == "kernel"), "{paths:?}");
    Ok(())
}

#[test]
fn places_that_a_killed_daemon_has_left_are_free() {
    if available() {
        all_places_are_left_over().unwrap();
    }
}

/// More observation domains than the maps have places: the sessions that find none are served in
/// userspace, the others as before.
fn too_many_domains() -> Result<()> {
    const DOMAINS: u32 = 1024;
    let scene = Scene::new(Mode::All)?;
    let mut feed = scene.feed(1)?;
    let mut crowd = Vec::new();
    for number in 0..8 {
        let exporter = scene.open(2 + number)?;
        let received =
            || scene.status().map_or(0, |now| usize::try_from(now.messages()).unwrap_or(0));
        let messages: Vec<_> = (1..=DOMAINS).map(|d| Message::new(d * 16, 0).build()).collect();
        exporter.exporter.send_paced(&messages, messages.len(), received)?;
        crowd.push(exporter);
    }
    let mut late = scene.open(99)?;
    let before = scene.forwarded()?;
    late.send(20)?;
    let sent = late.decoded();
    poll::until_ok(|| {
        let collector = scene.collector(0)?;
        let sessions = decoded(&collector.sessions());
        let of_late = sessions.iter().find(|one| one.domains.contains_key(&99));
        all_there(&sent, of_late.ok_or_else(|| anyhow!("no session"))?)
    })?;
    ensure!(scene.forwarded()? == before, "there was room");
    scene.is_forwarded(&mut feed)
}

#[test]
fn a_session_without_a_place_in_the_maps_is_served_in_userspace() {
    if available() {
        too_many_domains().unwrap();
    }
}
