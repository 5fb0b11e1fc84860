//! SPEC section 8: what exporters send wrong, and what becomes of it and of the rest.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::corpus::{self, Expect};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::{Field, Flows, Message, Template};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;
use ipfix_balancer_tests::wire::VARIABLE;

fn tcp() -> Result<Setup> {
    Setup::new(Mode::All, Tcp, Tcp, 1)
}

fn udp() -> Result<Setup> {
    Setup::new(Mode::All, Udp, Udp, 1)
}

/// Messages whose framing is right and whose content does not add up.
fn faulty() -> Vec<(&'static str, Vec<u8>)> {
    let cut_template = [1, 0, 0, 2, 0, 8, 0, 4];
    vec![
        (
            "a set longer than the message",
            Message::new(1, 0).set_claiming(256, 60, &[0; 8]).build(),
        ),
        ("a set shorter than its header", Message::new(1, 0).set_claiming(256, 3, &[0; 8]).build()),
        ("half a set header", [&Message::new(1, 0).length(18).build()[..], &[1, 0]].concat()),
        ("a template longer than its set", Message::new(1, 0).set(2, &cut_template).build()),
    ]
}

/// The session of the exporter at `address` brought exactly these messages.
fn brought(setup: &Setup, index: usize, messages: &[Vec<u8>]) -> Result<()> {
    poll::until_ok(|| {
        let sessions = setup.collectors.first().context("no collector")?.sessions();
        let got = sessions.get(index).map(|session| session.messages.clone()).unwrap_or_default();
        ensure!(got == messages, "session {index} brought {} of {}", got.len(), messages.len());
        Ok(())
    })
}

fn framing_is_lost_by(bad: &[u8]) -> Result<()> {
    let setup = tcp()?;
    let (mut flows, mut others) = (Flows::new(1), Flows::new(2));
    let (mut exporter, good) = (setup.tcp()?, flows.session(5, 3));
    exporter.send_all(&good)?;
    brought(&setup, 0, &good)?;
    let mut bystander = setup.tcp()?;
    let mut before = others.session(2, 3);
    bystander.send_all(&before)?;
    brought(&setup, 1, &before)?;

    // In one write: whole messages right before the fault, and right after it.
    let last = flows.data(4);
    exporter.send(&[&last[..], bad, &flows.data(1)[..]].concat())?;
    ensure!(exporter.is_closed_within(poll::PATIENCE)?, "the connection is still open");
    let all = [&good[..], &[last]].concat();
    brought(&setup, 0, &all)?;
    setup.wait_for_drops("framing_lost", 1)?;
    let peer: SocketAddr = exporter.address()?;
    setup.daemon.wait_for_log(&[&peer.to_string()])?;

    before.push(others.data(3));
    bystander.send(before.last().context("empty")?)?;
    brought(&setup, 1, &before)
}

#[test]
fn tcp_another_version_closes_this_connection_only() {
    framing_is_lost_by(&Message::new(1, 0).version(9).build()).unwrap();
}

#[test]
fn tcp_a_length_below_16_closes_this_connection_only() {
    framing_is_lost_by(&Message::new(1, 0).length(15).build()).unwrap();
}

#[test]
fn tcp_text_closes_this_connection_only() {
    framing_is_lost_by(b"GET / HTTP/1.1\r\n\r\n").unwrap();
}

#[test]
fn tcp_what_does_not_add_up_is_dropped_and_counted() {
    for (what, bad) in faulty() {
        let setup = tcp().unwrap();
        let mut flows = Flows::new(1);
        let mut good = flows.session(1, 3);
        let mut exporter = setup.tcp().unwrap();
        exporter.send_all(&good).unwrap();
        exporter.send(&bad).unwrap();
        good.push(flows.data(3));
        exporter.send(good.last().unwrap()).unwrap();
        brought(&setup, 0, &good).context(what).unwrap();
        setup.wait_for_drops("malformed", 1).unwrap();
        assert_eq!(setup.dropped().unwrap(), 1, "{what}");
    }
}

