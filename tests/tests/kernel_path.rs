//! The kernel path end to end: the same results as in userspace, and forwarded by programs.

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::collector::Session;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode::{self, Decoded};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

const RECEIVER: &str = "FULLFLOW[0]";

fn forwarded(setup: &Setup) -> Result<u64> {
    let status = setup.daemon.status()?;
    Ok(status.receiver(RECEIVER)?.kernel_messages())
}

#[test]
fn flow_data_stays_in_the_kernel() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    let setup = Setup::in_lab(&lab, Mode::RoundRobin, (Udp, Udp), Family::V4).unwrap();
    let exporter = lab.exporter().run(|| setup.exporter()).unwrap();
    let mut exporter = exporter;
    let mut flows = Flows::new(7);
    let mut sent = vec![flows.templates()];
    exporter.send_all(&sent).unwrap();
    setup.wait_until_up().unwrap();
    for round in 0..50 {
        let message = flows.data(3);
        exporter.send_all(std::slice::from_ref(&message)).unwrap();
        sent.push(message);
        poll::wait("it arrived", || {
            setup.collectors.iter().map(|c| c.messages()).sum::<usize>() >= sent.len() + 1
        })
        .unwrap();
    }
    eprintln!("{}", setup.daemon.command(&["status"]).unwrap().stdout);
    eprintln!("{}", setup.daemon.log());
    eprintln!("forwarded {}", forwarded(&setup).unwrap());
}
