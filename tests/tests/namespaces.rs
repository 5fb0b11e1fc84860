//! Exporter, balancer and collectors on hosts of their own, as network namespaces: what loopback
//! does not have is routes, neighbours, checksums that somebody computes.

use std::os::unix::fs::MetadataExt;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::collector::Session;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode::{self, Decoded};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, Shape, available};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;
use nix::sys::signal::Signal;

/// Sends a session from the exporter's namespace, templates first, and gives its messages.
fn send(lab: &Lab, setup: &Setup) -> Result<Vec<Vec<u8>>> {
    let mut flows = Flows::new(7);
    let mut exporter = lab.exporter().run(|| setup.exporter())?;
    let mut sent = vec![flows.templates()];
    exporter.send_all(&sent)?;
    setup.wait_until_up()?;
    let rest: Vec<_> = (0..30)
        .map(|round| if round % 7 == 3 { flows.options_data(1) } else { flows.data(3) })
        .collect();
    exporter.send_all(&rest)?;
    sent.extend(rest);
    Ok(sent)
}

fn decoded(sessions: &[Session]) -> Vec<Decoded> {
    sessions.iter().map(|session| decode::session(&session.messages)).collect()
}

/// RoundRobin and All from an exporter to the lab's collectors.
fn balances(lab: &Lab, protocols: (Protocol, Protocol), family: Family) -> Result<()> {
    let setup = Setup::in_lab(lab, Mode::RoundRobin, protocols, family)?;
    let sent = decode::session(send(lab, &setup)?);
    poll::until_ok(|| decode::round_robin(&sent, &decoded(&setup.only_sessions()?)))?;
    ends(lab, setup)?;

    let setup = Setup::in_lab(lab, Mode::All, protocols, family)?;
    let sent = send(lab, &setup)?;
    for collector in &setup.collectors {
        collector.wait_for(sent.len())?;
    }
    let sessions = setup.only_sessions()?;
    ensure!(sessions.iter().all(|session| session.messages == sent), "not what was sent");
    ends(lab, setup)
}

/// The daemon ends in order, and nothing of it is left in the lab.
fn ends(lab: &Lab, mut setup: Setup) -> Result<()> {
    setup.daemon.signal(Signal::SIGTERM)?;
    let status = setup.daemon.wait_for_exit()?;
    ensure!(status.success(), "{status}");
    drop(setup);
    let left = lab.balancer().processes()?;
    ensure!(left.is_empty(), "processes {left:?} are left");
    let namespaces = lab.collectors().iter().chain([lab.exporter()]).map(|site| &site.namespace);
    for namespace in namespaces.chain([lab.balancer()]) {
        let errors = namespace.counters()?.udp_checksum_errors()?;
        ensure!(errors == 0, "{errors} wrong checksums in {}", namespace.name());
    }
    Ok(())
}

#[test]
fn udp_to_collectors_on_hosts_of_their_own() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for family in Family::BOTH {
        balances(&lab, (Udp, Udp), family).unwrap();
    }
}

#[test]
fn udp_to_collectors_behind_a_router() {
    if !available() {
        return;
    }
    let lab = Shape::new(1).routed(2).build().unwrap();
    for family in Family::BOTH {
        balances(&lab, (Udp, Udp), family).unwrap();
    }
}

#[test]
fn tcp_to_collectors_on_hosts_of_their_own() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for family in Family::BOTH {
        balances(&lab, (Tcp, Tcp), family).unwrap();
    }
}

#[test]
fn the_daemon_has_the_labs_network_and_the_hosts_file_systems() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let setup = Setup::in_lab(&lab, Mode::All, (Udp, Udp), Family::V4).unwrap();
    let inode = |path: &str| std::fs::metadata(path).unwrap().ino();
    let of_daemon = |kind: &str| inode(&format!("/proc/{}/ns/{kind}", setup.daemon.pid()));
    assert_eq!(of_daemon("net"), inode(&lab.balancer().path()));
    // Else there were another /sys, without the BPF file system.
    assert_eq!(of_daemon("mnt"), inode("/proc/self/ns/mnt"));
}
