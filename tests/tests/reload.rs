//! Reload while traffic flows: exporters stay connected, no message is lost, and a faulty file
//! changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver};
use ipfix_balancer_tests::decode::{self, Decoded};
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;
use nix::sys::signal::Signal;

/// An exporter that sends a message every millisecond until it is told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Vec<u8>>>>,
}

impl Traffic {
    fn start(setup: &Setup) -> Result<Self> {
        let mut exporter = setup.exporter()?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let mut flows = Flows::new(1);
        let mut sent = vec![flows.templates(), flows.options_data(2)];
        exporter.send_all(&sent)?;
        setup.wait_until_up()?;
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                sent.push(flows.data(2));
                exporter.send(sent.last().context("nothing to send")?)?;
                // The rate of a real exporter, not a wait for something.
                std::thread::sleep(Duration::from_millis(1));
            }
            still_connected(&mut exporter)?;
            Ok(sent)
        });
        Ok(Self { stop, thread })
    }

    /// Everything it sent; an error if its connection broke.
    fn end(self) -> Result<Decoded> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().map_err(|_| anyhow!("the exporter panicked"))?;
        Ok(decode::session(sent?))
    }
}

fn still_connected(exporter: &mut Exporter) -> Result<()> {
    if let Exporter::Tcp(tcp) = exporter {
        ensure!(!tcp.is_closed_within(Duration::from_millis(1))?, "the connection was closed");
    }
    Ok(())
}

fn decoded(collectors: &[Collector]) -> Vec<Decoded> {
    let sessions = collectors.iter().flat_map(Collector::sessions);
    sessions.map(|session| decode::session(&session.messages)).collect()
}

/// Every flow record at least once and, but for connections that a change ended, exactly once;
/// nobody got data without its template.
fn nothing_is_lost(sent: &Decoded, collectors: &[Collector]) -> Result<()> {
    poll::until_ok(|| {
        let received = decoded(collectors);
        let got = decode::Tally::of(received.iter().flat_map(Decoded::flows));
        let difference = decode::Tally::of(sent.flows()).difference(&got);
        ensure!(difference.is_none(), "{difference}");
        Ok(())
    })?;
    for destination in decoded(collectors) {
        ensure!(destination.problems.is_empty(), "{:?}", destination.problems.first());
    }
    Ok(())
}

fn addresses(collectors: &[&Collector]) -> Vec<SocketAddr> {
    collectors.iter().map(|collector| collector.address()).collect()
}

fn apply(setup: &Setup, destinations: &[&Collector]) -> Result<()> {
    let protocol = destinations.first().map_or(Tcp, |first| first.protocol());
    let receiver = setup.receiver.clone().destinations(protocol, &addresses(destinations));
    setup.daemon.edit(&[receiver])?;
    let outcome = setup.daemon.reload()?;
    ensure!(outcome.code == 0, "{}", outcome.stderr);
    Ok(())
}

/// Waits for some more messages than there are now.
fn some_more(collector: &Collector) -> Result<()> {
    collector.wait_for(collector.messages() + 30)
}

/// Starts with destinations 0 and 1, adds 2, takes away 0, replaces 1 by 3.
fn destinations_come_and_go(input: Protocol, output: Protocol) -> Result<()> {
    let mut collectors = Collector::several(4, output, V4)?;
    let later = collectors.split_off(2);
    let setup = Setup::with(Mode::RoundRobin, (input, V4), collectors)?;
    let ([zero, one], [two, three]) = (&setup.collectors[..], &later[..]) else {
        return Err(anyhow!("four collectors expected"));
    };
    let traffic = Traffic::start(&setup)?;
    some_more(one)?;
    apply(&setup, &[zero, one, two])?;
    some_more(two)?;
    apply(&setup, &[one, two])?;
    some_more(two)?;
    let left = poll::settled(Duration::from_millis(200), || zero.messages())?;
    apply(&setup, &[three, two])?;
    some_more(three)?;
    some_more(two)?;
    let sent = traffic.end()?;
    ensure!(zero.messages() == left, "the one taken away still gets messages");
    let all: Vec<Collector> = setup.collectors.into_iter().chain(later).collect();
    nothing_is_lost(&sent, &all)
}

