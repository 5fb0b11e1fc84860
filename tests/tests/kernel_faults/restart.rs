//! The daemon ends, in one way or another, and the next one goes on.

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::lab::{Family, available};
use ipfix_balancer_tests::poll;
use nix::sys::signal::Signal;

use super::leftovers::pinned_links;
use super::scene::{Feed, Scene, pins};

fn kill(scene: &mut Scene) -> Result<()> {
    scene.kill()
}

fn terminate(scene: &mut Scene) -> Result<()> {
    scene.daemon().signal(Signal::SIGTERM)?;
    ensure!(scene.daemon().wait_for_exit()?.success(), "it did not end in order");
    Ok(())
}

/// While an exporter sends some thousand messages a second, two daemons end and others take their
/// place. Nothing is lost, and collectors notice nothing: they have one session from one port.
fn others_go_on(family: Family, mode: Mode, end: fn(&mut Scene) -> Result<()>) -> Result<()> {
    let mut scene = Scene::over(family, mode)?;
    let mut feed = scene.feed(1)?;
    for _ in 0..2 {
        let traffic = feed.run();
        scene.keeps_forwarding()?;
        let counted = scene.status()?.kernel_messages();
        end(&mut scene)?;
        scene.more_arrive(200)?;
        scene.restart()?;
        scene.keeps_forwarding()?;
        ensure!(scene.status()?.kernel_messages() >= counted + 400, "counted anew");
        ensure!(scene.status()?.sessions() == 1, "the session was not taken over");
        scene.more_arrive(100)?;
        feed = traffic.end()?;
        feed.templates()?;
        feed.options()?;
        scene.is_forwarded(&mut feed)?;
    }
    scene.is_complete(&feed)
}

#[test]
fn a_killed_daemon_is_replaced_without_a_lost_message() {
    if available() {
        others_go_on(Family::V4, Mode::RoundRobin, kill).unwrap();
        others_go_on(Family::V6, Mode::RoundRobin, kill).unwrap();
    }
}

#[test]
fn a_killed_daemon_is_replaced_without_a_lost_copy() {
    if available() {
        others_go_on(Family::V4, Mode::All, kill).unwrap();
        others_go_on(Family::V6, Mode::All, kill).unwrap();
    }
}

#[test]
fn a_daemon_that_was_stopped_is_replaced_without_a_lost_message() {
    if available() {
        others_go_on(Family::V4, Mode::RoundRobin, terminate).unwrap();
    }
}

#[test]
fn a_daemon_that_was_stopped_is_replaced_without_a_lost_copy() {
    if available() {
        others_go_on(Family::V4, Mode::All, terminate).unwrap();
    }
}

/// `ipfix-balancer restart`: what goes up meanwhile, templates and options among it, waits in the
/// receiver's socket for the next daemon.
fn is_taken_over(mode: Mode) -> Result<()> {
    let mut scene = Scene::new(mode)?;
    let mut feed = scene.feed(1)?;
    for _ in 0..3 {
        let traffic = feed.run();
        scene.keeps_forwarding()?;
        scene.take_over()?;
        scene.keeps_forwarding()?;
        feed = traffic.end()?;
        // Nobody has repeated a template: the next daemon knows them.
        feed.options()?;
        feed.send(3)?;
        scene.is_forwarded(&mut feed)?;
    }
    scene.is_complete(&feed)
}

#[test]
fn a_daemon_that_takes_over_loses_nothing_and_knows_all_templates() {
    if available() {
        is_taken_over(Mode::RoundRobin).unwrap();
        is_taken_over(Mode::All).unwrap();
    }
}

/// The templates come once, before any daemon ends: options records need them, to reach everyone.
fn templates_are_known(end: fn(&mut Scene) -> Result<()>) -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    for _ in 0..2 {
        feed.options()?;
        scene.is_forwarded(&mut feed)?;
        end(&mut scene)?;
        scene.more_is_forwarded(&mut feed)?;
        scene.restart()?;
        feed.options()?;
        feed.send(3)?;
        scene.is_forwarded(&mut feed)?;
    }
    scene.is_complete(&feed)
}

