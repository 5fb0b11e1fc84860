//! `ALLOW_FROM` in the kernel path: nobody else's datagrams are forwarded there.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::frame::Frame;
use ipfix_balancer_tests::lab::{Family, RawExporter, available};

use super::scene::Scene;

/// Networks with the exporter in them, and without.
fn networks(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("10.77.0.2", "10.78.0.0/16"),
        Family::V6 => ("fd77::2", "fd78::/64"),
    }
}

/// Another source address with the port of a session that is forwarded, on the same wire.
fn a_foreign_source(family: Family) -> Result<()> {
    let mut scene = Scene::over(family, Mode::RoundRobin)?;
    scene.apply(scene.receiver(Mode::RoundRobin).set("ALLOW_FROM", networks(family).0))?;
    let mut feed = scene.feed(1)?;
    let (forwarded, arrived) = (scene.forwarded()?, scene.arrived());
    let foreign = match family {
        Family::V4 => "10.77.0.99",
        Family::V6 => "fd77::99",
    };
    let foreign = SocketAddr::new(foreign.parse()?, feed.exporter.address()?.port());
    let raw = RawExporter::open(scene.lab.exporter())?;
    let site = scene.lab.exporter();
    for _ in 0..20 {
        let message = feed.flows.clone().data(2);
        let frame = Frame::udp(foreign, scene.setup.receiver.address(), &message)
            .macs(site.interface.mac(), site.peer.mac());
        raw.send(&frame.build()?)?;
    }
    scene.wait_for("they are refused", |now| now.dropped("not_allowed") == 20)?;
    ensure!(scene.forwarded()? == forwarded, "some were forwarded");
    ensure!(scene.arrived() == arrived, "some have arrived");
    feed.send(20)?;
    scene.is_complete(&feed)
}

#[test]
fn a_foreign_source_is_not_forwarded_beside_an_allowed_one() {
    if available() {
        Family::BOTH.into_iter().for_each(|family| a_foreign_source(family).unwrap());
    }
}

/// A session that the kernel forwards loses its place with its right.
fn a_session_is_allowed_no_more(family: Family) -> Result<()> {
    let mut scene = Scene::over(family, Mode::All)?;
    let mut feed = scene.feed(1)?;
    let (own, foreign) = networks(family);
    scene.apply(scene.receiver(Mode::All).set("ALLOW_FROM", foreign))?;
    let (forwarded, arrived) = (scene.forwarded()?, scene.arrived());
    let from = feed.sent.len();
    feed.send(50)?;
    scene.wait_for("they are refused", |now| now.dropped("not_allowed") >= 50)?;
    ensure!(scene.forwarded()? == forwarded, "some were forwarded");
    ensure!(scene.arrived() == arrived, "some have arrived");
    feed.sent.truncate(from);

    scene.apply(scene.receiver(Mode::All).set("ALLOW_FROM", own))?;
    let mut back = scene.open(2)?;
    scene.is_forwarded(&mut back)
}

#[test]
fn a_session_that_is_allowed_no_more_is_not_forwarded_any_longer() {
    if available() {
        Family::BOTH.into_iter().for_each(|family| a_session_is_allowed_no_more(family).unwrap());
    }
}

/// The next daemon has another list: what it finds in the maps is not forwarded by it.
fn an_orphan_is_allowed_no_more() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    scene.kill()?;
    let receiver = scene.receiver(Mode::RoundRobin).set("ALLOW_FROM", networks(Family::V4).1);
    scene.daemon().edit(&[receiver])?;
    scene.restart()?;
    let (forwarded, arrived) = (scene.forwarded()?, scene.arrived());
    feed.send(20)?;
    scene.wait_for("they are refused", |now| now.dropped("not_allowed") >= 20)?;
    ensure!(scene.forwarded()? == forwarded, "some were forwarded");
    ensure!(scene.arrived() == arrived, "some have arrived");
    Ok(())
}

#[test]
fn a_session_of_an_earlier_daemon_is_not_forwarded_where_it_is_not_allowed() {
    if available() {
        an_orphan_is_allowed_no_more().unwrap();
    }
}
