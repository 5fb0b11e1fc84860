//! Over RoundRobin, collectors of other projects together decode exactly what was sent: nothing
//! missing, nothing twice, no unknown template, no sequence error.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::corpus;
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver};
use ipfix_balancer_tests::decode::{self, Decoded};
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;
use ipfix_balancer_tests::tools::{
    Counts, Nfacctd, Nfcapd, PythonCollector, PythonSession, ipfix_dump, tshark,
};
use ipfix_balancer_tests::wire;

/// Templates, options, plain and variable-length flows, mixed messages.
fn session() -> Vec<Vec<u8>> {
    let mut flows = Flows::new(77);
    let mut messages = vec![flows.templates(), flows.options_data(5)];
    for round in 0..453 {
        messages.push(match round % 11 {
            3 => flows.mixed(2),
            7 => flows.named_data(2, 40),
            _ => flows.data(3),
        });
    }
    messages
}

/// The same without options data, which nfcapd and nfacctd do not count as RFC 7011 section 3.1
/// says: with them they report sequence errors of an exporter that sends straight to them, too.
fn flows_only() -> Vec<Vec<u8>> {
    let mut flows = Flows::new(77);
    let mut messages = vec![flows.templates()];
    for round in 0..453 {
        messages.push(match round % 11 {
            // Templates again, in a message of their own and before data.
            3 => flows.templates(),
            7 => flows.named_data(2, 40),
            _ => flows.data(3),
        });
    }
    messages
}

/// Flow records, and the sum of their octet counts.
fn totals(messages: &[Vec<u8>]) -> (u64, u64) {
    let decoded = decode::session(messages);
    let octets = |record: &decode::Record| {
        let mut at = 0;
        for (enterprise, id, length) in &record.layout.fields {
            if (*enterprise, *id) == (0, 1) {
                let high = wire::u32_at(&record.values, at).unwrap_or(0);
                let low = wire::u32_at(&record.values, at + 4).unwrap_or(0);
                return u64::from(high) << 32 | u64::from(low);
            }
            // In these templates octetDeltaCount stands before anything of variable length.
            at += usize::from(*length);
        }
        0
    };
    (decoded.flows().map(|_| 1).sum(), decoded.flows().map(octets).sum())
}

/// Sends a session through RoundRobin to collectors at `addresses`, and waits until the balancer
/// has passed on everything.
fn balance(
    input: Protocol,
    output: Protocol,
    addresses: &[SocketAddr],
    messages: &[Vec<u8>],
) -> Result<(Daemon, Exporter)> {
    let address = free_address(V4)?;
    let receiver = Receiver::new(Mode::RoundRobin, input, address).destinations(output, addresses);
    let daemon = Daemon::start(std::slice::from_ref(&receiver))?;
    let mut exporter = Exporter::connect(input, address)?;
    exporter.send_all(messages)?;
    let total = u64::try_from(messages.len())?;
    daemon.wait_for(&receiver.name(), "everything is passed on", |now| {
        now.messages() == total
            && now.destinations().iter().all(|one| one.queued() == 0 && one.messages() > 0)
    })?;
    Ok((daemon, exporter))
}

/// Together what was sent, each its share, no complaint.
fn exact(counts: &[Counts], (flows, octets): (u64, u64)) -> Result<()> {
    for one in counts {
        ensure!(one.complaints.is_empty(), "complaints: {:?}", one.complaints);
        let share = flows / u64::try_from(counts.len())?;
        ensure!(one.flows > share / 2, "{} flows of {flows} are no share", one.flows);
    }
    let all: u64 = counts.iter().map(|one| one.flows).sum();
    ensure!(all == flows, "{all} flows of {flows}");
    let all: u64 = counts.iter().map(|one| one.octets).sum();
    ensure!(all == octets, "{all} octets of {octets}");
    Ok(())
}

fn nfcapd(input: Protocol, collectors: usize, messages: &[Vec<u8>]) -> Result<Vec<Counts>> {
    let running: Vec<_> = (0..collectors).map(|_| Nfcapd::start()).collect::<Result<_>>()?;
    let addresses: Vec<_> = running.iter().map(Nfcapd::address).collect();
    let _kept = balance(input, Udp, &addresses, messages)?;
    running.into_iter().map(Nfcapd::finish).collect()
}

fn nfacctd(input: Protocol, collectors: usize, messages: &[Vec<u8>]) -> Result<Vec<Counts>> {
    let running: Vec<_> = (0..collectors).map(|_| Nfacctd::start()).collect::<Result<_>>()?;
    let addresses: Vec<_> = running.iter().map(Nfacctd::address).collect();
    let _kept = balance(input, Udp, &addresses, messages)?;
    let (flows, _) = totals(messages);
    let printed = || -> Result<u64> { running.iter().map(|one| Ok(one.counts()?.flows)).sum() };
    // Too few: the counts show it.
    drop(poll::wait("all flows are printed", || printed().is_ok_and(|sum| sum >= flows)));
    running.into_iter().map(|one| one.finish(0)).collect()
}

