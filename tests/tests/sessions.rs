//! SPEC section 3.5: every exporter session has outgoing sessions of its own, for its lifetime.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::collector::Session;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::exporter::{Exporter, Field, Flows, Template};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

/// Exporters that use the same observation domain and template id for different templates.
fn alike(setup: &Setup, exporters: u16) -> Result<Vec<(Exporter, Vec<Vec<u8>>)>> {
    let mut all = Vec::new();
    for index in 0..exporters {
        // The template's one field has another length for each exporter.
        let template = Template::data(256, [Field::iana(96, 4 + index)]);
        let mut flows = Flows::new(1);
        let mut messages = vec![flows.message().template(&template).build()];
        for round in 0..10_u8 {
            let value = [&[round][..], &vec![0xee; usize::from(3 + index)]].concat();
            messages.push(flows.message().data(&template, &[value]).build());
            flows.count(1);
        }
        all.push((setup.exporter()?, messages));
    }
    // Interleaved, message by message.
    for round in 0..11 {
        for (exporter, messages) in &mut all {
            let Some(message) = messages.get(round) else { continue };
            exporter.send(message)?;
        }
    }
    Ok(all)
}

fn peers(sessions: &[Session]) -> BTreeSet<std::net::SocketAddr> {
    sessions.iter().map(|session| session.peer).collect()
}

fn never_meet(input: Protocol, output: Protocol) -> Result<()> {
    let setup = Setup::new(Mode::All, input, output, 2)?;
    let exporters = alike(&setup, 5)?;
    poll::until_ok(|| {
        for collector in &setup.collectors {
            let sessions = collector.sessions();
            ensure!(sessions.len() == exporters.len(), "{} outgoing sessions", sessions.len());
            for (_, messages) in &exporters {
                let its = sessions.iter().filter(|session| session.messages == *messages).count();
                ensure!(its == 1, "{its} sessions brought an exporter's messages");
            }
        }
        Ok(())
    })?;
    for collector in &setup.collectors {
        let sessions = collector.sessions();
        ensure!(peers(&sessions).len() == exporters.len(), "a source port serves two exporters");
    }
    Ok(())
}

#[test]
fn tcp_exporters_with_the_same_ids_never_meet() {
    never_meet(Tcp, Tcp).unwrap();
}

#[test]
fn udp_exporters_with_the_same_ids_never_meet() {
    never_meet(Udp, Udp).unwrap();
}

#[test]
fn tcp_exporters_never_meet_over_udp() {
    never_meet(Tcp, Udp).unwrap();
}

#[test]
fn udp_exporters_never_meet_over_tcp() {
    never_meet(Udp, Tcp).unwrap();
}

#[test]
fn round_robin_sessions_never_meet_either() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 3).unwrap();
    let exporters = alike(&setup, 4).unwrap();
    poll::until_ok(|| {
        let mut flows = 0;
        for collector in &setup.collectors {
            for session in collector.sessions() {
                let decoded = decode::session(&session.messages);
                ensure!(decoded.problems.is_empty(), "{:?}", decoded.problems);
                let layouts: BTreeSet<_> = decoded.records.iter().map(|r| &r.layout).collect();
                ensure!(layouts.len() <= 1, "two exporters' records in one session");
                flows += decoded.flows().count();
            }
        }
        ensure!(flows == exporters.len() * 10, "{flows} flows");
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_end_of_a_tcp_session_ends_its_outgoing_connections_only() {
    let setup = Setup::new(Mode::All, Tcp, Tcp, 3).unwrap();
    let (mut one, mut two) = (setup.tcp().unwrap(), setup.tcp().unwrap());
    let messages = Flows::new(1).session(20, 5);
    one.send_all(&messages).unwrap();
    two.send_all(&messages).unwrap();
    one.finish().unwrap();
    for collector in &setup.collectors {
        poll::wait("one outgoing connection ended", || {
            collector.session_count() == 2 && collector.open_sessions() == 1
        })
        .unwrap();
        let sessions = collector.sessions();
        let ended = sessions.iter().find(|session| !session.open).unwrap();
        assert_eq!(ended.messages, messages, "everything was sent before the end");
        assert!(ended.rest.is_empty());
    }
    two.send(&Flows::new(2).data(1)).unwrap();
    poll::wait("the other session goes on", || {
        setup.collectors.iter().all(|collector| collector.messages() == 2 * messages.len() + 1)
    })
    .unwrap();
}

#[test]
fn a_session_that_ends_before_its_collector_is_there_is_delivered_all_the_same() {
    let mut setup = Setup::new(Mode::All, Tcp, Tcp, 2).unwrap();
    setup.collectors[1].stop();
    let messages = Flows::new(1).session(50, 5);
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&messages).unwrap();
    drop(exporter);
    setup.collectors[0].wait_for(messages.len()).unwrap();
    setup.collectors[1].resume().unwrap();
    setup.collectors[1].wait_for(messages.len()).unwrap();
    assert_eq!(setup.collectors[1].sessions()[0].messages, messages);
}
