//! The hand-over of a session's state (`common::handover`), in every order of the steps.
//!
//! The real code runs, of the program's side and of the daemon's. Every access to a word, to the state,
//! to the mark and to the socket's queue is a step of its own, and after each step any of them may
//! take the next one: without a bound on how often they alternate. In each order it must be true that
//!
//! - never two at once work on the state or on the mark, and who does finds the last state there;
//! - no message of a domain is processed or sent before one that came earlier and was not lost;
//! - in the end every message was sent once or lost, and the state is what one would have that
//!   processed the messages that were not lost, one after the other;
//! - nobody waits for ever, and then the program forwards again, at the latest after one repair, with
//!   the message after the marked one.
//!
//! The words' accesses have one order, the same for everybody: `Word` demands that. With no two ever
//! at the state at once, no access to it can tell otherwise either.
//!
//! A scenario's situations are remembered, so each is gone on from only once, however many orders lead
//! to it. No bound is needed: the largest scenario has some 200 000.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails is to say where; numbers of what was explored are its result"
)]

mod actors;
mod explore;
mod scenario;
mod steps;
mod world;

use explore::{Explored, explore};
use scenario::{DATA, ELSEWHERE, NEW_DOMAIN, Scenario, TEMPLATE, UNROUTABLE};

/// Explores, and tells how much there was.
fn hold(name: &str, scenario: &Scenario) -> Explored {
    let explored = explore(scenario).unwrap();
    let Explored { situations, steps, ends, orders, .. } = explored;
    println!("{name}: {orders:.2e} orders, {situations} situations, {steps} steps, {ends} ends");
    println!("  {:?}", explored.events);
    explored
}

fn happens(explored: &Explored, events: &[&str]) {
    for event in events {
        assert!(explored.events.contains(event), "never happened: {event}");
    }
}

/// Explores, and expects that something goes wrong.
fn fail(scenario: &Scenario, what: &str) {
    assert_eq!(explore(scenario).unwrap_err().what, what);
}

#[test]
fn nothing_lost() {
    let scenario = Scenario {
        ends_even: true,
        ..Scenario::of(&[DATA, UNROUTABLE, DATA, UNROUTABLE, UNROUTABLE, DATA, DATA, DATA])
    };
    happens(&hold("nothing lost", &scenario), &["forwarded", "given back"]);
}

#[test]
fn a_datagram_lost_on_its_way_up() {
    let scenario =
        Scenario { losses: 1, repairs: 1, ..Scenario::of(&[UNROUTABLE, DATA, DATA, DATA, DATA]) };
    let explored = hold("a datagram lost", &scenario);
    happens(&explored, &["lost", "repaired", "given back", "forwarded after a loss"]);
}

#[test]
fn the_marked_datagram_lost() {
    let scenario =
        Scenario { losses: 2, repairs: 2, ..Scenario::of(&[UNROUTABLE, DATA, DATA, DATA]) };
    let explored = hold("the marked datagram lost", &scenario);
    happens(&explored, &["lost the marked one", "repaired", "forwarded after a loss"]);
}

#[test]
fn a_template_redefined_in_mid_stream() {
    let scenario = Scenario {
        losses: 1,
        repairs: 1,
        ..Scenario::of(&[DATA, TEMPLATE, DATA, TEMPLATE, DATA, DATA])
    };
    happens(&hold("a template redefined", &scenario), &["forwarded", "given back"]);
}

#[test]
fn a_destination_added_meanwhile() {
    let scenario = Scenario {
        changes: true,
        losses: 1,
        repairs: 1,
        ..Scenario::of(&[DATA, TEMPLATE, DATA, DATA])
    };
    happens(&hold("a destination added", &scenario), &["forwarded", "given back"]);
}

#[test]
fn two_cpus_at_once() {
    let scenario = Scenario {
        cpus: vec![vec![0, 1], vec![2, 3]],
        keeps_order: false,
        ends_even: true,
        ..Scenario::of(&[DATA, UNROUTABLE, DATA, DATA])
    };
    happens(&hold("two CPUs", &scenario), &["busy", "forwarded", "given back"]);
}

#[test]
fn two_cpus_at_once_and_a_mark() {
    let scenario = Scenario {
        cpus: vec![vec![0, 1], vec![2]],
        losses: 1,
        repairs: 1,
        ..Scenario::of(&[UNROUTABLE, DATA, DATA])
    };
    let explored = hold("two CPUs and a mark", &scenario);
    happens(&explored, &["busy", "lost", "repaired", "given back"]);
}

/// Datagrams that two CPUs send up may change places on their way. Then a mark tells nothing of those
/// before it; but the state is still only one's at a time, and the program gets it back.
#[test]
fn two_cpus_whose_datagrams_change_places() {
    let mut scenario = Scenario {
        cpus: vec![vec![0, 1], vec![2]],
        changes: true,
        keeps_order: false,
        ..Scenario::of(&[DATA; 3])
    };
    fail(&scenario, "overtook");
    scenario.asserts_order = false;
    happens(&hold("two CPUs, disorder", &scenario), &["busy", "forwarded", "given back"]);
}

#[test]
fn an_uncounted_datagram_among_counted_ones() {
    let messages = [NEW_DOMAIN, DATA, NEW_DOMAIN, DATA, DATA];
    let mut scenario = Scenario::of(&messages);
    happens(&hold("an uncounted datagram", &scenario), &["forwarded", "given back"]);
    scenario.adds_domain_late = true;
    fail(&scenario, "overtook");
}

#[test]
fn datagrams_from_before_the_install() {
    let scenario = Scenario {
        installed: false,
        early: vec![0, 1],
        cpus: vec![vec![2, 3, 4, 5]],
        losses: 1,
        ..Scenario::of(&[DATA; 6])
    };
    let explored = hold("before the install", &scenario);
    happens(&explored, &["lost", "given back", "forwarded"]);
}

#[test]
fn datagrams_over_another_interface() {
    let scenario = Scenario {
        cpus: vec![vec![0, 1, 2], vec![3]],
        repairs: 1,
        ..Scenario::of(&[TEMPLATE, DATA, DATA, ELSEWHERE])
    };
    happens(&hold("another interface", &scenario), &["forwarded", "given back"]);
}

/// A datagram that the daemon takes for counted, and was not, stands for another one. That one may be
/// overtaken; nothing worse.
#[test]
fn more_handled_than_counted() {
    let mut scenario = Scenario {
        cpus: vec![vec![0, 1, 2], vec![3]],
        repairs: 1,
        tells_interfaces: false,
        ..Scenario::of(&[TEMPLATE, DATA, DATA, ELSEWHERE])
    };
    fail(&scenario, "overtook");
    scenario.asserts_order = false;
    happens(&hold("more handled than counted", &scenario), &["forwarded", "given back"]);
}
