//! Whatever ends the daemon, or cuts its files: what is on disk is sent.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

use std::fs::{self, OpenOptions};

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

use crate::scene::{
    MANY, decoded, destination, large, one_away, segments, wait_for_spooled, wait_until_empty,
};

/// A daemon that was killed with all that was sent on disk, and what that is.
fn killed() -> Result<(Setup, Vec<Vec<u8>>)> {
    let mut setup = one_away(Mode::All, (Tcp, Tcp), |it| it)?;
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    setup.tcp()?.send_all(&sent)?;
    wait_for_spooled(&setup, 1, sent.len())?;
    setup.daemon.kill()?;
    Ok((setup, sent))
}

#[test]
fn after_kill_9_everything_on_disk_is_sent() {
    let (mut setup, sent) = killed().unwrap();
    setup.daemon.restart().unwrap();
    setup.collectors[1].resume().unwrap();
    wait_for_arrival(&setup, &sent).unwrap();
    wait_until_empty(&setup, 1).unwrap();
}

fn wait_for_arrival(setup: &Setup, sent: &[Vec<u8>]) -> Result<()> {
    poll::until_ok(|| {
        let sessions = setup.collectors[1].sessions();
        let arrived = sessions.first().is_some_and(|one| one.messages.ends_with(&sent[1..]));
        ensure!(arrived, "{} of {}", setup.collectors[1].messages(), sent.len());
        Ok(())
    })?;
    ensure!(decoded(&setup.collectors[1])?.iter().all(|one| one.problems.is_empty()));
    Ok(())
}

#[test]
fn a_torn_tail_is_cut_and_the_rest_is_sent() {
    let (mut setup, sent) = killed().unwrap();
    let last = segments(&setup.daemon.spool()).pop().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    OpenOptions::new().write(true).open(&last).unwrap().set_len(len - 100).unwrap();
    setup.daemon.restart().unwrap();
    setup.collectors[1].resume().unwrap();
    wait_for_arrival(&setup, &sent[..sent.len() - 1]).unwrap();
    wait_until_empty(&setup, 1).unwrap();
}

#[test]
fn a_wrong_byte_costs_what_is_counted_and_shows_as_a_gap() {
    let (mut setup, sent) = killed().unwrap();
    let files = segments(&setup.daemon.spool());
    assert!(files.len() >= 2);
    let mut bytes = fs::read(&files[0]).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    setup.daemon.restart().unwrap();
    wait_for_spooled(&setup, 1, 1).unwrap();
    setup.collectors[1].resume().unwrap();
    wait_until_empty(&setup, 1).unwrap();
    let sessions = decoded(&setup.collectors[1]).unwrap();
    let arrived = sessions[0].flows().count() / 728;
    assert!(arrived < sent.len() - 1);
    assert_eq!(sessions[0].gaps(), 1);
    // The start has cut the file there.
    let lost = destination(&setup, 1).unwrap().dropped("spool_lost");
    assert!(
        lost == 0 || usize::try_from(lost).unwrap() + arrived == sent.len() - 1,
        "{lost}, {arrived}"
    );
}
