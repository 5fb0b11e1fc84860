//! SPEC section 3, RoundRobin: whose turn it is, what everyone gets, which sequence numbers.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::collector::Session;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode::{self, Decoded};
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;
use ipfix_balancer_tests::wire;

/// A session whose destinations are all up before the first flow goes out: templates first, then
/// wait.
fn begin(setup: &Setup, flows: &Flows) -> Result<(Exporter, Vec<Vec<u8>>)> {
    let mut exporter = setup.exporter()?;
    let templates = flows.templates();
    exporter.send(&templates)?;
    setup.wait_until_up()?;
    Ok((exporter, vec![templates]))
}

fn decoded(sessions: &[Session]) -> Vec<Decoded> {
    sessions.iter().map(|session| decode::session(&session.messages)).collect()
}

/// Waits until what was sent has arrived as RoundRobin demands, and gives the sessions.
fn arrived(setup: &Setup, sent: &[Vec<u8>]) -> Result<Vec<Session>> {
    let sent = decode::session(sent);
    poll::until_ok(|| decode::round_robin(&sent, &decoded(&setup.only_sessions()?)))?;
    setup.only_sessions()
}

/// Flow-data messages of a session.
fn turns(session: &Session) -> usize {
    decode::turns(&session.messages).into_iter().filter(|turn| *turn).count()
}

fn rotation_is_exact(input: Protocol, output: Protocol, destinations: usize) -> Result<()> {
    let setup = Setup::new(Mode::RoundRobin, input, output, destinations)?;
    let mut flows = Flows::new(3);
    let (mut exporter, mut sent) = begin(&setup, &flows)?;
    // Not a multiple of any number of destinations, and messages of different sizes.
    let messages: Vec<_> = (0..101).map(|index| flows.data(1 + index % 4)).collect();
    exporter.send_all(&messages)?;
    sent.extend(messages.clone());
    let sessions = arrived(&setup, &sent)?;
    in_turn(&messages, &sessions)
}

/// Message n and message n + d are at the same destination, for d destinations.
fn in_turn(messages: &[Vec<u8>], sessions: &[Session]) -> Result<()> {
    let places: Vec<usize> =
        messages.iter().filter_map(|message| place(message, sessions)).collect();
    ensure!(places.len() == messages.len(), "only {} messages arrived whole", places.len());
    let first: std::collections::BTreeSet<_> = places.iter().take(sessions.len()).collect();
    ensure!(first.len() == sessions.len(), "the first round left somebody out: {places:?}");
    let strictly = places.iter().zip(places.iter().skip(sessions.len())).all(|(a, b)| a == b);
    ensure!(strictly, "not in turn: {places:?}");
    Ok(())
}

fn place(message: &[u8], sessions: &[Session]) -> Option<usize> {
    let message = wire::without_sequence(message);
    sessions.iter().position(|session| {
        session.messages.iter().any(|other| wire::without_sequence(other) == message)
    })
}

#[test]
fn tcp_to_tcp_strictly_in_turn_2() {
    rotation_is_exact(Tcp, Tcp, 2).unwrap();
}

#[test]
fn tcp_to_tcp_strictly_in_turn_5() {
    rotation_is_exact(Tcp, Tcp, 5).unwrap();
}

#[test]
fn tcp_to_udp_strictly_in_turn_3() {
    rotation_is_exact(Tcp, Udp, 3).unwrap();
}

#[test]
fn udp_to_tcp_strictly_in_turn_3() {
    rotation_is_exact(Udp, Tcp, 3).unwrap();
}

#[test]
fn udp_to_udp_strictly_in_turn_5() {
    rotation_is_exact(Udp, Udp, 5).unwrap();
}

fn everyone_gets_templates_and_options(input: Protocol, output: Protocol) -> Result<()> {
    let setup = Setup::new(Mode::RoundRobin, input, output, 3)?;
    let mut flows = Flows::new(9);
    let (mut exporter, mut sent) = begin(&setup, &flows)?;
    for round in 0..30 {
        sent.push(match round % 5 {
            0 => flows.options_data(2),
            1 => flows.mixed(3),
            2 => flows.named_data(2, 300),
            _ => flows.data(2),
        });
    }
    let rest = sent.get(1..).unwrap_or_default();
    exporter.send_all(rest)?;
    let sessions = arrived(&setup, &sent)?;
    // 24 of the 30 are or hold flow data; options alone take no turn.
    let counts: Vec<_> = sessions.iter().map(turns).collect();
    ensure!(counts == [8, 8, 8], "turns: {counts:?}");
    Ok(())
}

#[test]
fn tcp_options_and_mixed_messages_reach_everyone() {
    everyone_gets_templates_and_options(Tcp, Tcp).unwrap();
}

#[test]
fn udp_options_and_mixed_messages_reach_everyone() {
    everyone_gets_templates_and_options(Udp, Udp).unwrap();
}

