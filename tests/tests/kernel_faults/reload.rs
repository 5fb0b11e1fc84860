//! The configuration changes while messages flow.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::daemon::{Mode, Receiver, outcome};
use ipfix_balancer_tests::decode::{Decoded, Tally};
use ipfix_balancer_tests::exporter::UdpExporter;
use ipfix_balancer_tests::lab::{Family, available};
use ipfix_balancer_tests::net::free_address;
use ipfix_balancer_tests::poll;

use super::scene::{Feed, Scene, decoded, pins};

/// Every flow record has arrived somewhere, and no session of any collector has a gap, or data
/// without a template.
fn nothing_is_lost(feed: &Feed, collectors: &[&Collector]) -> Result<()> {
    let sent = feed.decoded();
    poll::until_ok(|| {
        let all: Vec<Decoded> =
            collectors.iter().flat_map(|collector| decoded(&collector.sessions())).collect();
        for (index, session) in all.iter().enumerate() {
            ensure!(session.problems.is_empty(), "session {index}: {:?}", session.problems.first());
        }
        let difference =
            Tally::of(sent.flows()).difference(&Tally::of(all.iter().flat_map(Decoded::flows)));
        ensure!(difference.missing == 0, "{difference}");
        Ok(())
    })
}

/// A destination is added, one is taken away, one is replaced, with an exporter at work.
fn destinations_come_and_go(mode: Mode) -> Result<()> {
    let mut scene = Scene::new(mode)?;
    let traffic = scene.feed(1)?.run();
    let (two, three) = (scene.another_collector(0)?, scene.another_collector(1)?);
    let [zero, one] = [scene.collector(0)?.address(), scene.collector(1)?.address()];
    let lists = [
        vec![zero, one, two.address()],
        vec![one, two.address()],
        vec![three.address(), two.address()],
    ];
    for addresses in lists {
        let receiver = scene.receiver(mode).destinations(Udp, &addresses);
        scene.apply(receiver)?;
        scene.keeps_forwarding()?;
        let before = scene.status()?.destinations();
        let before: Vec<_> = before.iter().map(|one| one.kernel_messages()).collect();
        scene.wait_for("each destination has messages by the kernel path", |now| {
            let now = now.destinations().into_iter().map(|one| one.kernel_messages());
            now.zip(&before).all(|(now, before)| now > before + 30)
        })?;
    }
    let mut feed = traffic.end()?;
    scene.is_forwarded(&mut feed)?;
    let collectors = scene.setup.collectors.iter().chain([&two, &three]);
    nothing_is_lost(&feed, &collectors.collect::<Vec<_>>())
}

#[test]
fn destinations_come_and_go_without_a_lost_message() {
    if available() {
        destinations_come_and_go(Mode::RoundRobin).unwrap();
    }
}

#[test]
fn destinations_come_and_go_without_a_lost_copy() {
    if available() {
        destinations_come_and_go(Mode::All).unwrap();
    }
}

/// What was counted for a destination stays with it.
fn counters_follow() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    feed.send(21)?;
    let counted = |scene: &Scene| -> Result<Vec<u64>> {
        Ok(scene.status()?.destinations().iter().map(|one| one.kernel_messages()).collect())
    };
    let before = counted(&scene)?;
    let new = scene.another_collector(0)?;
    let one = scene.collector(1)?.address();
    let receiver = scene.receiver(Mode::RoundRobin);
    scene.apply(receiver.clone().destinations(Udp, &[one, new.address()]))?;
    let after = counted(&scene)?;
    let kept = before.get(1).copied().context("no counter")?;
    ensure!(after == [kept, 0], "{after:?} instead of {kept}, 0");
    // Another receiver in its place begins at zero.
    let other = Receiver::new(Mode::All, Udp, scene.setup.receiver.address())
        .destinations(Udp, &[one])
        .named("DNSFLOW", 0);
    scene.apply(other)?;
    let status = scene.status()?;
    ensure!(status.path() == "kernel" && status.kernel_messages() == 0, "{status:?}");
    ensure!(counted(&scene)? == [0], "{status:?}");
    Ok(())
}

#[test]
fn counters_stay_with_their_destinations() {
    if available() {
        counters_follow().unwrap();
    }
}

