//! SPEC section 8: limits that an exporter can't exceed, and the memory that they come to.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::{Mode, Receiver};
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::exporter::{Field, Flows, Message, TcpExporter, Template, UdpExporter};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

/// A daemon with one receiver that has these parameters, and a TCP collector.
fn setup(protocol: Protocol, parameters: &[(&str, u32)]) -> Result<Setup> {
    let receiver = Receiver::new(Mode::All, protocol, free_address(V4)?).set("ACCEL", "off");
    let receiver = parameters.iter().fold(receiver, |it, (name, value)| it.set(name, value));
    Setup::serving(receiver, Collector::several(1, Tcp, V4)?)
}

/// MiB of memory that the daemon has.
fn resident(setup: &Setup) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", setup.daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib >> 10)
}

/// MiB of memory that the daemon is to have at most, as `check` says.
fn stated(setup: &Setup) -> Result<u64> {
    let report = setup.daemon.command(&["check"])?.stdout;
    let (_, after) = report.split_once("at most ").context("no bound in the report")?;
    let (number, _) = after.split_once(" MiB of memory").context("no bound in the report")?;
    Ok(number.parse()?)
}

/// A template of so many fields.
fn template(id: u16, fields: u16) -> Template {
    let fields: Vec<_> = (1..=fields).map(|field| Field::enterprise(43_823, field, 8)).collect();
    Template::data(id, fields)
}

#[test]
fn tcp_connections_beyond_the_limit_are_closed_and_counted_and_the_others_served() {
    let setup = setup(Tcp, &[("MAX_SESSIONS", 20)]).unwrap();
    let mut served: Vec<TcpExporter> = (0..20).map(|_| setup.tcp().unwrap()).collect();
    setup.daemon.wait_for("FULLFLOW[0]", "20 sessions", |now| now.sessions() == 20).unwrap();
    for _ in 0..5 {
        assert!(setup.tcp().unwrap().is_closed_within(poll::PATIENCE).unwrap());
    }
    setup.wait_for_drops("session_limit", 5).unwrap();
    for exporter in &mut served {
        exporter.send_all(&Flows::new(1).session(2, 1)).unwrap();
    }
    setup.collectors[0].wait_for(40).unwrap();
    // One goes, and another one finds room.
    served.pop();
    poll::until_ok(|| {
        let mut exporter = setup.tcp()?;
        exporter.send_all(&Flows::new(1).session(2, 1))?;
        setup.collectors[0].wait_for(42)
    })
    .unwrap();
}

#[test]
fn udp_sources_beyond_the_limit_are_refused_and_counted_and_the_others_served() {
    let setup = setup(Udp, &[("MAX_SESSIONS", 100)]).unwrap();
    let first = setup.udp().unwrap();
    first.send(&Flows::new(1).templates()).unwrap();
    let message = Message::new(1, 0).build();
    let mut hosts = (2_u8..=254).cycle();
    poll::wait("as many sessions as there may be", || {
        for host in hosts.by_ref().take(50) {
            let source = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0)).unwrap();
            source.send_to(&message, setup.receiver.address()).unwrap();
        }
        let receiver = setup.daemon.status().unwrap().receiver("FULLFLOW[0]").unwrap();
        receiver.sessions() == 100 && receiver.dropped("session_limit") > 0
    })
    .unwrap();
    let before = setup.collectors[0].messages();
    first.send(&message).unwrap();
    poll::wait("the first session is still served", || setup.collectors[0].messages() > before)
        .unwrap();
}

#[test]
fn the_udp_session_that_has_been_idle_for_longest_makes_room() {
    let setup = setup(Udp, &[("MAX_SESSIONS", 2)]).unwrap();
    let message = Message::new(1, 0).build();
    let (idle, busy) = (setup.udp().unwrap(), setup.udp().unwrap());
    idle.send(&message).unwrap();
    busy.send(&message).unwrap();
    setup.collectors[0].wait_for(2).unwrap();
    let late = setup.udp().unwrap();
    poll::until_ok(|| {
        busy.send(&message)?;
        late.send(&message)?;
        let sessions = setup.collectors[0].session_count();
        ensure!(sessions == 3, "{sessions} outgoing sessions");
        Ok(())
    })
    .unwrap();
    assert!(setup.daemon.status().unwrap().receiver("FULLFLOW[0]").unwrap().sessions() <= 3);
    poll::wait("the idle one's outgoing session ends", || setup.collectors[0].open_sessions() == 2)
        .unwrap();
    assert_eq!(setup.collectors[0].sessions().iter().position(|one| !one.open), Some(0));
}

#[test]
fn half_a_message_and_then_silence_closes_that_connection_only() {
    let setup = setup(Tcp, &[("MESSAGE_SECONDS", 1)]).unwrap();
    let (mut slow, mut other) = (setup.tcp().unwrap(), setup.tcp().unwrap());
    let mut flows = Flows::new(1);
    slow.send(&flows.templates()).unwrap();
    other.send(&flows.templates()).unwrap();
    let message = flows.data(2);
    // A byte now and then does not help.
    for byte in message.iter().take(60) {
        if slow.send(&[*byte]).is_err() || slow.is_closed_within(PAUSE).unwrap() {
            break;
        }
    }
    setup.wait_for_drops("idle_timeout", 1).unwrap();
    assert!(slow.is_closed_within(poll::PATIENCE).unwrap());
    other.send(&message).unwrap();
    setup.collectors[0].wait_for(3).unwrap();
}

/// Between the bytes of a slow exporter.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