#[test]
fn tcp_destinations_come_and_go() {
    destinations_come_and_go(Tcp, Tcp).unwrap();
}

#[test]
fn udp_destinations_come_and_go() {
    destinations_come_and_go(Udp, Udp).unwrap();
}

#[test]
fn tcp_to_udp_destinations_come_and_go() {
    destinations_come_and_go(Tcp, Udp).unwrap();
}

#[test]
fn a_new_destination_of_all_gets_templates_and_options_first() {
    let setup = Setup::new(Mode::All, Tcp, Tcp, 1).unwrap();
    let new = Collector::start(Tcp, V4).unwrap();
    let traffic = Traffic::start(&setup).unwrap();
    some_more(&setup.collectors[0]).unwrap();
    apply(&setup, &[&setup.collectors[0], &new]).unwrap();
    some_more(&new).unwrap();
    let sent = traffic.end().unwrap();
    nothing_is_lost(&sent, &setup.collectors).unwrap();
    let late = decode::session(&new.sessions()[0].messages);
    assert_eq!((late.unknown_templates(), late.options().count()), (0, 2));
}

#[test]
fn another_receiver_is_not_touched() {
    let setup = Setup::new(Mode::All, Tcp, Tcp, 1).unwrap();
    let traffic = Traffic::start(&setup).unwrap();
    some_more(&setup.collectors[0]).unwrap();
    let collectors = Collector::several(1, Tcp, V4).unwrap();
    let address = ipfix_balancer_tests::net::free_address(V4).unwrap();
    let other = ipfix_balancer_tests::daemon::Receiver::new(Mode::All, Tcp, address)
        .named("DNSFLOW", 0)
        .to(&collectors);
    setup.daemon.edit(&[setup.receiver.clone(), other]).unwrap();
    assert_eq!(setup.daemon.reload().unwrap().code, 0);
    let messages = Flows::new(5).session(3, 3);
    let mut exporter = ipfix_balancer_tests::exporter::TcpExporter::connect(address).unwrap();
    exporter.send_all(&messages).unwrap();
    collectors[0].wait_for(messages.len()).unwrap();
    // And gone again.
    setup.daemon.edit(std::slice::from_ref(&setup.receiver)).unwrap();
    assert_eq!(setup.daemon.reload().unwrap().code, 0);
    assert!(exporter.is_closed_within(poll::PATIENCE).unwrap(), "its receiver is gone");
    some_more(&setup.collectors[0]).unwrap();
    let sent = traffic.end().unwrap();
    nothing_is_lost(&sent, &setup.collectors).unwrap();
    assert_eq!(setup.collectors[0].session_count(), 1, "its connection was kept");
}

#[test]
fn a_faulty_file_changes_nothing_and_says_so() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 2).unwrap();
    let traffic = Traffic::start(&setup).unwrap();
    let right = std::fs::read_to_string(setup.daemon.config()).unwrap();
    let wrong = right.replace("RoundRobin", "RoundRobbing") + "IPFIX_FULLFLOW_PROT[0]=1\n";
    std::fs::write(setup.daemon.config(), wrong).unwrap();
    let outcome = setup.daemon.reload().unwrap();
    assert_eq!(outcome.code, 2);
    for part in ["RoundRobbing", "IPFIX_FULLFLOW_PROT"] {
        assert!(outcome.stderr.contains(part), "no {part} in {}", outcome.stderr);
        setup.daemon.wait_for_log(&[part]).unwrap();
    }
    setup.daemon.signal(Signal::SIGHUP).unwrap();
    poll::wait("the second refusal is logged", || {
        setup.daemon.log().matches("RoundRobbing").count() >= 2
    })
    .unwrap();
    some_more(&setup.collectors[0]).unwrap();
    let sent = traffic.end().unwrap();
    poll::until_ok(|| decode::round_robin(&sent, &decoded(&setup.collectors))).unwrap();
}

