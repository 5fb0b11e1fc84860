//! Two balancers for the same exporters, as docs/availability.md has them: an address that
//! keepalived moves, and routes by two next hops.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::collector::{Collector, Session};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver, binary};
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::lab::{Host, Segment, available};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::tools::Keepalived;

/// What the document shows.
const KEEPALIVED: &str = include_str!("../../../docs/examples/keepalived.conf");
/// Hosts of the segment.
const EXPORTER: usize = 0;
const BALANCERS: [usize; 2] = [1, 2];
const COLLECTOR: usize = 3;
/// Last number of the address that both balancers serve.
const VIRTUAL: u8 = 100;
const PORT: u16 = 4739;

/// An exporter, two balancers with the same configuration, a collector.
struct Pair {
    daemons: Vec<Daemon>,
    collector: Collector,
    segment: Segment,
}

impl Pair {
    fn new(protocol: Protocol) -> Result<Self> {
        let segment = Segment::new(&["exporter", "one", "two", "collector"])?;
        let host = segment.host(COLLECTOR)?;
        let collector = host.namespace.run(|| Collector::start(protocol, host.ip))?;
        let mut daemons = Vec::new();
        for balancer in BALANCERS {
            let everywhere = SocketAddr::from(([0, 0, 0, 0], PORT));
            let receiver =
                Receiver::new(Mode::All, protocol, everywhere).to(std::slice::from_ref(&collector));
            let namespace = &segment.host(balancer)?.namespace;
            daemons.push(namespace.run(|| Daemon::start(&[receiver]))?);
        }
        Ok(Self { daemons, collector, segment })
    }

    fn virtual_address(&self) -> SocketAddr {
        SocketAddr::new(self.segment.address(VIRTUAL), PORT)
    }

    /// keepalived on a host, with the document's configuration.
    fn keepalived(&self, place: usize, priority: &str) -> Result<Keepalived> {
        let balancer = BALANCERS.get(place).copied().unwrap_or_default();
        let daemon = self.daemons.get(place);
        let config = daemon.map(|daemon| daemon.config().display().to_string());
        let status =
            format!("{} status --config {}", binary()?.display(), config.unwrap_or_default());
        let text = KEEPALIVED
            .replace("/usr/bin/ipfix-balancer status", &status)
            .replace("VIRTUAL_ADDRESS", &self.segment.address(VIRTUAL).to_string())
            .replace("priority 100", priority);
        self.segment.host(balancer)?.namespace.run(|| Keepalived::start(&text))
    }

    fn exporter(&self, protocol: Protocol) -> Result<Exporter> {
        let to = self.virtual_address();
        let host: &Host = self.segment.host(EXPORTER)?;
        host.namespace.run(|| Exporter::connect(protocol, to))
    }

    /// Waits for the session whose messages are these.
    fn wait_for_session(&self, messages: &[Vec<u8>]) -> Result<()> {
        poll::until_ok(|| {
            let sessions = self.collector.sessions();
            let found = sessions.iter().any(|session| session.messages == messages);
            ensure!(found, "none of {} sessions is this one", sessions.len());
            Ok(())
        })
    }
}

/// A session's templates and some data.
fn messages(domain: u32) -> Vec<Vec<u8>> {
    let mut flows = Flows::new(domain);
    let mut messages = vec![flows.templates()];
    messages.extend((0..20).map(|_| flows.data(3)));
    messages
}

/// All that has come to the collector decodes.
fn are_decodable(sessions: &[Session]) -> Result<()> {
    for session in sessions {
        let decoded = decode::session(&session.messages);
        ensure!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    }
    Ok(())
}

/// The first balancer has the address, and the second waits.
fn with_keepalived(pair: &Pair) -> Result<(Keepalived, Keepalived)> {
    let mut first = pair.keepalived(0, "priority 150")?;
    first.wait_until_master()?;
    Ok((first, pair.keepalived(1, "priority 100")?))
}

