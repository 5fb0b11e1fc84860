//! SPEC section 3.6: TCP messages too large for a datagram leave over UDP split on record
//! boundaries.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

/// Octets that a UDP datagram can hold.
const LARGEST: usize = 65_507;

/// Messages of 16 kB to the 65535 octets that an IPFIX message can have.
fn large_messages(flows: &mut Flows) -> Vec<Vec<u8>> {
    let record = flows.plain_records(1).concat().len();
    let most = (65_535 - 20) / record;
    let mut messages = vec![flows.templates(), flows.data(16_384 / record)];
    messages.push(flows.data(40_000 / record));
    messages.push(flows.data(most));
    messages.push(flows.named_data(120, 500));
    messages.push(flows.data(1));
    // Exactly the 65535 octets.
    messages.push(flows.named_data(5, 13_080));
    let (plain, named) = (flows.plain_records(700), flows.named_records(60, 500));
    messages.push(flows.message().data(flows.plain(), &plain).data(flows.named(), &named).build());
    flows.count(760);
    messages.push(flows.data(2));
    messages
}

#[test]
fn the_messages_are_as_large_as_this_test_needs() {
    let messages = large_messages(&mut Flows::new(1));
    assert!(messages.iter().any(|message| message.len() > LARGEST));
    let sizes_right = messages
        .iter()
        .all(|message| ipfix_balancer_tests::wire::length(message) == Some(message.len()));
    assert!(sizes_right);
}

#[test]
fn all_every_record_arrives_once_with_right_sequence_numbers() {
    let setup = Setup::new(Mode::All, Tcp, Udp, 2).unwrap();
    let messages = large_messages(&mut Flows::new(1));
    let sent = decode::session(&messages);
    setup.tcp().unwrap().send_all(&messages).unwrap();
    poll::until_ok(|| {
        for session in setup.only_sessions()? {
            let got = decode::session(&session.messages);
            ensure!(got.problems.is_empty(), "{:?}", got.problems);
            let (records, all) = (got.records.len(), sent.records.len());
            ensure!(got.records == sent.records, "{records} records of {all}, or another order");
            ensure!(session.largest_datagram <= LARGEST && session.rest.is_empty());
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(undelivered(&setup).unwrap(), 0);
}

#[test]
fn round_robin_every_record_arrives_once_with_right_sequence_numbers() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Udp, 3).unwrap();
    let messages = large_messages(&mut Flows::new(1));
    let sent = decode::session(&messages);
    setup.tcp().unwrap().send_all(&messages).unwrap();
    poll::until_ok(|| {
        let received: Vec<_> = setup
            .only_sessions()?
            .iter()
            .map(|session| decode::session(&session.messages))
            .collect();
        decode::round_robin(&sent, &received)
    })
    .unwrap();
    assert_eq!(undelivered(&setup).unwrap(), 0);
}

#[test]
fn what_can_not_be_split_is_counted_and_leaves_a_gap() {
    let setup = Setup::new(Mode::All, Tcp, Udp, 1).unwrap();
    let mut flows = Flows::new(1);
    // One record that alone is larger than a datagram.
    let messages = [
        flows.templates(),
        flows.data(1),
        flows.named_data(1, 65_535 - 16 - 4 - 23),
        flows.data(1),
    ];
    assert_eq!(messages[2].len(), 65_535);
    setup.tcp().unwrap().send_all(&messages).unwrap();
    setup.collectors[0].wait_for(3).unwrap();
    poll::wait("it is counted", || undelivered(&setup).is_ok_and(|count| count == 1)).unwrap();
    let got = decode::session(&setup.first_session().unwrap().messages);
    assert_eq!(got.records.len(), 2);
    assert_eq!(got.gaps(), 1, "the loss shows at the collector");
}

fn undelivered(setup: &Setup) -> Result<u64> {
    let receiver = setup.daemon.status()?.receiver(&setup.receiver.name())?;
    Ok(receiver.destinations().iter().map(|destination| destination.dropped_in_all()).sum())
}
