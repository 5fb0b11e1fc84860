//! Every valid message of the corpus through the balancer: both modes, all four pairs of
//! protocols, IPv4 and IPv6, also across.

use std::cell::RefCell;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::collector::{Collector, Session};
use ipfix_balancer_tests::corpus::{self, File};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver};
use ipfix_balancer_tests::decode::{self, Decoded};
use ipfix_balancer_tests::exporter::{Exporter, Segments, TcpExporter};
use ipfix_balancer_tests::net::{V4, V6, free_address};
use ipfix_balancer_tests::{poll, wire};

const DESTINATIONS: usize = 3;

/// One way through the balancer, with three collectors at its end.
struct Way {
    daemon: Daemon,
    input: Protocol,
    address: std::net::SocketAddr,
    collectors: Vec<Collector>,
    /// Sessions stay open: a UDP source port that is free again may be the next session's, and
    /// would then be the same session to the other side.
    exporters: RefCell<Vec<Exporter>>,
}

impl Way {
    fn open(mode: Mode, input: (Protocol, IpAddr), output: (Protocol, IpAddr)) -> Result<Self> {
        let collectors = Collector::several(DESTINATIONS, output.0, output.1)?;
        let address = free_address(input.1)?;
        let receiver = Receiver::new(mode, input.0, address).to(&collectors);
        let daemon = Daemon::start(&[receiver])?;
        let exporters = RefCell::default();
        Ok(Self { daemon, input: input.0, address, collectors, exporters })
    }

    /// Sends one file in a session of its own, and holds what arrives in new sessions against
    /// `check` until it is content.
    fn carry(&self, file: &File, check: impl Fn(&[Session]) -> Result<()>) -> Result<()> {
        let before: Vec<_> = self.collectors.iter().map(Collector::session_count).collect();
        let mut exporter = Exporter::connect(self.input, self.address)?;
        exporter.send_all(&file.messages)?;
        self.exporters.borrow_mut().push(exporter);
        poll::until_ok(|| {
            let pairs = self.collectors.iter().zip(&before);
            let new = pairs.map(|(collector, before)| new_session(collector, *before));
            check(&new.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?)
        })
        .with_context(|| format!("{}\n{}", file.path, self.daemon.log()))
    }
}

/// The one session that a collector has beyond the `before` it had.
fn one_new_session(collector: &Collector, before: usize) -> Result<Session> {
    let new = new_session(collector, before)?;
    new.with_context(|| format!("no new session at {}", collector.address()))
}

/// The session that a collector has beyond the `before` it had. There may be none: a UDP
/// destination that got no message knows of no session.
fn new_session(collector: &Collector, before: usize) -> Result<Option<Session>> {
    let mut new = collector.sessions().split_off(before);
    ensure!(new.len() <= 1, "{} new sessions at {}", new.len(), collector.address());
    Ok(new.pop())
}