#[test]
fn templates_are_known_to_the_next_daemon() {
    if available() {
        templates_are_known(kill).unwrap();
        templates_are_known(terminate).unwrap();
    }
}

/// Several exporters, each with several observation domains: every number goes on.
fn all_domains_go_on() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feeds: Vec<Feed> = (1..=3).map(|domain| scene.open(domain)).collect::<Result<_>>()?;
    scene.setup.wait_until_up()?;
    for feed in &mut feeds {
        scene.is_forwarded(feed)?;
    }
    scene.kill()?;
    feeds.iter_mut().try_for_each(|feed| feed.send(20))?;
    scene.restart()?;
    for feed in &mut feeds {
        feed.templates()?;
        scene.is_forwarded(feed)?;
    }
    for feed in &feeds {
        let domain = feed.flows.domain();
        poll::until_ok(|| {
            let of_feed = |collector: &ipfix_balancer_tests::collector::Collector| {
                let sessions = collector.sessions().into_iter();
                let sessions = sessions.map(|session| decode::session(&session.messages));
                sessions.filter(|one| one.domains.contains_key(&domain)).collect::<Vec<_>>()
            };
            let received: Vec<_> = scene.setup.collectors.iter().flat_map(of_feed).collect();
            ensure!(received.len() == 2, "{} sessions of an exporter", received.len());
            decode::round_robin(&feed.decoded(), &received)
        })?;
    }
    Ok(())
}

#[test]
fn every_session_and_domain_goes_on_after_a_daemon_was_killed() {
    if available() {
        all_domains_go_on().unwrap();
    }
}

/// The session is the daemon's when it is killed: what it had read is lost, and nothing else.
fn killed_while_it_has_the_session(mode: Mode) -> Result<()> {
    let mut scene = Scene::new(mode)?;
    let mut feed = scene.feed(1)?;
    for _ in 0..2 {
        scene.daemon().halt()?;
        feed.templates()?;
        feed.send(5)?;
        scene.kill()?;
        scene.restart()?;
        feed.templates()?;
        let from = feed.sent.len();
        scene.is_forwarded(&mut feed)?;
        feed.send(20)?;
        scene.is_complete_from(&feed, from)?;
    }
    Ok(())
}

#[test]
fn a_daemon_killed_with_a_session_in_its_hands_loses_no_more_than_it_had_read() {
    if available() {
        killed_while_it_has_the_session(Mode::RoundRobin).unwrap();
        killed_while_it_has_the_session(Mode::All).unwrap();
    }
}

/// Installed, and no flow data has come yet: the daemon waits for a message to be marked.
fn killed_before_the_first_mark() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.open(1)?;
    scene.setup.wait_until_up()?;
    scene.more_arrive(0)?;
    poll::wait("the templates arrived", || scene.arrived().iter().all(|count| *count == 1))?;
    scene.kill()?;
    scene.restart()?;
    feed.templates()?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

#[test]
fn a_daemon_killed_before_the_first_flow_data_is_replaced() {
    if available() {
        killed_before_the_first_mark().unwrap();
    }
}

/// Killed at any moment, with templates and options on their way all the time.
fn killed_at_any_moment(mode: Mode) -> Result<()> {
    let mut scene = Scene::new(mode)?;
    let mut feed = scene.feed(1)?;
    for round in 0..6 {
        for step in 0..20 + round * 7 {
            match step % 4 {
                0 => feed.templates()?,
                1 => feed.options()?,
                _ => feed.send(1)?,
            }
        }
        scene.kill()?;
        scene.restart()?;
        // Port unreachable may have come for what was not received any more.
        drop(feed.templates());
        drop(feed.templates());
    }
    feed.templates()?;
    scene.is_forwarded(&mut feed)?;
    let from = feed.sent.len();
    feed.options()?;
    feed.send(50)?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete_from(&feed, from)
}

#[test]
fn a_daemon_killed_at_any_moment_is_replaced() {
    if available() {
        killed_at_any_moment(Mode::RoundRobin).unwrap();
    }
}

