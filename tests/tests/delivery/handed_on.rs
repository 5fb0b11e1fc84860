//! RoundRobin: what a collector was given and had not acknowledged, or read, when it failed is handed to
//! the others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::collector::{Manners, Reading};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

use super::scene::{FAST, Load, MODERATE, SLOW, each_somewhere};
use super::silent::HOST_GONE;

/// Messages between two events.
const A_WHILE: usize = 2_000;
const GOOD: Manners = Manners { reading: Reading::Normal, talks_back: false, counts_only: false };
const NEVER: Manners = Manners { reading: Reading::Never, ..GOOD };

fn all_arrive(setup: &Setup, sent: &[Vec<u8>]) -> Result<usize> {
    let mut again = 0;
    poll::until_ok(|| {
        again = each_somewhere(sent, &setup.collectors)?;
        Ok(())
    })
    .with_context(|| format!("{:?}", setup.daemon.status()))?;
    ensure!(setup.dropped()? == 0, "some were dropped");
    Ok(again)
}

/// What the first destination's messages have come to: handed to others, in all.
fn handed_on(setup: &Setup) -> Result<u64> {
    let receiver = setup.daemon.status()?.receiver(&setup.receiver.name())?;
    Ok(receiver.destinations().first().context("no destination")?.handed_on())
}

/// Kills the first collector under load, for good.
fn killed_for_good(manners: &[Manners], pause: Duration) -> Result<Setup> {
    let mut setup = Setup::mannered(Mode::RoundRobin, Tcp, Tcp, manners)?;
    let load = Load::start(setup.tcp()?, pause);
    setup.wait_until_up()?;
    load.wait_for(A_WHILE)?;
    setup.collectors[0].stop();
    load.wait_for(A_WHILE)?;
    let sent = load.finish()?;
    all_arrive(&setup, &sent)?;
    Ok(setup)
}

#[test]
fn the_others_get_what_a_collector_had_not_read_when_it_was_killed() {
    let setup = killed_for_good(&[NEVER, GOOD, GOOD], MODERATE).unwrap();
    assert!(handed_on(&setup).unwrap() > 0);
}

#[test]
fn one_that_is_left_gets_everything() {
    let setup = killed_for_good(&[NEVER, GOOD], MODERATE).unwrap();
    assert!(handed_on(&setup).unwrap() > 0);
}

#[test]
fn nothing_is_lost_with_a_collector_that_reads() {
    killed_for_good(&[GOOD, GOOD], FAST).unwrap();
}

#[test]
fn collectors_that_are_killed_and_return_cost_no_message() {
    let mut setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 3).unwrap();
    let load = Load::start(setup.tcp().unwrap(), FAST);
    setup.wait_until_up().unwrap();
    for round in 0..6 {
        let one = round % 3;
        load.wait_for(A_WHILE).unwrap();
        setup.collectors[one].stop();
        load.wait_for(A_WHILE).unwrap();
        let sessions = setup.collectors[one].session_count();
        setup.collectors[one].resume().unwrap();
        poll::wait("connected again", || setup.collectors[one].session_count() > sessions).unwrap();
    }
    load.wait_for(A_WHILE).unwrap();
    let sent = load.finish().unwrap();
    all_arrive(&setup, &sent).unwrap();
}

/// The last message's records nobody tells then: they have to be counted.
#[test]
fn an_exporter_that_is_silent_loses_nothing_either() {
    let mut setup = Setup::mannered(Mode::RoundRobin, Tcp, Tcp, &[NEVER, GOOD]).unwrap();
    let mut flows = Flows::new(1);
    let mut exporter = setup.tcp().unwrap();
    let mut sent = vec![flows.templates()];
    exporter.send_all(&sent).unwrap();
    setup.wait_until_up().unwrap();
    // Whoever has the last one.
    for count in [200, 201] {
        let more: Vec<_> = (0..count).map(|_| flows.data(30)).collect();
        exporter.send_all(&more).unwrap();
        sent.extend(more);
        let written = || -> Result<u64> {
            let receiver = setup.daemon.status()?.receiver(&setup.receiver.name())?;
            let messages = receiver.destinations().iter().map(|one| one.messages()).sum::<u64>();
            Ok(messages - handed_on(&setup)?)
        };
        poll::wait("it was given its turns", || written().is_ok_and(|n| n > sent.len() as u64))
            .unwrap();
        setup.collectors[0].stop();
        all_arrive(&setup, &sent).unwrap();
        setup.collectors[0].resume().unwrap();
        setup.wait_until_up().unwrap();
    }
}

#[test]
fn a_host_that_vanishes_costs_no_message() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    let setup = Setup::in_lab(&lab, Mode::RoundRobin, (Tcp, Tcp), Family::V4).unwrap();
    let load = Load::start(lab.exporter().run(|| setup.tcp()).unwrap(), SLOW);
    setup.wait_until_up().unwrap();
    load.wait_for(500).unwrap();
    (HOST_GONE.begin)(&lab).unwrap();
    poll::wait("it is noticed, and others get it", || handed_on(&setup).is_ok_and(|n| n > 0))
        .unwrap();
    let sent = load.finish().unwrap();
    all_arrive(&setup, &sent).unwrap();
}