#[test]
fn a_mixed_message_goes_whole_to_one_and_its_common_sets_to_the_others() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 3).unwrap();
    let mut flows = Flows::new(1);
    let (mut exporter, mut sent) = begin(&setup, &flows).unwrap();
    let mixed = flows.mixed(2);
    exporter.send(&mixed).unwrap();
    sent.push(mixed.clone());
    let sessions = arrived(&setup, &sent).unwrap();
    let whole = sessions.iter().filter(|session| session.messages.contains(&mixed)).count();
    assert_eq!(whole, 1);
    let sets = wire::sets(&mixed).unwrap();
    for session in sessions.iter().filter(|session| !session.messages.contains(&mixed)) {
        let parts: Vec<_> =
            session.messages[1..].iter().flat_map(|part| wire::sets(part).unwrap()).collect();
        assert_eq!(parts, sets[..2], "the template set, then the options data, unchanged");
        let same_time = session.messages[1..].iter().all(|part| part[4..8] == mixed[4..8]);
        assert!(same_time, "the export time is the original's");
    }
}

#[test]
fn several_domains_and_a_wrapping_sequence_number_stay_continuous() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 3).unwrap();
    let mut domains: Vec<_> = (1..=3).map(|id| Flows::new(id).starting_at(u32::MAX - 7)).collect();
    let mut exporter = setup.exporter().unwrap();
    let mut sent: Vec<_> = domains.iter().map(Flows::templates).collect();
    exporter.send_all(&sent).unwrap();
    setup.wait_until_up().unwrap();
    for round in 0..40 {
        let message = domains[round % 3].data(1 + round % 3);
        exporter.send(&message).unwrap();
        sent.push(message);
    }
    arrived(&setup, &sent).unwrap();
}

#[test]
fn a_loss_before_the_balancer_is_one_gap_of_the_right_size() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 3).unwrap();
    let mut flows = Flows::new(1);
    let (mut exporter, mut sent) = begin(&setup, &flows).unwrap();
    for round in 0..30 {
        let message = flows.data(5);
        // Two messages of five records never get to the balancer.
        if round != 10 && round != 11 {
            exporter.send(&message).unwrap();
            sent.push(message);
        }
    }
    let sent = decode::session(&sent);
    let check = || decode::records_once(&sent, &decoded(&setup.only_sessions()?));
    poll::until_ok(check).unwrap();
    let problems: Vec<_> = decoded(&setup.only_sessions().unwrap())
        .into_iter()
        .flat_map(|destination| destination.problems)
        .collect();
    let [decode::Problem::Sequence { expected, found, .. }] = problems[..] else {
        panic!("one gap expected: {problems:?}");
    };
    assert_eq!(found - expected, 10);
}

#[test]
fn withdrawn_and_redefined_templates_are_right_everywhere() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 3).unwrap();
    let mut old = Flows::new(1);
    let (mut exporter, mut sent) = begin(&setup, &old).unwrap();
    sent.extend((0..7).map(|_| old.data(2)));
    sent.push(old.message().withdraw(old.plain()).withdraw_all(true).build());
    // The id of the plain flows now means the flows with a string.
    let mut new = Flows::with_ids(1, 255).starting_at(old.sequence());
    sent.push(new.message().template(new.named()).build());
    sent.extend((0..7).map(|_| new.named_data(2, 9)));
    exporter.send_all(&sent[1..]).unwrap();
    let sessions = arrived(&setup, &sent).unwrap();
    assert!(decoded(&sessions).iter().all(|destination| destination.withdrawals == 2));
}

#[test]
fn a_destination_that_connects_late_gets_only_live_templates_first() {
    let mut setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 2).unwrap();
    setup.collectors[1].stop();
    let mut flows = Flows::new(1);
    let mut exporter = setup.exporter().unwrap();
    let mut sent = vec![flows.templates()];
    exporter.send_all(&sent).unwrap();
    // What comes while it is still being connected waits for it, and is sent besides.
    setup
        .daemon
        .wait_for("FULLFLOW[0]", "a destination is down", |now| {
            now.destinations()[1].state() == "down"
        })
        .unwrap();
    let mut more = vec![flows.options_data(2)];
    more.push(flows.message().withdraw(flows.plain()).build());
    more.extend((0..5).map(|_| flows.named_data(2, 9)));
    exporter.send_all(&more).unwrap();
    sent.extend(more);
    setup.collectors[0].wait_for(sent.len()).unwrap();

    setup.collectors[1].resume().unwrap();
    setup.wait_until_up().unwrap();
    let later: Vec<_> = (0..6).map(|_| flows.named_data(2, 9)).collect();
    exporter.send_all(&later).unwrap();
    sent.extend(later);
    let sent = decode::session(&sent);
    poll::until_ok(|| {
        let destinations = decoded(&setup.only_sessions()?);
        let flows: usize = destinations.iter().map(|one| one.flows().count()).sum();
        ensure!(flows == sent.flows().count(), "{flows} flows");
        Ok(())
    })
    .unwrap();
    let sessions = setup.only_sessions().unwrap();
    let late = decode::session(&sessions[1].messages);
    assert_eq!(late.problems, []);
    assert_eq!(late.options().count(), 2, "the latest options records of the session");
    assert_eq!((late.templates, late.options_templates), (1, 1), "live ones, not the withdrawn");
    assert_eq!(late.flows().count(), 6, "three of the six later messages");
}