#[test]
fn a_daemon_killed_at_any_moment_is_replaced_in_all() {
    if available() {
        killed_at_any_moment(Mode::All).unwrap();
    }
}

/// Destinations change while no daemon runs: the session begins anew at those of now, and nobody else
/// gets anything.
fn the_configuration_changes_meanwhile() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    scene.kill()?;
    let new = [scene.another_collector(0)?, scene.another_collector(1)?];
    let receiver = scene.receiver(Mode::RoundRobin).to(&new);
    scene.daemon().edit(&[receiver])?;
    scene.restart()?;
    feed.templates()?;
    let from = feed.sent.len();
    let before = scene.arrived();
    scene.is_forwarded(&mut feed)?;
    feed.send(20)?;
    ensure!(scene.arrived() == before, "old destinations still get messages");
    scene.setup.collectors = new.into();
    scene.is_complete_from(&feed, from)
}

#[test]
fn destinations_may_change_while_no_daemon_runs() {
    if available() {
        the_configuration_changes_meanwhile().unwrap();
    }
}

/// The mode changes while no daemon runs.
fn the_mode_changes_meanwhile(from: Mode, to: Mode) -> Result<()> {
    let mut scene = Scene::new(from)?;
    let mut feed = scene.feed(1)?;
    scene.kill()?;
    let receiver = scene.receiver(to);
    scene.daemon().edit(&[receiver])?;
    scene.restart()?;
    scene.set_mode(to);
    feed.templates()?;
    let from = feed.sent.len();
    scene.is_forwarded(&mut feed)?;
    feed.send(20)?;
    scene.is_complete_from(&feed, from)?;
    for collector in &scene.setup.collectors {
        let last = collector.sessions().pop().context("no session")?;
        let problems = decode::session(&last.messages).problems;
        ensure!(problems.is_empty(), "{:?}", problems.first());
    }
    Ok(())
}

#[test]
fn the_mode_may_change_while_no_daemon_runs() {
    if available() {
        the_mode_changes_meanwhile(Mode::RoundRobin, Mode::All).unwrap();
        the_mode_changes_meanwhile(Mode::All, Mode::RoundRobin).unwrap();
    }
}

/// The exporter's interface and a collector's swap their names while no daemon runs: programs stay at
/// the interfaces where they are.
fn names_change_meanwhile() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    let mut interfaces = [scene.lab.exporter().peer.clone(), scene.lab.collector(0)?.peer.clone()];
    let links = |scene: &Scene| pinned_links(&pins(&scene.setup.daemon));
    let before = links(&scene)?;
    scene.kill()?;
    for (interface, name) in interfaces.iter_mut().zip(["other", "exp"]) {
        interface.rename(name)?;
        let link = format!("link show dev {name}");
        let is_up =
            || scene.lab.balancer().ip(&link).is_ok_and(|shown| shown.contains(" state UP "));
        poll::wait("carrier", is_up)?;
    }
    scene.restart()?;
    scene.wait_for("xdp at the new name", |now| now.path_reason().contains("xdp on other"))?;
    ensure!(links(&scene)? == before, "{:?} instead of {before:?}", links(&scene));
    feed.templates()?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete(&feed)
}

#[test]
fn interfaces_may_change_their_names_while_no_daemon_runs() {
    if available() {
        names_change_meanwhile().unwrap();
    }
}

/// Without the kernel path in the next daemon nothing of it goes on behind that daemon's back.
fn off_meanwhile() -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    scene.kill()?;
    let receiver = scene.receiver(Mode::RoundRobin).set("ACCEL", "off");
    scene.daemon().edit(&[receiver])?;
    scene.restart()?;
    feed.templates()?;
    let from = feed.sent.len();
    let before = scene.status()?.messages();
    feed.send(20)?;
    scene.wait_for("all has come up", |now| now.messages() >= before + 20)?;
    let pins = pins(&scene.setup.daemon);
    ensure!(!pins.exists(), "{} is still there", pins.display());
    scene.is_complete_from(&feed, from)
}

#[test]
fn a_daemon_without_the_kernel_path_takes_away_what_another_has_left() {
    if available() {
        off_meanwhile().unwrap();
    }
}
