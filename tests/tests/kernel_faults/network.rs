//! The network changes under the kernel path.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::lab::{Family, available, available_with_trace_points};
use ipfix_balancer_tests::poll;

use super::scene::Scene;

/// The collector's neighbour entry is deleted: the daemon asks for it anew, and meanwhile the host's
/// own network stack does.
fn a_neighbour_is_forgotten(family: Family, mode: Mode) -> Result<()> {
    let scene = Scene::over(family, mode)?;
    let traffic = scene.feed(1)?.run();
    let site = scene.lab.collector(0)?;
    for _ in 0..5 {
        site.peer.delete_neighbour(site.ip(family))?;
        scene.keeps_forwarding()?;
    }
    let mut feed = traffic.end()?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

#[test]
fn a_forgotten_neighbour_is_found_again() {
    if available() {
        for family in Family::BOTH {
            a_neighbour_is_forgotten(family, Mode::RoundRobin).unwrap();
            a_neighbour_is_forgotten(family, Mode::All).unwrap();
        }
    }
}

fn a_collector_gets_another_mac() -> Result<()> {
    let scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    let site = scene.lab.collector(0)?;
    let mut interface = site.interface.clone();
    interface.set_mac([2, 0x77, 9, 9, 9, 9])?;
    site.peer.delete_neighbour(site.ip(Family::V4))?;
    // What goes to the old address until the new one is known is lost, as on any host.
    poll::until_ok(|| {
        let before = scene.collector(0)?.messages();
        scene.is_forwarded(&mut feed)?;
        let arrived = scene.collector(0)?.messages() - before;
        ensure!(arrived >= 5, "{arrived} have arrived");
        Ok(())
    })?;
    let from = feed.sent.len();
    feed.send(100)?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete_from(&feed, from)
}

#[test]
fn a_collector_with_another_mac_is_found() {
    if available() {
        a_collector_gets_another_mac().unwrap();
    }
}

/// A second wire to the first collector's host, and a route over it.
fn second_wire(scene: &Scene) -> Result<()> {
    let site = scene.lab.collector(0)?;
    let (balancer, host) = (scene.lab.balancer(), &site.namespace);
    balancer.ip(&format!("link add alt type veth peer eth1 netns {}", host.name()))?;
    for (namespace, name, host) in [(balancer, "alt", 1), (host, "eth1", 2)] {
        namespace.ip(&format!("address add 10.78.0.{host}/24 dev {name}"))?;
        namespace.ip(&format!("address add fd78::{host}/64 dev {name} nodad"))?;
        namespace.ip(&format!("link set {name} up"))?;
    }
    // Frames that XDP has redirected vanish in a veth pair without this.
    let gro =
        || Ok(std::process::Command::new("ethtool").args(["-K", "eth1", "gro", "on"]).status()?);
    ensure!(host.run(gro)?.success(), "ethtool");
    Ok(())
}

fn a_route_changes(family: Family, mode: Mode) -> Result<()> {
    let scene = Scene::over(family, mode)?;
    second_wire(&scene)?;
    let site = scene.lab.collector(0)?;
    let collector = site.ip(family);
    let other = if family == Family::V4 { "10.78.0.2" } else { "fd78::2" };
    let traffic = scene.feed(1)?.run();
    let sent_by = |name: &str| -> Result<u64> {
        let shown = scene.lab.balancer().ip(&format!("-s -j link show dev {name}"))?;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        shown.pointer("/0/stats64/tx/packets").and_then(|n| n.as_u64()).context("no counter")
    };
    for _ in 0..2 {
        let before = sent_by("alt")?;
        scene.lab.balancer().ip(&format!("route add {collector} via {other}"))?;
        poll::wait("it goes by the other interface", || {
            sent_by("alt").is_ok_and(|now| now > before + 50)
        })?;
        scene.keeps_forwarding()?;
        let before = site.peer.counters()?.sent;
        scene.lab.balancer().ip(&format!("route delete {collector} via {other}"))?;
        poll::wait("it goes by the first interface again", || {
            site.peer.counters().is_ok_and(|now| now.sent > before + 50)
        })?;
        scene.keeps_forwarding()?;
    }
    let mut feed = traffic.end()?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

#[test]
fn a_route_to_another_interface_is_followed_without_a_lost_message() {
    if available() {
        a_route_changes(Family::V4, Mode::RoundRobin).unwrap();
        a_route_changes(Family::V6, Mode::RoundRobin).unwrap();
    }
}

#[test]
fn a_route_to_another_interface_is_followed_by_copies_as_well() {
    if available() {
        a_route_changes(Family::V4, Mode::All).unwrap();
        a_route_changes(Family::V6, Mode::All).unwrap();
    }
}

/// The way to one collector is gone: the others get its turns.
fn a_link_flaps() -> Result<()> {
    let scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    let down = scene.lab.collector(0)?.peer.clone();
    for _ in 0..2 {
        down.down()?;
        scene.wait_for("the daemon knows", |now| now.path_reason().contains("10.77.1.2"))?;
        feed.send(100)?;
        scene.is_forwarded(&mut feed)?;
        down.up()?;
        scene.wait_for("the daemon knows", |now| !now.path_reason().contains("10.77.1.2"))?;
        scene.wait_for("it is up", |now| now.all_destinations_are("up"))?;
        let before = scene.collector(0)?.messages();
        scene.is_forwarded(&mut feed)?;
        feed.send(20)?;
        poll::wait("it has its turns again", || {
            scene.collector(0).is_ok_and(|one| one.messages() >= before + 10)
        })?;
    }
    scene.is_complete(&feed)
}

#[test]
fn a_link_that_flaps_loses_nothing_that_is_sent_meanwhile() {
    if available() {
        a_link_flaps().unwrap();
    }
}

/// The exporter's own interface goes and comes: the session goes on where it was.
fn the_exporters_link_flaps() -> Result<()> {
    let scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    let interface = scene.lab.exporter().peer.clone();
    for _ in 0..2 {
        interface.down()?;
        scene.wait_for("detached", |now| !now.path_reason().contains("on exp"))?;
        interface.up()?;
        scene.wait_for("attached", |now| now.path_reason().contains("xdp on exp"))?;
        let link = "link show dev eth0";
        poll::wait("carrier", || {
            let shown = scene.lab.exporter().namespace.ip(link);
            shown.is_ok_and(|shown| shown.contains(" state UP "))
        })?;
        scene.is_forwarded(&mut feed)?;
    }
    scene.is_complete(&feed)
}

#[test]
fn the_exporters_link_may_flap_as_well() {
    if available() {
        the_exporters_link_flaps().unwrap();
    }
}

/// The interface is made anew under the same name, faster than anybody looks.
fn the_exporters_interface_is_made_anew() -> Result<()> {
    let scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    let site = scene.lab.exporter();
    let (balancer, exporter) = (scene.lab.balancer(), &site.namespace);
    let mut batch = tempfile::NamedTempFile::new()?;
    writeln!(batch, "link delete exp")?;
    writeln!(batch, "link add exp type veth peer eth0 netns {}", exporter.name())?;
    writeln!(batch, "address add 10.77.0.1/24 dev exp")?;
    writeln!(batch, "link set exp up")?;
    balancer.ip(&format!("-batch {}", batch.path().display()))?;
    exporter.ip("address add 10.77.0.2/24 dev eth0")?;
    exporter.ip("link set eth0 up")?;
    site.interface.feature("tx", false)?;
    let link = "link show dev eth0";
    poll::wait("carrier", || exporter.ip(link).is_ok_and(|shown| shown.contains(" state UP ")))?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

#[test]
fn an_interface_that_is_made_anew_gets_the_programs() {
    if available() {
        the_exporters_interface_is_made_anew().unwrap();
    }
}

/// The other end of a wire takes no longer frames than it is set to, of which the near end knows
/// nothing: what is lost there is counted.
fn frames_are_refused() -> Result<()> {
    let scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    scene.lab.collector(0)?.interface.set_mtu(600)?;
    feed.records = 30;
    let before = (scene.forwarded()?, scene.collector(0)?.messages());
    feed.send(40)?;
    scene.wait_for("all are forwarded", |now| now.kernel_messages() >= before.0 + 40)?;
    poll::until_ok(|| {
        let refused = scene.setup.daemon.status()?.dropped_at("col0", "egress")?;
        ensure!(refused == 20, "{refused} are counted");
        Ok(())
    })?;
    ensure!(scene.collector(0)?.messages() == before.1, "some have arrived");
    let others = scene.setup.daemon.status()?.dropped_at("col1", "egress")?;
    ensure!(others == 0, "{others} at the other interface");
    Ok(())
}

#[test]
fn frames_that_an_interface_refuses_are_counted() {
    if available_with_trace_points() {
        frames_are_refused().unwrap();
    }
}

/// Messages that have become too large go up, and are split: nobody needs IP fragments.
fn the_mtu_shrinks(mode: Mode) -> Result<()> {
    let scene = Scene::new(mode)?;
    let mut feed = scene.feed(1)?;
    feed.records = 30;
    scene.is_forwarded(&mut feed)?;
    let site = scene.lab.collector(0)?;
    let fragments = || site.namespace.counters()?.count("IpReasmReqds");
    site.set_mtu(600)?;
    // Until the daemon has heard of it, they vanish in the interface or leave in fragments.
    poll::until_ok(|| {
        let (up, before) = (scene.status()?.passed_up("mtu"), fragments()?);
        feed.send(10)?;
        let (up, cut) = (scene.status()?.passed_up("mtu") - up, fragments()? - before);
        ensure!(up > 0 && cut == 0, "{up} have come up, {cut} fragments");
        Ok(())
    })?;
    let (from, before) = (feed.sent.len(), fragments()?);
    feed.send(50)?;
    feed.records = 3;
    scene.is_forwarded(&mut feed)?;
    feed.records = 30;
    feed.send(20)?;
    let cut = fragments()? - before;
    ensure!(cut == 0, "{cut} fragments");
    site.set_mtu(1500)?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete_from(&feed, from)
}

#[test]
fn messages_for_which_the_mtu_has_become_too_small_are_split() {
    if available() {
        the_mtu_shrinks(Mode::RoundRobin).unwrap();
    }
}

#[test]
fn copies_for_which_the_mtu_has_become_too_small_are_split() {
    if available() {
        the_mtu_shrinks(Mode::All).unwrap();
    }
}
