//! SPEC section 3.8: one slow, dead or chatty destination delays nobody else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_user::output::MAX_QUEUE_BYTES;
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::collector::{Collector, Manners, Reading};
use ipfix_balancer_tests::daemon::{Daemon, DestinationStatus, Mode, Receiver};
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::exporter::{Flows, TcpExporter};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

const GOOD: Manners = Manners { reading: Reading::Normal, talks_back: false, counts_only: false };
const NEVER: Manners = Manners { reading: Reading::Never, ..GOOD };
const CHATTY: Manners = Manners { talks_back: true, ..GOOD };
const SLOW: Manners =
    Manners { reading: Reading::Slow { octets: 512, pause: Duration::from_millis(50) }, ..GOOD };

/// Bytes of the messages that fill queues.
const LARGE: usize = 30_000;
/// Messages that a queue and the sockets' buffers hold together, with some to spare.
const QUEUE: usize = (MAX_QUEUE_BYTES + (16 << 20)) / LARGE;

/// `count` messages, each a little larger than [`LARGE`], after the templates.
fn plenty(flows: &mut Flows, count: usize) -> Vec<Vec<u8>> {
    let mut messages = vec![flows.templates()];
    messages.extend((0..count).map(|_| flows.data(728)));
    assert!(messages.last().is_some_and(|message| message.len() >= LARGE));
    messages
}

/// Sends in groups of 3 MB, the next one when `arrived` says that the last has arrived where
/// collectors read: no good destination's queue can be the one that is full.
fn feed(
    exporter: &mut TcpExporter,
    messages: &[Vec<u8>],
    arrived: impl Fn(usize) -> bool,
) -> Result<()> {
    for (index, group) in messages.chunks(GROUP).enumerate() {
        exporter.send_all(group)?;
        let sent = index * GROUP + group.len();
        poll::wait(&format!("the {sent} messages sent so far"), || arrived(sent))?;
    }
    Ok(())
}

const GROUP: usize = 100;

#[test]
fn all_a_destination_that_never_reads_delays_nobody() {
    let setup = Setup::mannered(Mode::All, Tcp, Tcp, &[GOOD, NEVER, GOOD]).unwrap();
    let messages = plenty(&mut Flows::new(1), 2 * QUEUE);
    let mut exporter = setup.tcp().unwrap();
    let good = [&setup.collectors[0], &setup.collectors[2]];
    feed(&mut exporter, &messages, |sent| good.iter().all(|one| one.messages() == sent)).unwrap();
    for collector in good {
        assert!(collector.sessions()[0].messages == messages, "complete, and in order");
    }
    let name = setup.receiver.name();
    let receiver = setup.daemon.status().unwrap().receiver(&name).unwrap();
    let destinations = receiver.destinations();
    assert!(destinations[1].spooled() > 0, "what does not fit into the queue is on disk");
    assert!(
        destinations[1].queued() < u64::try_from(MAX_QUEUE_BYTES + (1 << 20)).unwrap(),
        "the queue is bounded"
    );
    assert!(destinations.iter().all(|one| one.dropped_in_all() == 0));
}

#[test]
fn another_receiver_is_unaffected() {
    let stuck = [Collector::with_manners(Tcp, V4, NEVER).unwrap()];
    let fine = [Collector::start(Tcp, V4).unwrap()];
    let first = Receiver::new(Mode::All, Tcp, free_address(V4).unwrap()).to(&stuck);
    let second =
        Receiver::new(Mode::All, Tcp, free_address(V4).unwrap()).named("CLICKSTREAM", 0).to(&fine);
    let _daemon = Daemon::start(&[first.clone(), second.clone()]).unwrap();
    let mut blocked = TcpExporter::connect(first.address()).unwrap();
    let mut free = TcpExporter::connect(second.address()).unwrap();
    // The writes themselves would time out if the exporter were held back.
    blocked.send_all(&plenty(&mut Flows::new(1), 2 * QUEUE)).unwrap();
    let messages = Flows::new(2).session(100, 5);
    free.send_all(&messages).unwrap();
    fine[0].wait_for(messages.len()).unwrap();
    assert_eq!(fine[0].sessions()[0].messages, messages);
}

