//! `BALANCER_AUTO`: a balancing receiver launches the subreceivers on this host.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver};
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::dump;
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::net::{V4, free_address};
use tempfile::TempDir;

struct Family {
    parent: Receiver,
    places: Vec<SocketAddr>,
    folder: TempDir,
}

impl Family {
    fn new(mode: Mode, protocol: Protocol) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let places: Vec<_> = (0..2).map(|_| free_address(V4)).collect::<Result<_>>()?;
        let parent = Receiver::new(mode, protocol, free_address(V4)?)
            .destinations(protocol, &places)
            .set("BALANCER_AUTO", "Enabled")
            .set("ROTATE_MINUTES", 0)
            .set("DUMP_DIR", folder.path().display());
        Ok(Self { parent, places, folder })
    }
}

#[test]
fn every_record_is_in_the_files_of_one_subreceiver() {
    let family = Family::new(Mode::RoundRobin, Tcp).unwrap();
    let daemon = Daemon::start(std::slice::from_ref(&family.parent)).unwrap();
    let mut exporter = Exporter::connect(Tcp, family.parent.address()).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend((0..40).map(|_| flows.data(3)));
    exporter.send_all(&sent).unwrap();
    for (place, name) in ["FULLFLOW[0].0", "FULLFLOW[0].1"].into_iter().enumerate() {
        daemon.wait_for(name, "its half", |now| now.recorded("messages") >= 20).unwrap();
        let launched = daemon.status().unwrap().receiver(name).unwrap();
        assert_eq!(launched.launched_by(), "FULLFLOW[0]");
        assert_eq!(launched.recorded("dpi_id"), u64::try_from(place).unwrap());
    }
    assert_eq!(daemon.command(&["rotate"]).unwrap().code, 0);
    let files = dump::finished(family.folder.path()).unwrap();
    let tags: Vec<_> = files.iter().map(|file| (file.part(1), file.part(2))).collect();
    let tag = |receiver: &str, dpi: &str| (receiver.to_owned(), dpi.to_owned());
    assert_eq!(tags, [tag("fullflow-0.0", "dpi0"), tag("fullflow-0.1", "dpi1")]);
    let received: Vec<_> = files.iter().map(|file| file.decoded()).collect();
    let flows: usize = received.iter().map(|file| file.flows().count()).sum();
    assert_eq!(flows, decode::session(&sent).flows().count());
    assert!(received.iter().all(|file| file.problems.is_empty()));
}

#[test]
fn a_reload_changes_what_is_launched_and_a_stop_loses_nothing() {
    let family = Family::new(Mode::All, Tcp).unwrap();
    let mut daemon = Daemon::start(std::slice::from_ref(&family.parent)).unwrap();
    let listens = |daemon: &Daemon, name: &str| -> Result<String> {
        let output = daemon.command(&["status", "--json"])?.stdout;
        let status: serde_json::Value = serde_json::from_str(&output)?;
        let receivers = status["receivers"].as_array().context("no receivers")?;
        let found = receivers.iter().find(|receiver| receiver["name"] == name);
        Ok(found.with_context(|| format!("no {name}"))?["listen"].to_string())
    };
    assert!(listens(&daemon, "FULLFLOW[0].1").unwrap().contains(&family.places[1].to_string()));
    let other = [family.places[0], free_address(V4).unwrap()];
    let changed = family.parent.clone().destinations(Tcp, &other).set("DPI_ID", 9);
    daemon.edit(std::slice::from_ref(&changed)).unwrap();
    assert_eq!(daemon.reload().unwrap().code, 0);
    assert!(listens(&daemon, "FULLFLOW[0].1").unwrap().contains(&other[1].to_string()));
    let mut exporter = Exporter::connect(Tcp, family.parent.address()).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend((0..200).map(|_| flows.data(3)));
    exporter.send_all(&sent).unwrap();
    // What nobody has accepted yet is not ours to record.
    daemon.wait_for("FULLFLOW[0]", "the session", |now| now.sessions() == 1).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait_for_exit().unwrap().success());
    let files = dump::finished(family.folder.path()).unwrap();
    assert_eq!(files.len(), 2);
    for file in &files {
        assert_eq!(file.part(2), "dpi9");
        dump::hold([file], &sent).unwrap();
    }
}

#[test]
fn subreceivers_over_udp_get_everything_by_whichever_path() {
    let family = Family::new(Mode::All, Udp).unwrap();
    let daemon = Daemon::start(std::slice::from_ref(&family.parent)).unwrap();
    let mut exporter = Exporter::connect(Udp, family.parent.address()).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend((0..100).map(|_| flows.data(3)));
    exporter.send_all(&sent).unwrap();
    for name in ["FULLFLOW[0].0", "FULLFLOW[0].1"] {
        daemon.wait_for(name, "all", |now| now.recorded("messages") >= 101).unwrap();
    }
    assert_eq!(daemon.command(&["rotate"]).unwrap().code, 0);
    let files = dump::finished(family.folder.path()).unwrap();
    assert_eq!(files.len(), 2);
    files.iter().for_each(|file| dump::hold([file], &sent).unwrap());
}

#[test]
fn a_receiver_of_the_file_is_not_launched_again() {
    let family = Family::new(Mode::All, Tcp).unwrap();
    let own = Receiver::recording(Tcp, family.places[0], family.folder.path()).named("FULLFLOW", 5);
    let daemon = Daemon::start(&[family.parent, own]).unwrap();
    let status = daemon.status().unwrap();
    assert!(status.receiver("FULLFLOW[0].0").is_err());
    assert!(status.receiver("FULLFLOW[0].1").is_ok());
}
