//! What waits survives the daemon.

use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use nix::sys::signal::Signal;

use crate::scene::{
    MANY, all_away, decoded, large, one_away, segments, wait_for_spooled, wait_until_empty,
};

#[test]
fn a_stop_spools_the_little_that_waits_and_the_next_start_sends_it() {
    let mut setup = one_away(Mode::All, (Tcp, Tcp), |it| it).unwrap();
    let sent = Flows::new(1).session(50, 5);
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    setup.collectors[0].wait_for(sent.len()).unwrap();
    setup.daemon.signal(Signal::SIGTERM).unwrap();
    assert!(setup.daemon.wait_for_exit().unwrap().success());
    assert_eq!(segments(&setup.daemon.spool()).len(), 1);
    setup.daemon.restart().unwrap();
    wait_for_spooled(&setup, 1, sent.len()).unwrap();
    setup.collectors[1].resume().unwrap();
    setup.collectors[1].wait_for(sent.len()).unwrap();
    wait_until_empty(&setup, 1).unwrap();
    let sessions = decoded(&setup.collectors[1]).unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].problems, []);
    assert_eq!(setup.collectors[0].messages(), sent.len(), "it had all of it");
}

#[test]
fn a_stop_spools_what_follows_the_spool() {
    let mut setup = one_away(Mode::All, (Tcp, Tcp), |it| it).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    setup.collectors[0].wait_for(sent.len()).unwrap();
    setup.daemon.signal(Signal::SIGTERM).unwrap();
    assert!(setup.daemon.wait_for_exit().unwrap().success());
    setup.daemon.restart().unwrap();
    wait_for_spooled(&setup, 1, sent.len()).unwrap();
    // A session of its own does not wait.
    let mut newer = Flows::new(2);
    let others = newer.session(10, 1);
    setup.collectors[1].resume().unwrap();
    let mut second = setup.tcp().unwrap();
    second.send_all(&others).unwrap();
    setup.collectors[1].wait_for(sent.len() + others.len()).unwrap();
    wait_until_empty(&setup, 1).unwrap();
    let sessions = setup.collectors[1].sessions();
    assert_eq!(sessions.len(), 2);
    assert!(sessions.iter().any(|session| session.messages == others));
    let first = sessions.iter().find(|session| session.messages != others).unwrap();
    assert!(first.messages.ends_with(&sent[1..]), "in order, behind the templates");
    for session in decoded(&setup.collectors[1]).unwrap() {
        assert_eq!(session.problems, []);
    }
}

#[test]
fn round_robin_messages_without_a_turn_get_it_after_the_restart() {
    let mut setup = all_away(Mode::RoundRobin, 2, |it| it).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    exporter.finish().unwrap();
    setup
        .daemon
        .wait_for(&setup.receiver.name(), "all has come", |now| now.messages() == sent.len() as u64)
        .unwrap();
    setup.daemon.signal(Signal::SIGTERM).unwrap();
    assert!(setup.daemon.wait_for_exit().unwrap().success());
    setup.daemon.restart().unwrap();
    for collector in &mut setup.collectors {
        collector.resume().unwrap();
    }
    ipfix_balancer_tests::collector::wait_for_total(&setup.collectors, MANY + 2).unwrap();
    let mut flows = 0;
    for collector in &setup.collectors {
        for session in decoded(collector).unwrap() {
            assert_eq!(session.problems, []);
            flows += session.flows().count();
        }
    }
    assert_eq!(flows, MANY * 728);
    wait_until_empty(&setup, 0).unwrap();
}