/// Templates, options, and turns after an interruption; all flows are somewhere.
fn comes_back(output: Protocol) -> Result<()> {
    let mut setup = Setup::new(Mode::RoundRobin, Tcp, output, 3)?;
    let mut flows = Flows::new(1);
    let (mut exporter, mut sent) = begin(&setup, &flows)?;
    let mut send = |flows: &mut Flows, count: usize| -> Result<()> {
        for _ in 0..count {
            let message = flows.data(2);
            exporter.send(&message)?;
            sent.push(message);
        }
        Ok(())
    };
    send(&mut flows, 6)?;
    ipfix_balancer_tests::collector::wait_for_total(&setup.collectors, 3 + 6)?;
    let Some(second) = setup.collectors.get_mut(1) else { anyhow::bail!("no collector") };
    second.stop();
    let before = second.messages();
    let name = setup.receiver.name();
    // UDP notices only by sending.
    poll::until_ok(|| {
        send(&mut flows, 1)?;
        let receiver = setup.daemon.status()?.receiver(&name)?;
        let states: Vec<_> = receiver.destinations().iter().map(|one| one.state()).collect();
        ensure!(states.get(1).is_some_and(|state| state != "up"), "{states:?}");
        Ok(())
    })?;
    send(&mut flows, 10)?;
    let Some(second) = setup.collectors.get_mut(1) else { anyhow::bail!("no collector") };
    second.resume()?;
    poll::until_ok(|| {
        send(&mut flows, 1)?;
        let receiver = setup.daemon.status()?.receiver(&name)?;
        ensure!(receiver.all_destinations_are("up"), "{receiver:?}");
        Ok(())
    })?;
    send(&mut flows, 9)?;
    let expected = decode::session(&sent);
    let all_flows = |setup: &Setup| -> Vec<Decoded> {
        let sessions = setup.collectors.iter().flat_map(|collector| collector.sessions());
        decoded(&sessions.collect::<Vec<_>>())
    };
    poll::until_ok(|| {
        let received = all_flows(&setup);
        let got = decode::Tally::of(received.iter().flat_map(Decoded::flows));
        let missing = decode::Tally::of(expected.flows()).difference(&got).missing;
        // Over UDP the datagrams that met a closed port are lost, and TCP sends again what was
        // not acknowledged.
        ensure!(missing == 0 || output == Udp, "{missing} missing");
        let back = setup.collectors.get(1).map_or(0, |second| second.messages());
        ensure!(back >= before + 3, "only {back} messages at the one that came back");
        Ok(())
    })?;
    let unknown: usize = all_flows(&setup).iter().map(Decoded::unknown_templates).sum();
    ensure!(unknown == 0, "{unknown} data sets came before their template");
    Ok(())
}

#[test]
fn tcp_a_destination_that_comes_back_gets_templates_first_and_its_turns() {
    comes_back(Tcp).unwrap();
}

#[test]
fn udp_a_destination_that_comes_back_gets_templates_first_and_its_turns() {
    comes_back(Udp).unwrap();
}

#[test]
fn different_sessions_start_at_different_destinations() {
    let setup = Setup::new(Mode::RoundRobin, Udp, Udp, 3).unwrap();
    let mut exporters = Vec::new();
    for _ in 0..6 {
        let mut flows = Flows::new(1);
        let exporter = setup.udp().unwrap();
        exporter.send(&flows.templates()).unwrap();
        exporter.send(&flows.data(1)).unwrap();
        exporters.push(exporter);
    }
    // One message with flows a session: they are spread over the destinations evenly.
    let first = |sessions: &[Session]| sessions.iter().map(turns).sum::<usize>();
    poll::until_ok(|| {
        let counts: Vec<_> = setup.collectors.iter().map(|c| first(&c.sessions())).collect();
        ensure!(counts.iter().sum::<usize>() == 6, "{counts:?}");
        Ok(())
    })
    .unwrap();
    let counts: Vec<_> = setup.collectors.iter().map(|c| first(&c.sessions())).collect();
    assert_eq!(counts, [2, 2, 2]);
    let sources: std::collections::BTreeSet<SocketAddr> =
        setup.collectors[0].sessions().iter().map(|session| session.peer).collect();
    assert_eq!(sources.len(), 6);
}
