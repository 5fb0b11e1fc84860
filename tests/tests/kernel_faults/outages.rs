//! A UDP destination goes and comes back, in the kernel path and in userspace: the others get its turns
//! from its first error on, and all that it gets afterwards can be decoded.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Session;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode::{self, Record};
use ipfix_balancer_tests::lab::{Family, available};
use ipfix_balancer_tests::poll;

use super::scene::{Feed, Scene};

/// How long after the first loss another one may come: 100 ms, and what a busy machine takes longer.
const WINDOW: Duration = Duration::from_millis(500);

/// RoundRobin in the kernel path, or in userspace.
fn scene(family: Family, accel: &str) -> Result<Scene> {
    let mut scene = Scene::over(family, Mode::RoundRobin)?;
    if accel == "off" {
        scene.apply(scene.receiver(Mode::RoundRobin).set("ACCEL", accel))?;
    }
    Ok(scene)
}

/// Messages of flow data, with the time at which each was sent.
struct Timed {
    feed: Feed,
    sent: Vec<(Instant, Record)>,
}

impl Timed {
    /// An exporter session whose messages both destinations get, in the kernel path if there is one.
    fn begin(scene: &Scene, accel: &str, domain: u32) -> Result<Self> {
        let mut feed = scene.open(domain)?;
        scene.setup.wait_until_up()?;
        if accel != "off" {
            scene.is_forwarded(&mut feed)?;
        }
        feed.options()?;
        Ok(Self { feed, sent: Vec::new() })
    }

    fn send(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let before = self.feed.sent.len();
            self.feed.records = 1;
            let at = Instant::now();
            self.feed.send(1)?;
            let whole = decode::session([&self.feed.sent[0], &self.feed.sent[before]]);
            self.sent.push((at, whole.flows().next().context("no record")?.clone()));
        }
        Ok(())
    }

    /// When each message was sent that has arrived nowhere, once all the others are there.
    fn lost(&self, scene: &Scene) -> Result<Vec<Instant>> {
        let missing = || {
            let sessions = scene.setup.collectors.iter().flat_map(|collector| collector.sessions());
            // Templates of a session that was closed meanwhile are still good to compare by.
            let first = std::iter::once(self.feed.sent[0].clone());
            let records: HashSet<Record> = sessions
                .flat_map(|one| decode::session(first.clone().chain(one.messages)).records)
                .collect();
            let missing = self.sent.iter().filter(|(_, record)| !records.contains(record));
            missing.map(|(at, _)| *at).collect::<Vec<_>>()
        };
        poll::settled(Duration::from_millis(300), || missing().len())?;
        Ok(missing())
    }
}

/// What was lost was lost at once, and nothing later.
fn only_at_first(lost: &[Instant]) -> Result<()> {
    let (Some(first), Some(last)) = (lost.first(), lost.last()) else { return Ok(()) };
    let took = last.duration_since(*first);
    ensure!(took < WINDOW, "{} messages were lost within {took:?}", lost.len());
    Ok(())
}

/// What the first collector has got since it came back can be decoded, with options and right numbers.
fn is_decodable(scene: &Scene, sessions_before: usize) -> Result<()> {
    let sessions = scene.collector(0)?.sessions();
    ensure!(sessions.len() > sessions_before, "nothing has come since");
    for session in sessions.iter().skip(sessions_before) {
        let decoded = decode::session(&session.messages);
        ensure!(decoded.problems.is_empty(), "{:?}", decoded.problems);
        if decoded.flows().count() > 0 {
            ensure!(decoded.options().count() > 0, "no options record came first");
            ensure!(
                decoded.records.first().is_some_and(Record::is_options),
                "flow data came first"
            );
        }
    }
    Ok(())
}