#[test]
fn templates_of_every_id_a_huge_one_and_fields_without_length_are_kept_and_used() {
    let setup = setup(Tcp, &[]).unwrap();
    let mut exporter = setup.tcp().unwrap();
    let mut sent = Vec::new();
    let ids: Vec<u16> = (256..=u16::MAX).collect();
    for ids in ids.chunks(2000) {
        let templates: Vec<_> =
            ids.iter().map(|id| Template::data(*id, [Field::iana(8, 4)])).collect();
        sent.push(Message::new(1, 0).templates(&templates.iter().collect::<Vec<_>>()).build());
    }
    let huge = template(300, 8000);
    sent.push(Message::new(2, 0).template(&huge).build());
    let empty = Template::data(301, [Field::iana(210, 0), Field::iana(8, 4), Field::iana(210, 0)]);
    let nothing = Template::data(302, [Field::iana(210, 0)]);
    sent.push(Message::new(2, 0).templates(&[&empty, &nothing]).build());
    sent.push(Message::new(2, 0).data(&empty, &[vec![10, 0, 0, 1], vec![10, 0, 0, 2]]).build());
    sent.push(Message::new(2, 2).set(302, &[]).build());
    sent.push(Message::new(1, 0).set(65_535, &[10, 0, 0, 1]).build());
    exporter.send_all(&sent).unwrap();
    setup.collectors[0].wait_for(sent.len()).unwrap();
    assert!(setup.first_session().unwrap().messages == sent, "not what was sent");
    assert_eq!(setup.dropped().unwrap(), 0);
    // A collector that comes later gets all of them.
    let decoded = decode::session(&setup.first_session().unwrap().messages);
    assert_eq!(decoded.problems, []);
    assert!(resident(&setup).unwrap() < stated(&setup).unwrap());
}

/// Exporters that define templates until nothing more is kept: of each session, and of all together.
#[test]
fn a_flood_of_templates_by_many_sessions_takes_no_more_memory_than_is_stated() {
    let setup = setup(Tcp, &[("MAX_SESSIONS", 30), ("TEMPLATE_MB", 16)]).unwrap();
    let before = resident(&setup).unwrap();
    let mut exporters: Vec<_> = (0..30).map(|_| setup.tcp().unwrap()).collect();
    // 30 sessions of 4 MB each, in 60 observation domains.
    for round in 0..60_u16 {
        for exporter in &mut exporters {
            let templates: Vec<_> = (0..50).map(|n| template(256 + round * 50 + n, 150)).collect();
            let templates: Vec<_> = templates.iter().collect();
            exporter
                .send(&Message::new(u32::from(round), 0).templates(&templates).build())
                .unwrap();
        }
    }
    setup.wait_for_drops("template_limit", 1).unwrap();
    let good = Flows::new(7).session(3, 3);
    // Data needs no room; templates of who comes too late are refused, as is said.
    exporters[0].send(&Message::new(0, 0).set(256, &[1; 1200]).build()).unwrap();
    poll::wait("data is passed on all the same", || {
        let sessions = setup.collectors[0].sessions();
        sessions
            .iter()
            .any(|one| one.messages.last().is_some_and(|last| last.ends_with(&[1; 1200])))
    })
    .unwrap();
    let (after, stated) = (resident(&setup).unwrap(), stated(&setup).unwrap());
    assert!(after < stated, "{after} of {stated} MiB");
    // Nothing waits in a queue, for which most of what is stated is.
    assert!(after - before < 16 * 2 + 30, "{before} MiB have become {after}");
    // When they are gone their room is free.
    drop(exporters);
    setup.daemon.wait_for("FULLFLOW[0]", "all have ended", |now| now.sessions() == 0).unwrap();
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&good).unwrap();
    poll::wait("a new session is served", || {
        setup.collectors[0].sessions().iter().any(|session| session.messages == good)
    })
    .unwrap();
}

/// What a session itself takes, beside templates and queues.
fn sessions_are_as_small_as_stated(protocol: Protocol) -> Result<()> {
    const SESSIONS: u32 = 2000;
    let setup = setup(protocol, &[("MAX_SESSIONS", SESSIONS), ("TEMPLATE_MB", 1)])?;
    let before = resident(&setup)?;
    let (mut tcp, mut udp) = (Vec::new(), Vec::<UdpExporter>::new());
    let begun = Message::new(1, 0).build();
    for _ in 0..SESSIONS {
        match protocol {
            Tcp => {
                let mut exporter = setup.tcp()?;
                exporter.send(&[&begun[..], &begun[..7]].concat())?;
                tcp.push(exporter);
            }
            Udp => {
                udp.push(setup.udp()?);
                udp.last().context("none")?.send(&begun)?;
            }
        }
    }
    let opened = || {
        // The kernel may have dropped some.
        udp.iter().for_each(|exporter| drop(exporter.send(&begun)));
        setup.daemon.status()?.receiver("FULLFLOW[0]").map(|now| now.sessions())
    };
    poll::wait("all sessions", || opened().is_ok_and(|count| count == u64::from(SESSIONS)))?;
    let bounds = balancer_user::handler::bounds::SESSION + balancer_user::handler::bounds::OUTLET;
    let allowed = (u64::from(SESSIONS) * bounds) >> 20;
    let grown = resident(&setup)? - before;
    ensure!(grown < allowed, "{SESSIONS} sessions take {grown} MiB, and not {allowed}");
    Ok(())
}

#[test]
fn tcp_sessions_are_as_small_as_stated() {
    sessions_are_as_small_as_stated(Tcp).unwrap();
}

#[test]
fn udp_sessions_are_as_small_as_stated() {
    sessions_are_as_small_as_stated(Udp).unwrap();
}