#[test]
fn tcp_a_value_that_overruns_its_set_is_passed_on_or_dropped_never_fatal() {
    let setup = tcp().unwrap();
    let template = Template::data(300, [Field::iana(96, VARIABLE)]);
    let messages = [
        Message::new(1, 0).template(&template).build(),
        Message::new(1, 0).set(300, &[200, b'a', b'b', b'c']).build(),
        Message::new(1, 1).data(&template, &[vec![1, b'a']]).build(),
    ];
    setup.tcp().unwrap().send_all(&messages).unwrap();
    poll::until_ok(|| {
        let arrived = setup.first_session()?.messages;
        ensure!(arrived.last() == messages.last(), "{} messages arrived", arrived.len());
        Ok(())
    })
    .unwrap();
}

#[test]
fn tcp_eight_in_a_row_close_the_connection() {
    let setup = tcp().unwrap();
    let mut flows = Flows::new(1);
    let mut good = flows.session(1, 1);
    let (_, bad) = faulty().remove(0);
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&good).unwrap();
    // Seven, then a right one: the row begins anew.
    exporter.send(&bad.repeat(7)).unwrap();
    good.push(flows.data(2));
    exporter.send(good.last().unwrap()).unwrap();
    brought(&setup, 0, &good).unwrap();
    exporter.send(&bad.repeat(7)).unwrap();
    setup.wait_for_drops("malformed", 14).unwrap();
    exporter.send(&bad).unwrap();
    assert!(exporter.is_closed_within(poll::PATIENCE).unwrap());
    brought(&setup, 0, &good).unwrap();
    setup.wait_for_drops("malformed_row", 1).unwrap();
}

#[test]
fn tcp_half_a_message_at_the_end_is_never_passed_on() {
    let setup = tcp().unwrap();
    let mut flows = Flows::new(1);
    let good = flows.session(2, 2);
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&good).unwrap();
    exporter.send(&flows.data(5)[..100]).unwrap();
    exporter.finish().unwrap();
    setup.wait_for_drops("truncated", 1).unwrap();
    setup.collectors[0].wait_for_end_of(1).unwrap();
    let session = setup.first_session().unwrap();
    assert_eq!(session.messages, good);
    assert!(session.rest.is_empty());
}

/// Legal, and often taken for an error.
fn unusual() -> Vec<Vec<u8>> {
    let mut flows = Flows::new(1);
    let templates = flows.templates();
    let record = flows.plain_records(1).concat();
    let unknown_template = Message::new(1, 2).set(999, &[1, 2, 3]).build();
    let padded = |padding: &[u8], flows: &mut Flows| {
        let set = [&record[..], padding].concat();
        let message = flows.message().set(flows.plain().id, &set).build();
        flows.count(1);
        message
    };
    let (zeros, others) = (padded(&[0; 3], &mut flows), padded(&[1, 2, 3], &mut flows));
    let header_only = flows.message().build();
    let empty_set = flows.message().set(flows.plain().id, &[]).build();
    vec![templates, zeros, others, unknown_template, header_only, empty_set]
}

#[test]
fn tcp_padding_bare_headers_and_unknown_templates_are_passed_on() {
    let setup = tcp().unwrap();
    let messages = unusual();
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&messages).unwrap();
    brought(&setup, 0, &messages).unwrap();
    assert_eq!(setup.dropped().unwrap(), 0);
}

#[test]
fn udp_padding_bare_headers_and_unknown_templates_are_passed_on() {
    let setup = udp().unwrap();
    let messages = unusual();
    setup.exporter().unwrap().send_all(&messages).unwrap();
    brought(&setup, 0, &messages).unwrap();
    assert_eq!(setup.dropped().unwrap(), 0);
}

#[test]
fn udp_a_faulty_datagram_is_dropped_and_the_session_kept() {
    let setup = udp().unwrap();
    let mut flows = Flows::new(1);
    let mut good = flows.session(1, 3);
    let mut exporter = setup.exporter().unwrap();
    exporter.send_all(&good).unwrap();
    let mut bad: Vec<_> = faulty().into_iter().map(|(_, bad)| bad).collect();
    bad.push(Message::new(1, 0).version(11).build());
    bad.push(Message::new(1, 0).length(12).build());
    bad.push(Message::new(1, 0).length(17).build());
    bad.push([&Flows::new(1).data(1)[..], &[0]].concat());
    bad.push([Flows::new(1).data(1), faulty().remove(0).1].concat());
    bad.push(vec![0, 10]);
    // Far more than eight in a row: the rule of the row is for TCP.
    let bad: Vec<_> = bad.iter().cycle().take(3 * bad.len()).collect();
    exporter.send_all(&bad).unwrap();
    good.push(flows.data(2));
    exporter.send(good.last().unwrap()).unwrap();
    brought(&setup, 0, &good).unwrap();
    assert_eq!(setup.collectors[0].session_count(), 1);
    assert_eq!(setup.dropped().unwrap(), u64::try_from(bad.len()).unwrap());
}