fn a_port_is_closed_and_opened_again(family: Family, accel: &str) -> Result<()> {
    let mut scene = scene(family, accel)?;
    let (mut one, mut two) = (Timed::begin(&scene, accel, 1)?, Timed::begin(&scene, accel, 2)?);
    scene.close(0)?;
    poll::until_ok(|| {
        one.send(2)?;
        ensure!(scene.first_is_down()?, "it is up");
        Ok(())
    })?;
    // The other session has not lost anything to see it, nor does any while the port stays closed,
    // whatever is done to find out about it.
    let down = Instant::now();
    while down.elapsed() < Duration::from_secs(3) {
        one.send(5)?;
        two.send(5)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    only_at_first(&one.lost(&scene)?)?;
    ensure!(two.lost(&scene)?.is_empty(), "the other session has lost messages");

    let before = scene.collector(0)?.session_count();
    scene.reopen(0)?;
    let losses = (one.lost(&scene)?.len(), two.lost(&scene)?.len());
    poll::until_ok(|| {
        one.send(4)?;
        two.send(4)?;
        let back = scene.collector(0)?.sessions().split_off(before);
        let has_flows = |session: &&Session| decode::session(&session.messages).flows().count() > 0;
        let count = back.iter().filter(has_flows).count();
        ensure!(count == 2, "{count} sessions have come back");
        Ok(())
    })?;
    one.send(40)?;
    two.send(40)?;
    ensure!((one.lost(&scene)?.len(), two.lost(&scene)?.len()) == losses, "some were lost later");
    is_decodable(&scene, before)?;
    if accel != "off" {
        scene.is_forwarded(&mut one.feed)?;
    }
    Ok(())
}

#[test]
fn a_closed_port_costs_the_turns_until_its_first_error_in_the_kernel_path() {
    if available() {
        for family in Family::BOTH {
            a_port_is_closed_and_opened_again(family, "auto").unwrap();
        }
    }
}

#[test]
fn a_closed_port_costs_the_turns_until_its_first_error_in_userspace() {
    if available() {
        for family in Family::BOTH {
            a_port_is_closed_and_opened_again(family, "off").unwrap();
        }
    }
}

/// The collector's host has another address: nobody answers for the old one any more.
fn a_neighbour_goes_and_comes_back(family: Family, accel: &str) -> Result<()> {
    let scene = scene(family, accel)?;
    let mut one = Timed::begin(&scene, accel, 1)?;
    let site = scene.lab.collector(0)?;
    let address = match family {
        Family::V4 => format!("{}/24", site.ip(family)),
        Family::V6 => format!("{}/64", site.ip(family)),
    };
    site.namespace.ip(&format!("address delete {address} dev eth0"))?;
    site.peer.delete_neighbour(site.ip(family))?;
    poll::until_ok(|| {
        one.send(2)?;
        ensure!(scene.first_is_down()?, "it is up");
        Ok(())
    })?;
    let from = one.sent.len();
    let down = Instant::now();
    // Longer than it takes to find out that nobody answers still.
    while down.elapsed() < Duration::from_secs(6) {
        one.send(5)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let begun = one.sent.get(from).context("nothing sent")?.0;
    let late = one.lost(&scene)?.into_iter().filter(|at| *at > begun + WINDOW).count();
    ensure!(late == 0, "{late} messages were lost after the first error");

    let nodad = if family == Family::V6 { " nodad" } else { "" };
    site.namespace.ip(&format!("address add {address} dev eth0{nodad}"))?;
    let (arrived, losses) = (scene.collector(0)?.messages(), one.lost(&scene)?.len());
    poll::until(Duration::from_secs(30), "it has its turns again", || {
        one.send(10).ok()?;
        (scene.collector(0).ok()?.messages() >= arrived + 10).then_some(())
    })?;
    one.send(40)?;
    ensure!(one.lost(&scene)?.len() == losses, "some were lost after its return");
    let decoded = decode::session(&scene.setup.only_sessions()?[0].messages);
    ensure!(decoded.unknown_templates() == 0, "{:?}", decoded.problems);
    if accel != "off" {
        scene.is_forwarded(&mut one.feed)?;
    }
    Ok(())
}

#[test]
fn a_neighbour_that_does_not_answer_is_passed_over_in_the_kernel_path() {
    if available() {
        for family in Family::BOTH {
            a_neighbour_goes_and_comes_back(family, "auto").unwrap();
        }
    }
}

#[test]
fn a_neighbour_that_does_not_answer_is_passed_over_in_userspace() {
    if available() {
        for family in Family::BOTH {
            a_neighbour_goes_and_comes_back(family, "off").unwrap();
        }
    }
}

/// Datagrams that wait for a host: more than the kernel keeps while it looks for the host's address
/// (`net.ipv4.neigh.default.unres_qlen_bytes`). The others it throws away, and tells nobody.
const MANY: usize = 1500;

/// A link is back, and the host behind it does not tell its address at once.
#[test]
fn what_waits_for_a_host_waits_until_its_address_is_known() {
    if !available() {
        return;
    }
    let mut scene = Scene::over(Family::V4, Mode::All).unwrap();
    scene.apply(scene.receiver(Mode::All).set("ACCEL", "off")).unwrap();
    let mut feed = scene.open(1).unwrap();
    scene.setup.wait_until_up().unwrap();
    let site = scene.lab.collector(0).unwrap();
    site.peer.down().unwrap();
    poll::until_ok(|| {
        feed.send(1)?;
        ensure!(scene.first_is_down()?, "it is up");
        Ok(())
    })
    .unwrap();
    let from = feed.sent.len();
    feed.send(MANY).unwrap();
    site.interface.answer(false).unwrap();
    site.peer.up().unwrap();
    let asked = format!("-s neigh show dev {}", site.peer.name());
    poll::wait("the kernel has asked for the address twice", || {
        let shown = scene.lab.balancer().ip(&asked).unwrap_or_default();
        ["probes 2", "probes 3", "FAILED"].iter().any(|state| shown.contains(state))
    })
    .unwrap();
    site.interface.answer(true).unwrap();
    scene.is_complete_from(&feed, from).unwrap();
}