/// RoundRobin becomes All, and All RoundRobin.
fn modes_change() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let traffic = scene.feed(1)?.run();
    for mode in [Mode::All, Mode::RoundRobin, Mode::All] {
        let receiver = scene.receiver(mode);
        scene.apply(receiver)?;
        scene.keeps_forwarding()?;
    }
    let mut feed = traffic.end()?;
    scene.is_forwarded(&mut feed)?;
    nothing_is_lost(&feed, &scene.setup.collectors.iter().collect::<Vec<_>>())?;
    let last = feed.sent.last().context("nothing was sent")?;
    for collector in &scene.setup.collectors {
        let session = collector.sessions().pop().context("no session")?;
        ensure!(session.messages.last() == Some(last), "All has not all");
    }
    Ok(())
}

#[test]
fn modes_change_without_a_lost_message() {
    if available() {
        modes_change().unwrap();
    }
}

/// Sessions come back to userspace, and go to the kernel path again.
fn off_and_on(mode: Mode) -> Result<()> {
    let mut scene = Scene::new(mode)?;
    let traffic = scene.feed(1)?.run();
    for _ in 0..2 {
        let on = scene.receiver(mode);
        scene.apply(on.clone().set("ACCEL", "off"))?;
        let status = scene.status()?;
        ensure!(status.path() == "userspace", "{status:?}");
        let before = status.messages();
        scene.wait_for("it serves", |now| now.messages() > before + 100)?;
        scene.apply(on.clone())?;
        scene.keeps_forwarding()?;
    }
    let mut feed = traffic.end()?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

#[test]
fn the_kernel_path_is_switched_off_and_on_without_a_lost_message() {
    if available() {
        off_and_on(Mode::RoundRobin).unwrap();
    }
}

#[test]
fn the_kernel_path_is_switched_off_and_on_without_a_lost_copy() {
    if available() {
        off_and_on(Mode::All).unwrap();
    }
}

/// How many elements a pinned map has.
fn elements(scene: &Scene, map: &str) -> Result<usize> {
    let path = pins(&scene.setup.daemon).join(map);
    let dumped = outcome(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(path))?;
    let dumped: serde_json::Value = serde_json::from_str(&dumped.stdout)?;
    Ok(dumped.as_array().context("no list")?.len())
}

/// Another receiver comes and goes; maps and sockets follow, and the first one is not touched.
fn receivers_come_and_go() -> Result<()> {
    let scene = Scene::new(Mode::RoundRobin)?;
    let traffic = scene.feed(1)?.run();
    let balancer = scene.lab.balancer_ip(Family::V4);
    let address = scene.lab.balancer().run(|| free_address(balancer))?;
    let collector = scene.another_collector(1)?;
    let other = Receiver::new(Mode::All, Udp, address)
        .named("DNSFLOW", 0)
        .destinations(Udp, &[collector.address()]);
    let daemon = &scene.setup.daemon;
    for round in 1..=2 {
        daemon.edit(&[scene.setup.receiver.clone(), other.clone()])?;
        ensure!(daemon.reload()?.code == 0, "{}", daemon.log());
        ensure!(elements(&scene, "LISTENERS")? == 2, "no listener more");
        let exporter = scene.lab.exporter().run(|| UdpExporter::connect(address))?;
        let mut feed = Feed::by(exporter, round)?;
        poll::until_ok(|| {
            feed.send(5)?;
            let forwarded = daemon.status()?.receiver("DNSFLOW[0]")?.kernel_messages();
            ensure!(forwarded > 20, "{forwarded} are forwarded");
            Ok(())
        })?;
        ensure!(elements(&scene, "FLOWS")? == 2, "no flow more");
        nothing_is_missing(&feed, &collector)?;
        daemon.edit(std::slice::from_ref(&scene.setup.receiver))?;
        ensure!(daemon.reload()?.code == 0, "{}", daemon.log());
        ensure!(elements(&scene, "LISTENERS")? == 1 && elements(&scene, "FLOWS")? == 1, "left");
        poll::wait("nobody listens", || (0..3).any(|_| feed.send(1).is_err()))?;
        scene.keeps_forwarding()?;
    }
    let mut feed = traffic.end()?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

/// Every record is in one of a collector's sessions.
fn nothing_is_missing(feed: &Feed, collector: &Collector) -> Result<()> {
    let sent = feed.decoded();
    poll::until_ok(|| {
        let sessions = decoded(&collector.sessions());
        let received = Tally::of(sessions.iter().flat_map(Decoded::flows));
        let difference = Tally::of(sent.flows()).difference(&received);
        ensure!(difference.missing == 0, "{difference}");
        Ok(())
    })
}

#[test]
fn receivers_come_and_go_and_maps_follow() {
    if available() {
        receivers_come_and_go().unwrap();
    }
}
