//! `ipfix-balancer spool`, with a daemon and without.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::setup::Setup;
use serde_json::Value;

use crate::scene::{MANY, destination, large, one_away, segments, wait_for_spooled};

/// A daemon with `MANY` messages and templates on disk.
fn spooling() -> Result<Setup> {
    let setup = one_away(Mode::All, (Tcp, Tcp), |it| it)?;
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    setup.tcp()?.send_all(&sent)?;
    wait_for_spooled(&setup, 1, sent.len())?;
    Ok(setup)
}

fn listed(setup: &Setup, arguments: &[&str]) -> Result<Vec<Value>> {
    let outcome = setup.daemon.command(&[&["spool", "list", "--json"], arguments].concat())?;
    ensure!(outcome.code == 0, "{}", outcome.stderr);
    let list: Value = serde_json::from_str(&outcome.stdout)?;
    list.as_array().cloned().context("no list")
}

fn name(setup: &Setup) -> String {
    let address = setup.collectors[1].address();
    format!("{}/{}/tcp", address.ip(), address.port())
}

#[test]
fn what_is_spooled_is_listed_with_a_daemon_and_without() {
    let mut setup = spooling().unwrap();
    for _ in 0..2 {
        let list = listed(&setup, &[]).unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0]["messages"], MANY + 1);
        assert_eq!(list[0]["receiver"], "FULLFLOW[0]");
        assert_eq!(list[0]["destination"], name(&setup));
        let outcome = setup.daemon.command(&["spool", "list"]).unwrap();
        assert!(outcome.stdout.contains(&name(&setup)), "{}", outcome.stdout);
        assert!(listed(&setup, &["--destination", "192.0.2.1/1/tcp"]).unwrap().is_empty());
        setup.daemon.kill().unwrap();
    }
    assert_eq!(setup.daemon.command(&["spool", "list", "--receiver", "X[0]"]).unwrap().code, 2);
}

#[test]
fn the_daemon_drops_what_is_purged_and_counts_it() {
    let mut setup = spooling().unwrap();
    let other = setup.daemon.command(&["spool", "purge", "--destination", "any"]).unwrap();
    assert_eq!(other.stdout, "purged: 0 messages\n");
    let outcome =
        setup.daemon.command(&["spool", "purge", "--destination", &name(&setup)]).unwrap();
    assert_eq!(outcome.stdout, format!("purged: {} messages\n", MANY + 1), "{}", outcome.stderr);
    let now = destination(&setup, 1).unwrap();
    assert_eq!((now.spooled(), now.dropped("spool_purged")), (0, MANY as u64 + 1));
    assert!(listed(&setup, &[]).unwrap().is_empty());
    // It goes on, with templates first.
    setup.collectors[1].resume().unwrap();
    let sent = Flows::new(1).session(3, 1);
    setup.tcp().unwrap().send_all(&sent).unwrap();
    setup.collectors[1].wait_for(sent.len()).unwrap();
}

#[test]
fn without_a_daemon_the_files_are_purged() {
    let mut setup = spooling().unwrap();
    setup.daemon.kill().unwrap();
    let outcome = setup.daemon.command(&["spool", "purge"]).unwrap();
    assert_eq!(outcome.stdout, format!("purged: {} messages\n", MANY + 1), "{}", outcome.stderr);
    assert!(segments(&setup.daemon.spool()).is_empty());
    setup.daemon.restart().unwrap();
}