#[test]
fn round_robin_gives_the_turns_of_a_destination_that_never_reads_to_the_others() {
    let setup = Setup::mannered(Mode::RoundRobin, Tcp, Tcp, &[GOOD, NEVER, GOOD]).unwrap();
    let mut flows = Flows::new(1);
    let mut messages = plenty(&mut flows, 4 * QUEUE);
    let mut exporter = setup.tcp().unwrap();
    exporter.send(&messages.remove(0)).unwrap();
    setup.wait_until_up().unwrap();
    let good = [&setup.collectors[0], &setup.collectors[2]];
    // Templates aside, a third of what was sent is not here yet, and no more than fits a queue.
    let here = || good.iter().map(|one| one.messages()).sum::<usize>();
    feed(&mut exporter, &messages, |sent| here() >= 2 + sent - QUEUE.min(sent.div_ceil(3)))
        .unwrap();
    let decoded: Vec<_> =
        good.iter().map(|one| decode::session(&one.sessions()[0].messages)).collect();
    for destination in &decoded {
        assert_eq!(destination.problems, []);
        assert!(destination.flows().count() > QUEUE * 728, "an even share of what is left");
    }
    let receiver = setup.daemon.status().unwrap().receiver(&setup.receiver.name()).unwrap();
    assert_eq!(receiver.dropped_in_all(), 0, "nothing is lost while others can take it");
}

/// A burst as fast as loopback goes: 80 MB, more than a queue holds.
fn a_burst_is_delivered(mode: Mode, destinations: usize) -> Result<()> {
    let setup = Setup::new(mode, Tcp, Tcp, destinations)?;
    let messages = plenty(&mut Flows::new(1), QUEUE);
    let mut exporter = setup.tcp()?;
    exporter.send_all(&messages)?;
    let expected = match mode {
        Mode::RoundRobin => messages.len() - 1 + destinations,
        _ => messages.len() * destinations,
    };
    let got = || setup.collectors.iter().map(Collector::messages).sum::<usize>();
    poll::wait("all that was sent", || got() == expected)
        .with_context(|| format!("{} of {expected}, {:?}", got(), setup.daemon.status()))?;
    let receiver = setup.daemon.status()?.receiver(&setup.receiver.name())?;
    let dropped = |one: &DestinationStatus| one.dropped_in_all();
    ensure!(receiver.dropped_in_all() == 0, "the receiver dropped some");
    ensure!(receiver.destinations().iter().map(dropped).sum::<u64>() == 0, "some were dropped");
    Ok(())
}

#[test]
fn all_a_burst_is_not_lost_while_every_collector_reads() {
    a_burst_is_delivered(Mode::All, 3).unwrap();
}

#[test]
fn round_robin_a_burst_is_not_lost_while_every_collector_reads() {
    a_burst_is_delivered(Mode::RoundRobin, 3).unwrap();
}

fn a_collector_that_talks_back(output: Protocol) -> Result<()> {
    let setup = Setup::mannered(Mode::All, Tcp, output, &[CHATTY, GOOD])?;
    let messages = Flows::new(1).session(300, 10);
    let mut exporter = setup.tcp()?;
    // In groups, so that its answers come in between.
    for (index, group) in messages.chunks(10).enumerate() {
        exporter.send_all(group)?;
        for collector in &setup.collectors {
            collector.wait_for(index * 10 + group.len())?;
        }
    }
    for session in setup.only_sessions()? {
        ensure!(session.messages == messages, "{} messages", session.messages.len());
    }
    ensure!(setup.dropped()? == 0);
    Ok(())
}

#[test]
fn tcp_what_a_collector_sends_back_is_ignored() {
    a_collector_that_talks_back(Tcp).unwrap();
}

#[test]
fn udp_what_a_collector_sends_back_is_ignored() {
    a_collector_that_talks_back(Udp).unwrap();
}

#[test]
fn a_slow_destination_gets_everything_in_its_own_time() {
    let setup = Setup::mannered(Mode::All, Tcp, Tcp, &[SLOW, GOOD]).unwrap();
    let messages = Flows::new(1).session(100, 10);
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&messages).unwrap();
    setup.collectors[1].wait_for(messages.len()).unwrap();
    assert!(setup.collectors[0].messages() < messages.len(), "it was not slow");
    setup.collectors[0].wait_for(messages.len()).unwrap();
    assert_eq!(setup.collectors[0].sessions()[0].messages, messages);
}