#[test]
fn udp_several_messages_in_a_datagram_all_arrive() {
    let setup = udp().unwrap();
    let messages = Flows::new(1).session(4, 2);
    setup.udp().unwrap().send(&messages.concat()).unwrap();
    brought(&setup, 0, &messages).unwrap();
}

#[test]
fn udp_netflow_5_and_9_are_named_in_the_log() {
    let setup = udp().unwrap();
    let exporter = setup.udp().unwrap();
    for (path, reason, name) in [
        ("netflow5_test_juniper_mx80.dat", "netflow_v5", "version 5"),
        ("netflow9_cisco_asr1001x_tpl259.dat", "netflow_v9", "version 9"),
    ] {
        let file = corpus::file_named(&format!("logstash-codec-netflow/{path}")).unwrap();
        exporter.send(&file.messages[0]).unwrap();
        setup.wait_for_drops(reason, 1).unwrap();
        let peer = exporter.address().unwrap();
        setup.daemon.wait_for_log(&["NetFlow", name, &peer.to_string()]).unwrap();
    }
    assert_eq!(setup.collectors[0].messages(), 0);
}

#[test]
fn corpus_over_tcp_nothing_faulty_arrives_and_others_are_unaffected() {
    let setup = tcp().unwrap();
    let faulty: Vec<_> =
        corpus::load().unwrap().into_iter().filter(|file| !file.is_valid()).collect();
    for (index, file) in faulty.iter().enumerate() {
        let mut exporter = setup.tcp().unwrap();
        exporter.send(&file.stream()).unwrap();
        // It fails where the framing is lost: the daemon has closed the connection already.
        let _ = exporter.finish();
        let total = u64::try_from(index).unwrap() + 1;
        let dropped = || setup.dropped().is_ok_and(|dropped| dropped >= total);
        poll::wait(&format!("{} is counted", file.path), dropped).unwrap();
    }
    let good = Flows::new(1).session(3, 3);
    setup.tcp().unwrap().send_all(&good).unwrap();
    setup.collectors[0].wait_for(good.len()).unwrap();
    assert_eq!(setup.collectors[0].messages(), good.len());
}

#[test]
fn corpus_over_udp_faulty_datagrams_are_dropped_one_by_one() {
    let setup = udp().unwrap();
    let exporter = setup.udp().unwrap();
    let files = corpus::load().unwrap();
    let faulty = files.iter().filter(|file| file.expect != Expect::PassedOn);
    for (total, file) in (1..).zip(faulty) {
        exporter.send(&file.stream()).unwrap();
        let dropped = || setup.dropped().is_ok_and(|dropped| dropped == total);
        poll::wait(&format!("{} is counted", file.path), dropped).unwrap();
    }
    let good = Flows::new(1).session(3, 3);
    exporter.send_all(&good).unwrap();
    brought(&setup, 0, &good).unwrap();
}

#[test]
fn tcp_a_flood_of_templates_is_bounded_and_others_are_unaffected() {
    let setup = tcp().unwrap();
    let fields: Vec<_> = (1..=150).map(|id| Field::enterprise(43_823, id, 8)).collect();
    let mut flood = setup.tcp().unwrap();
    for id in 256..=u16::MAX {
        let template = Template::data(id, fields.clone());
        // 80 MB in all, unless the balancer has had enough before.
        if flood.send(&Message::new(1, 0).template(&template).build()).is_err() {
            break;
        }
    }
    let good = Flows::new(7).session(3, 3);
    let mut bystander = setup.tcp().unwrap();
    bystander.send_all(&good).unwrap();
    let bystanders = || {
        let sessions = setup.collectors[0].sessions();
        sessions.iter().any(|session| session.messages == good)
    };
    poll::wait("the other exporter's messages arrive", bystanders).unwrap();
    setup.wait_for_drops("template_limit", 1).unwrap();
    let resident = resident_kib(setup.daemon.pid()).unwrap();
    assert!(resident < 64 << 10, "the daemon has {resident} KiB");
}

fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}