#[test]
fn an_address_leaves_a_balancer_whose_daemon_is_dead() {
    if !available() {
        return;
    }
    let mut pair = Pair::new(Tcp).unwrap();
    let (_first, mut second) = with_keepalived(&pair).unwrap();
    let before = messages(1);
    let mut exporter = pair.exporter(Tcp).unwrap();
    exporter.send_all(&before).unwrap();
    pair.wait_for_session(&before).unwrap();

    pair.daemons[0].kill().unwrap();
    second.wait_until_master().unwrap();
    // As an exporter does: it connects again, and sends its templates first.
    let after = messages(2);
    let mut exporter = pair.exporter(Tcp).unwrap();
    exporter.send_all(&after).unwrap();
    pair.wait_for_session(&after).unwrap();
    are_decodable(&pair.collector.sessions()).unwrap();
}

#[test]
fn an_address_leaves_a_host_that_is_gone() {
    if !available() {
        return;
    }
    let pair = Pair::new(Udp).unwrap();
    let (_first, mut second) = with_keepalived(&pair).unwrap();
    let before = messages(1);
    let mut exporter = pair.exporter(Udp).unwrap();
    exporter.send_all(&before).unwrap();
    pair.wait_for_session(&before).unwrap();

    pair.segment.set_cable(BALANCERS[0], false).unwrap();
    second.wait_until_master().unwrap();
    // The exporter knows nothing of it. It repeats its templates, as it does every few minutes.
    let after = messages(1);
    exporter.send_all(&after).unwrap();
    pair.wait_for_session(&after).unwrap();
    are_decodable(&pair.collector.sessions()).unwrap();
}

/// Exporter sessions that routes by two next hops spread.
const SESSIONS: u32 = 16;

#[test]
fn sessions_are_spread_by_two_next_hops_and_stay_together() {
    if !available() {
        return;
    }
    let pair = Pair::new(Udp).unwrap();
    let exporter = &pair.segment.host(EXPORTER).unwrap().namespace;
    let address = "10.88.0.1";
    let hops = BALANCERS.map(|balancer| {
        let host = pair.segment.host(balancer).unwrap();
        host.namespace.ip(&format!("address add {address}/32 dev lo")).unwrap();
        format!("nexthop via {}", host.ip)
    });
    // By addresses and ports: a session always takes the same way.
    exporter.set("ipv4/fib_multipath_hash_policy", "1").unwrap();
    exporter.ip(&format!("route add {address}/32 {}", hops.join(" "))).unwrap();
    let to = SocketAddr::new(address.parse().unwrap(), PORT);
    let mut sent = Vec::new();
    for domain in 0..SESSIONS {
        let session = messages(domain);
        let mut exporter = exporter.run(|| Exporter::connect(Udp, to)).unwrap();
        exporter.send_all(&session).unwrap();
        sent.push(session);
    }
    for session in &sent {
        pair.wait_for_session(session).unwrap();
    }
    let served: Vec<u64> = pair.daemons.iter().map(|daemon| messages_of(daemon).unwrap()).collect();
    assert!(served.iter().all(|count| *count > 0), "one balancer did all: {served:?}");
    let all: usize = sent.iter().map(Vec::len).sum();
    assert_eq!(served.iter().sum::<u64>(), u64::try_from(all).unwrap());
    are_decodable(&pair.collector.sessions()).unwrap();

    // One next hop is gone: a routing daemon would have taken it away.
    exporter.ip(&format!("route replace {address}/32 {}", hops[1])).unwrap();
    let after = messages(SESSIONS);
    let mut last = exporter.run(|| Exporter::connect(Udp, to)).unwrap();
    last.send_all(&after).unwrap();
    pair.wait_for_session(&after).unwrap();
    assert_eq!(messages_of(&pair.daemons[0]).unwrap(), served[0]);
}

/// Messages that a balancer's receiver has taken in.
fn messages_of(daemon: &Daemon) -> Result<u64> {
    Ok(daemon.status()?.receiver("FULLFLOW[0]")?.messages())
}
