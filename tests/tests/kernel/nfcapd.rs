//! `nfcapd` behind the kernel path decodes every record, and misses none.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver};
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::net::free_address;
use ipfix_balancer_tests::tools::{Counts, Nfcapd};

const MESSAGES: u64 = 500;
/// Octets of the records' counters: the n-th one has n.
const RECORDS: u64 = MESSAGES * 3;
const OCTETS: u64 = RECORDS * (RECORDS + 1) / 2;

fn through(lab: &Lab, mode: Mode) -> Result<Vec<Counts>> {
    let start =
        |site: &ipfix_balancer_tests::lab::Site| site.run(|| Nfcapd::start_on(site.ip(Family::V4)));
    let running: Vec<_> = lab.collectors().iter().map(start).collect::<Result<_>>()?;
    let addresses: Vec<_> = running.iter().map(Nfcapd::address).collect();
    let address = lab.balancer().run(|| free_address(lab.balancer_ip(Family::V4)))?;
    let receiver = Receiver::new(mode, Udp, address).destinations(Udp, &addresses);
    let receiver = receiver.set("ACCEL", "require");
    let daemon = lab.balancer().run(|| Daemon::start(std::slice::from_ref(&receiver)))?;
    let mut exporter = lab.exporter().run(|| Exporter::connect(Udp, address))?;
    let mut flows = Flows::new(77);
    exporter.send(&flows.templates())?;
    daemon.wait_for(&receiver.name(), "every destination is up", |now| {
        now.all_destinations_are("up")
    })?;
    let messages: Vec<_> = (0..MESSAGES).map(|_| flows.data(3)).collect();
    exporter.send_all(&messages)?;
    daemon.wait_for(&receiver.name(), "everything came", |now| now.messages() > MESSAGES)?;
    let forwarded = daemon.status()?.receiver(&receiver.name())?.kernel_messages();
    ensure!(forwarded > MESSAGES / 2, "only {forwarded} forwarded\n{}", daemon.log());
    running.into_iter().map(Nfcapd::finish).collect()
}

#[test]
fn round_robin_gives_each_its_share() {
    if !available() {
        return;
    }
    let lab = Lab::new(3).unwrap();
    let counts = through(&lab, Mode::RoundRobin).unwrap();
    let share = RECORDS / 3;
    assert!(counts.iter().all(|one| one.flows.abs_diff(share) <= 3), "{counts:?}");
    assert_eq!(counts.iter().map(|one| one.flows).sum::<u64>(), RECORDS);
    assert_eq!(counts.iter().map(|one| one.octets).sum::<u64>(), OCTETS);
    assert!(counts.iter().all(|one| one.complaints.is_empty()), "{counts:?}");
}

#[test]
fn all_gives_everything_to_each() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for counts in through(&lab, Mode::All).unwrap() {
        assert_eq!((counts.flows, counts.octets), (RECORDS, OCTETS), "{counts:?}");
        assert!(counts.complaints.is_empty(), "{counts:?}");
    }
}