#[test]
fn sighup_reloads_as_well() {
    let setup = Setup::new(Mode::All, Tcp, Tcp, 1).unwrap();
    let new = Collector::start(Tcp, V4).unwrap();
    let traffic = Traffic::start(&setup).unwrap();
    let destinations = addresses(&[&setup.collectors[0], &new]);
    setup.daemon.edit(&[setup.receiver.clone().destinations(Tcp, &destinations)]).unwrap();
    setup.daemon.signal(Signal::SIGHUP).unwrap();
    new.wait_for(30).unwrap();
    let sent = traffic.end().unwrap();
    nothing_is_lost(&sent, &setup.collectors).unwrap();
}

#[test]
fn an_unchanged_file_changes_nothing() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 2).unwrap();
    let traffic = Traffic::start(&setup).unwrap();
    for _ in 0..3 {
        assert_eq!(setup.daemon.reload().unwrap().code, 0);
        some_more(&setup.collectors[0]).unwrap();
    }
    let sent = traffic.end().unwrap();
    poll::until_ok(|| decode::round_robin(&sent, &decoded(&setup.collectors))).unwrap();
    assert!(setup.collectors.iter().all(|collector| collector.session_count() == 1));
}

/// Two receivers change ports with each other: each goes on where the other one listened.
fn ports_are_swapped(input: Protocol) -> Result<()> {
    let (full, dns) = (Collector::start(Tcp, V4)?, Collector::start(Tcp, V4)?);
    let receiver = |stream, address, collector: &Collector| {
        let receiver = Receiver::new(Mode::All, input, address);
        receiver.named(stream, 0).destinations(Tcp, &[collector.address()])
    };
    let (one, two) = (free_address(V4)?, free_address(V4)?);
    let daemon =
        Daemon::start(&[receiver("FULLFLOW", one, &full), receiver("DNSFLOW", two, &dns)])?;
    daemon.edit(&[receiver("FULLFLOW", two, &full), receiver("DNSFLOW", one, &dns)])?;
    let outcome = daemon.reload()?;
    ensure!(outcome.code == 0, "{}", outcome.stderr);
    for (address, collector) in [(two, &full), (one, &dns)] {
        let messages = Flows::new(3).session(5, 2);
        let mut exporter = Exporter::connect(input, address)?;
        exporter.send_all(&messages)?;
        collector.wait_for(messages.len())?;
        let session = collector.sessions().pop().context("no session")?;
        ensure!(session.messages == messages, "through the receiver of now");
    }
    Ok(())
}

#[test]
fn tcp_receivers_swap_their_ports() {
    ports_are_swapped(Tcp).unwrap();
}

#[test]
fn udp_receivers_swap_their_ports() {
    ports_are_swapped(Udp).unwrap();
}

/// Another mode: the exporter stays connected, its collectors get new transport sessions, each
/// with the templates first.
#[test]
fn a_change_of_mode_keeps_the_exporter_and_begins_anew_at_the_collectors() {
    let setup = Setup::new(Mode::All, Tcp, Tcp, 2).unwrap();
    let mut exporter = setup.exporter().unwrap();
    let mut flows = Flows::new(1);
    exporter.send_all(&flows.session(4, 3)).unwrap();
    setup.collectors.iter().for_each(|collector| collector.wait_for(5).unwrap());
    let balanced = Receiver::new(Mode::RoundRobin, Tcp, setup.receiver.address());
    setup.daemon.edit(&[balanced.to(&setup.collectors)]).unwrap();
    assert_eq!(setup.daemon.reload().unwrap().code, 0);
    let more: Vec<Vec<u8>> = (0..6).map(|_| flows.data(3)).collect();
    exporter.send_all(&more).unwrap();
    still_connected(&mut exporter).unwrap();
    // The templates, and half of the data.
    setup.collectors.iter().for_each(|collector| collector.wait_for(5 + 1 + 3).unwrap());
    for collector in &setup.collectors {
        let session = collector.sessions().pop().unwrap();
        let decoded = decode::session(&session.messages);
        assert_eq!((decoded.problems.len(), decoded.flows().count()), (0, 9));
        assert_eq!(decoded.domains[&1].first_sequence, 0, "numbers begin at 0");
    }
}
