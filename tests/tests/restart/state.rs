//! What the next daemon finds can't be believed: it begins anew, and does not fail.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::{Exporter, Flows};

use super::scene::Scene;

fn is_refused(spoil: fn(&mut Vec<u8>), word: &str) -> Result<()> {
    let mut scene = Scene::new(Mode::RoundRobin, Tcp, Tcp)?;
    let mut exporter = scene.exporter()?;
    let mut flows = Flows::new(1);
    let sent = flows.session(3, 2);
    exporter.send_all(&sent)?;
    scene.is_complete(&sent)?;
    scene.daemon.kill()?;
    let journal = scene.daemon.journal(Tcp, scene.receiver.address().port())?;
    let mut bytes = fs::read(&journal).with_context(|| format!("{}", journal.display()))?;
    spoil(&mut bytes);
    fs::write(&journal, bytes)?;
    scene.daemon.restart()?;
    scene.daemon.wait_for_log(&["sessions begin anew", word])?;
    // Its templates are not known: it has to connect, and send them, once more.
    let Exporter::Tcp(exporter) = &mut exporter else { return Ok(()) };
    ensure!(exporter.is_closed_within(Duration::from_secs(10))?, "it was not closed");
    let mut exporter = scene.exporter()?;
    let mut flows = Flows::new(2);
    let again = flows.session(3, 2);
    exporter.send_all(&again)?;
    scene.is_complete(&[sent, again].concat())?;
    scene.is_decodable()
}

#[test]
fn a_damaged_journal_is_refused() {
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
    };
    is_refused(flip, "damaged").unwrap();
}

#[test]
fn a_journal_of_another_version_is_refused() {
    is_refused(|bytes| bytes.splice(..1, *b"I").for_each(drop), "another version").unwrap();
    is_refused(|bytes| bytes.truncate(5), "another version").unwrap();
}

/// What was being written when the daemon was killed is not there: the rest is good.
#[test]
fn a_journal_may_end_in_the_middle() {
    let mut scene = Scene::new(Mode::All, Udp, Tcp).unwrap();
    let mut exporter = scene.exporter().unwrap();
    let mut flows = Flows::new(1);
    let mut sent = flows.session(3, 2);
    exporter.send_all(&sent).unwrap();
    scene.is_complete(&sent).unwrap();
    scene.daemon.replace().unwrap();
    scene.daemon.kill().unwrap();
    let journal = scene.daemon.journal(Udp, scene.receiver.address().port()).unwrap();
    let mut bytes = fs::read(&journal).unwrap();
    bytes.extend([200, 0, 0, 0, 1, 2, 3, 4, 5]);
    fs::write(&journal, bytes).unwrap();
    scene.daemon.restart().unwrap();
    sent.push(flows.data(2));
    exporter.send(sent.last().unwrap()).unwrap();
    scene.is_complete(&sent).unwrap();
    scene.is_decodable().unwrap();
    let purged = scene.daemon.command(&["stop", "--purge"]).unwrap();
    assert_eq!(purged.code, 0);
    assert!(!journal.exists(), "stop --purge leaves {}", journal.display());
}
