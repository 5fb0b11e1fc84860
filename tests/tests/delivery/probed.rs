//! PROBE_SECONDS: that a UDP collector is gone is found out without flow data.

use anyhow::Result;
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::{Mode, Receiver, ReceiverStatus};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

use super::scene::each_somewhere;

/// Two collectors, of which the first ends while nothing is exported; what is exported then arrives.
fn noticed(input: Protocol) -> Result<()> {
    let receiver = Receiver::new(Mode::RoundRobin, input, free_address(V4)?);
    let collectors = Collector::several(2, Udp, V4)?;
    let mut setup = Setup::serving(receiver.set("PROBE_SECONDS", 1), collectors)?;
    let mut flows = Flows::new(11);
    let mut exporter = setup.exporter()?;
    let mut sent = vec![flows.templates()];
    exporter.send_all(&sent)?;
    setup.wait_until_up()?;

    setup.collectors[0].stop();
    let is_down = |now: &ReceiverStatus| now.destinations()[0].state() == "down";
    setup.daemon.wait_for(&setup.receiver.name(), "a destination is down", is_down)?;

    let messages: Vec<_> = (0..50).map(|_| flows.data(2)).collect();
    exporter.send_all(&messages)?;
    sent.extend(messages);
    poll::until_ok(|| each_somewhere(&sent, &setup.collectors).map(drop))
}

#[test]
fn a_udp_collector_that_is_gone_is_noticed_before_tcp_exporters_send() {
    noticed(Tcp).unwrap();
}

#[test]
fn a_udp_collector_that_is_gone_is_noticed_before_udp_exporters_send() {
    noticed(Udp).unwrap();
}
