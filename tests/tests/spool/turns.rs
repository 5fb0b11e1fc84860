//! RoundRobin with every destination away.

use std::time::Duration;

use ipfix_balancer_tests::collector::{self, Collector};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::poll;

use crate::scene::{MANY, all_away, decoded, large, segments};

#[test]
fn messages_without_a_turn_wait_on_disk_and_are_spread_when_collectors_return() {
    let mut setup = all_away(Mode::RoundRobin, 3, |it| it).unwrap();
    let name = setup.receiver.name();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    setup
        .daemon
        .wait_for(&name, "they are on disk", |now| now.spooled("messages") == MANY as u64)
        .unwrap();
    assert!(!segments(&setup.daemon.spool()).is_empty());
    for collector in &mut setup.collectors {
        collector.resume().unwrap();
    }
    // Whoever is back first may have taken all that waited.
    setup.daemon.wait_for(&name, "all are up", |now| now.all_destinations_are("up")).unwrap();
    let newer = large(&mut flows, 30);
    exporter.send_all(&newer).unwrap();
    let templates = setup.collectors.len();
    collector::wait_for_total(&setup.collectors, MANY + newer.len() + templates).unwrap();
    let per_collector = |collector: &Collector| {
        let sessions = decoded(collector).unwrap();
        assert_eq!(sessions[0].problems, []);
        sessions[0].flows().count()
    };
    let counts: Vec<_> = setup.collectors.iter().map(per_collector).collect();
    assert_eq!(counts.iter().sum::<usize>(), (MANY + newer.len()) * 728);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    poll::wait("the spool is empty", || segments(&setup.daemon.spool()).is_empty()).unwrap();
    assert_eq!(setup.dropped().unwrap(), 0);
}

#[test]
fn what_a_full_spool_drops_is_a_gap_at_one_collector() {
    let mut setup = all_away(Mode::RoundRobin, 2, |it| it.set("SPOOL_MAX_MB", 4)).unwrap();
    let name = setup.receiver.name();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    setup
        .daemon
        .wait_for(&name, "all has come", |now| now.messages() == sent.len() as u64)
        .unwrap();
    let daemon = &setup.daemon;
    let dropped = || {
        let now = daemon.status().unwrap().receiver(&name).unwrap();
        usize::try_from(now.dropped("spool_full")).unwrap()
    };
    poll::wait("the oldest are dropped", || dropped() > 0).unwrap();
    let lost = poll::settled(Duration::from_secs(1), dropped).unwrap();
    for collector in &mut setup.collectors {
        collector.resume().unwrap();
    }
    daemon.wait_for(&name, "all are up", |now| now.all_destinations_are("up")).unwrap();
    let arrived = || -> usize {
        let flows = |one: &Collector| -> usize {
            decoded(one).unwrap().iter().map(|session| session.flows().count()).sum()
        };
        setup.collectors.iter().map(flows).sum()
    };
    poll::wait("the rest", || arrived() >= (MANY - lost) * 728).unwrap();
    assert_eq!(arrived(), (MANY - lost) * 728);
    let last = [flows.data(1), flows.data(1)];
    exporter.send_all(&last).unwrap();
    let ends = |one: &Collector| {
        let sessions = decoded(one).unwrap();
        let header = |message: &Vec<u8>| u32::from_be_bytes(message[8..12].try_into().unwrap());
        let number = one.sessions().first().and_then(|one| one.messages.last().map(header));
        (sessions.first().map(|one| one.gaps()), number.unwrap_or(0))
    };
    poll::wait("the numbers add up, what was lost included", || {
        let sum: u32 = setup.collectors.iter().map(|one| ends(one).1).sum();
        usize::try_from(sum).is_ok_and(|sum| sum == MANY * 728 + 1 || sum == MANY * 728)
    })
    .map_err(|e| e.context(format!("{:?}", setup.collectors.iter().map(ends).collect::<Vec<_>>())))
    .unwrap();
}