fn python(input: Protocol, collectors: usize, messages: &[Vec<u8>]) -> Result<Vec<PythonSession>> {
    let running: Vec<_> =
        (0..collectors).map(|_| PythonCollector::start()).collect::<Result<_>>()?;
    let addresses: Vec<_> = running.iter().map(PythonCollector::address).collect();
    let (daemon, exporter) = balance(input, Tcp, &addresses, messages)?;
    // The end of the sessions: of the exporter's over TCP, of the daemon over UDP.
    drop(exporter);
    drop(daemon);
    let ended = |one: &PythonCollector| -> Result<PythonSession> {
        one.ended_sessions(1)?.into_iter().next().context("no session")
    };
    running.iter().map(ended).collect()
}

fn python_exact(input: Protocol, collectors: usize) -> Result<()> {
    let messages = session();
    let sessions = python(input, collectors, &messages)?;
    let options = u64::try_from(decode::session(&messages).options().count())?;
    for one in &sessions {
        ensure!(one.options == options, "{} options records of {options}", one.options);
    }
    let counts = |one: &PythonSession| Counts {
        flows: one.flows,
        octets: one.octets,
        packets: 0,
        complaints: one.complaints.clone(),
    };
    exact(&sessions.iter().map(counts).collect::<Vec<_>>(), totals(&messages))
}

#[test]
fn nfcapd_udp_to_2() {
    exact(&nfcapd(Udp, 2, &flows_only()).unwrap(), totals(&flows_only())).unwrap();
}

#[test]
fn nfcapd_udp_to_5() {
    exact(&nfcapd(Udp, 5, &flows_only()).unwrap(), totals(&flows_only())).unwrap();
}

#[test]
fn nfcapd_tcp_to_3() {
    exact(&nfcapd(Tcp, 3, &flows_only()).unwrap(), totals(&flows_only())).unwrap();
}

/// A real exporter's capture of 4,251 flows with an enterprise's strings.
#[test]
fn nfcapd_of_a_capture_is_the_same_with_and_without_the_balancer() {
    let messages = corpus::file_named("ipfixcol/01-odid0.ipfix").unwrap().messages;
    let direct = Nfcapd::start().unwrap();
    let mut exporter = Exporter::connect(Udp, direct.address()).unwrap();
    exporter.send_all(&messages).unwrap();
    let direct = direct.finish().unwrap();
    assert_eq!((direct.flows, direct.complaints.len()), (4_251, 0));
    for (input, collectors) in [(Udp, 3), (Tcp, 2)] {
        let counts = nfcapd(input, collectors, &messages).unwrap();
        exact(&counts, (direct.flows, direct.octets)).unwrap();
    }
}

#[test]
fn nfacctd_udp_to_2() {
    exact(&nfacctd(Udp, 2, &flows_only()).unwrap(), totals(&flows_only())).unwrap();
}

#[test]
fn nfacctd_udp_to_3() {
    exact(&nfacctd(Udp, 3, &flows_only()).unwrap(), totals(&flows_only())).unwrap();
}

#[test]
fn nfacctd_tcp_to_5() {
    exact(&nfacctd(Tcp, 5, &flows_only()).unwrap(), totals(&flows_only())).unwrap();
}

#[test]
fn python_tcp_to_2() {
    python_exact(Tcp, 2).unwrap();
}

#[test]
fn python_tcp_to_5() {
    python_exact(Tcp, 5).unwrap();
}

#[test]
fn python_udp_to_3() {
    python_exact(Udp, 3).unwrap();
}

/// What `ipfixDump` (TCP outputs) and `tshark` (all outputs) say of streams that our own
/// collectors took.
fn dissected(input: Protocol, output: Protocol, collectors: usize) -> Result<()> {
    let messages = session();
    let sent = decode::session(&messages);
    let setup = Setup::new(Mode::RoundRobin, input, output, collectors)?;
    setup.exporter()?.send_all(&messages)?;
    poll::until_ok(|| {
        let sessions = setup.only_sessions()?;
        let received: Vec<Decoded> =
            sessions.iter().map(|one| decode::session(&one.messages)).collect();
        decode::round_robin(&sent, &received)
    })?;
    let expected = sent.flows().count() + sent.options().count() * collectors;
    let (mut dumped, mut dissected) = (0, 0);
    for session in setup.only_sessions()? {
        let dump = ipfix_dump(&session.stream())?;
        ensure!(dump.complaints.is_empty(), "ipfixDump: {:?}", dump.complaints);
        dumped += usize::try_from(dump.records)?;
        let dissection = tshark(&session.messages)?;
        let faults = (dissection.without_template, dissection.malformed);
        ensure!(faults == (0, 0), "tshark: {dissection:?}");
        dissected += dissection.records;
    }
    ensure!(dumped == expected, "ipfixDump: {dumped} records of {expected}");
    ensure!(dissected == expected, "tshark: {dissected} records of {expected}");
    Ok(())
}

#[test]
fn ipfix_dump_and_tshark_tcp_to_tcp_2() {
    dissected(Tcp, Tcp, 2).unwrap();
}

#[test]
fn ipfix_dump_and_tshark_tcp_to_tcp_5() {
    dissected(Tcp, Tcp, 5).unwrap();
}

#[test]
fn ipfix_dump_and_tshark_udp_to_tcp_3() {
    dissected(Udp, Tcp, 3).unwrap();
}

#[test]
fn ipfix_dump_and_tshark_udp_to_udp_3() {
    dissected(Udp, Udp, 3).unwrap();
}

#[test]
fn ipfix_dump_and_tshark_tcp_to_udp_2() {
    dissected(Tcp, Udp, 2).unwrap();
}