fn all(input: (Protocol, IpAddr), output: (Protocol, IpAddr)) -> Result<()> {
    let way = Way::open(Mode::All, input, output)?;
    for file in corpus::valid()? {
        way.carry(&file, |sessions| {
            ensure!(sessions.len() == DESTINATIONS, "{} sessions", sessions.len());
            for session in sessions {
                let (got, sent) = (session.messages.len(), file.messages.len());
                ensure!(session.messages == file.messages, "{got} of {sent}, or changed");
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn round_robin(input: (Protocol, IpAddr), output: (Protocol, IpAddr)) -> Result<()> {
    let way = Way::open(Mode::RoundRobin, input, output)?;
    for file in corpus::valid()? {
        let sent = decode::session(&file.messages);
        if input.0 == Udp && sent.withdrawals > 0 {
            // Ignored over UDP (RFC 7011 section 8.4): nothing has to arrive.
            continue;
        }
        way.carry(&file, |sessions| {
            // Over TCP every destination is connected, even if nothing is for it.
            let for_all = sent.templates + sent.options_templates + sent.withdrawals > 0;
            let complete = sessions.len() == DESTINATIONS;
            ensure!(complete || (output.0 == Udp && !for_all), "{} sessions", sessions.len());
            shared_out(&file, &sent, sessions)
        })?;
    }
    Ok(())
}

fn shared_out(file: &File, sent: &Decoded, sessions: &[Session]) -> Result<()> {
    let received: Vec<_> = sessions.iter().map(|s| decode::session(&s.messages)).collect();
    decode::records_once(sent, &received)?;
    if sent.problems.is_empty() {
        decode::round_robin(sent, &received)?;
    }
    unchanged_but_for_the_sequence(file, sessions)
}

/// But for its sequence number unchanged, each message with flow data is at one destination, and
/// each of templates and options alone at every destination.
fn unchanged_but_for_the_sequence(file: &File, sessions: &[Session]) -> Result<()> {
    let arrived: Vec<_> = sessions.iter().map(|session| stripped(&session.messages)).collect();
    let sent = stripped(&file.messages);
    let turns = decode::turns(&file.messages);
    for (index, (message, turn)) in sent.iter().zip(turns).enumerate() {
        let count = |messages: &Vec<Vec<u8>>| messages.iter().filter(|m| *m == message).count();
        let copies: usize = arrived.iter().map(count).sum();
        let expected = count(&sent) * if turn { 1 } else { DESTINATIONS };
        let empty = message.len() == wire::MESSAGE_HEADER;
        ensure!(copies == expected || empty, "message {index} is there {copies} times");
    }
    Ok(())
}

fn stripped(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    messages.iter().map(|message| wire::without_sequence(message)).collect()
}

#[test]
fn all_tcp_to_tcp() {
    all((Tcp, V4), (Tcp, V4)).unwrap();
}

#[test]
fn all_tcp_to_udp_across_families() {
    all((Tcp, V4), (Udp, V6)).unwrap();
}

#[test]
fn all_udp_to_tcp_across_families() {
    all((Udp, V6), (Tcp, V4)).unwrap();
}

#[test]
fn all_udp_to_udp() {
    all((Udp, V4), (Udp, V4)).unwrap();
}

#[test]
fn all_udp_to_udp_ipv6() {
    all((Udp, V6), (Udp, V6)).unwrap();
}

#[test]
fn round_robin_tcp_to_tcp_ipv6() {
    round_robin((Tcp, V6), (Tcp, V6)).unwrap();
}

#[test]
fn round_robin_tcp_to_udp() {
    round_robin((Tcp, V4), (Udp, V4)).unwrap();
}

#[test]
fn round_robin_udp_to_tcp() {
    round_robin((Udp, V4), (Tcp, V4)).unwrap();
}

#[test]
fn round_robin_udp_to_udp_across_families() {
    round_robin((Udp, V4), (Udp, V6)).unwrap();
}

#[test]
fn segmentation_makes_no_difference() {
    let way = Way::open(Mode::All, (Tcp, V4), (Tcp, V4)).unwrap();
    let file = corpus::file_named("ipfixcol/02-odid0.ipfix").unwrap();
    let all_at_once = file.stream();
    let cuts = [
        Segments::Every(1),
        Segments::Every(15),
        Segments::Pattern(vec![17, 1, 4, 1400, 3]),
        Segments::Whole,
    ];
    for (index, cut) in cuts.iter().enumerate() {
        let mut exporter = TcpExporter::connect(way.address).unwrap();
        exporter.send_segmented(&all_at_once, cut).unwrap();
        let arrived = || -> Result<()> {
            for collector in &way.collectors {
                let session = one_new_session(collector, index)?;
                ensure!(session.messages == file.messages, "{} messages", session.messages.len());
            }
            Ok(())
        };
        poll::until_ok(arrived).with_context(|| format!("{cut:?}")).unwrap();
    }
}
