//! Full spools, and disks that refuse.

use std::fs;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::available;
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::scene::{
    MANY, decoded, destination, large, one_away, segments, wait_for_spooled, wait_until_empty,
};

#[test]
fn what_a_full_spool_drops_is_counted_and_missing_at_the_collector() {
    let mut setup = one_away(Mode::All, (Tcp, Tcp), |it| it.set("SPOOL_MAX_MB", 4)).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    setup.collectors[0].wait_for(sent.len()).unwrap();
    poll::wait("the oldest are dropped", || {
        destination(&setup, 1).is_ok_and(|one| {
            let (dropped, spooled) = (one.dropped("spool_full"), one.spooled());
            dropped > 0 && dropped + spooled == sent.len() as u64
        })
    })
    .map_err(|error| error.context(setup.daemon.log()))
    .unwrap();
    let octets: u64 =
        segments(&setup.daemon.spool()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(octets <= 4_000_000, "{octets} on disk");
    setup.daemon.wait_for_log(&["spooled messages are dropped", "spool_full"]).unwrap();
    setup.collectors[1].resume().unwrap();
    wait_until_empty(&setup, 1).unwrap();
    let newest = flows.data(1);
    exporter.send(&newest).unwrap();
    setup.collectors[0].wait_for(sent.len() + 1).unwrap();
    poll::until_ok(|| {
        let messages = setup.collectors[1].sessions()[0].messages.clone();
        ensure!(messages.last() == Some(&newest));
        Ok(())
    })
    .unwrap();
    let dropped = usize::try_from(destination(&setup, 1).unwrap().dropped("spool_full")).unwrap();
    let sessions = decoded(&setup.collectors[1]).unwrap();
    let (arrived, all) = (sessions[0].flows().count(), MANY * 728 + 1);
    // The first message that was dropped had templates alone.
    assert_eq!(arrived + (dropped - 1) * 728, all);
    assert_eq!(sessions[0].gaps(), 0, "what is missing came before the first");
}

#[test]
fn hold_keeps_the_exporter_back_and_loses_nothing() {
    let mut setup =
        one_away(Mode::All, (Tcp, Tcp), |it| it.set("SPOOL_MAX_MB", 2).set("SPOOL_FULL", "hold"))
            .unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, 2 * MANY));
    let mut exporter = setup.tcp().unwrap();
    let sending = sent.clone();
    let sender = thread::spawn(move || exporter.send_all(&sending).map(|()| exporter));
    poll::wait("the spool is full", || {
        destination(&setup, 1).is_ok_and(|one| one.spooled_octets() >= 2_000_000)
    })
    .unwrap();
    let held =
        poll::settled(std::time::Duration::from_millis(500), || setup.collectors[0].messages());
    assert!(held.unwrap() < sent.len(), "it was not held back");
    assert!(!sender.is_finished());
    setup.collectors[1].resume().unwrap();
    sender.join().unwrap().unwrap();
    for collector in &setup.collectors {
        collector.wait_for(sent.len()).unwrap();
        assert!(collector.sessions()[0].messages == sent);
    }
    assert_eq!(setup.dropped().unwrap(), 0);
}

#[test]
fn without_a_directory_messages_wait_in_memory() {
    let mut setup =
        one_away(Mode::All, (Tcp, Tcp), |it| it.set("SPOOL_DIR", "/dev/null/spool")).unwrap();
    let name = setup.receiver.name();
    setup.daemon.wait_for_log(&["no spool on disk"]).unwrap();
    setup.daemon.wait_for(&name, "it says so", |now| now.spool_state() == "memory").unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    setup.tcp().unwrap().send_all(&sent).unwrap();
    setup.collectors[0].wait_for(sent.len()).unwrap();
    setup.collectors[1].resume().unwrap();
    setup.collectors[1].wait_for(sent.len()).unwrap();
    assert!(setup.collectors[1].sessions()[0].messages == sent);
}

/// Runs a test in a thread whose spool directory is a file system of its own.
fn on_small_disk(test: impl FnOnce(&std::path::Path) -> Result<()> + Send) -> Result<()> {
    if !available() {
        return Ok(());
    }
    let run = || {
        let folder = tempfile::tempdir()?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=2m"))?;
        test(folder.path())
    };
    let ended = thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|_| bail!("the test's thread has panicked"))
}

#[test]
fn a_disk_that_fills_up_loses_nothing_that_memory_holds() {
    on_small_disk(|folder| {
        let mut setup =
            one_away(Mode::All, (Tcp, Tcp), |it| it.set("SPOOL_DIR", folder.display()))?;
        let name = setup.receiver.name();
        let mut flows = Flows::new(1);
        let mut sent = vec![flows.templates()];
        sent.extend(large(&mut flows, MANY));
        setup.tcp()?.send_all(&sent)?;
        setup.collectors[0].wait_for(sent.len())?;
        setup.daemon.wait_for(&name, "it fails", |now| now.spool_state() == "failing")?;
        setup.daemon.wait_for_log(&["can't write to the spool", "No space left", "make room"])?;
        setup.collectors[1].resume()?;
        setup.collectors[1].wait_for(sent.len())?;
        let sessions = setup.collectors[1].sessions();
        let first = sessions.first().context("no session")?;
        ensure!(first.messages == sent, "complete, in order");
        ensure!(setup.dropped()? == 0);
        setup.daemon.wait_for(&name, "it has recovered", |now| now.spool_state() == "ready")
    })
    .unwrap();
}

#[test]
fn a_directory_that_vanishes_costs_what_was_in_it_alone() {
    let mut setup = one_away(Mode::All, (Tcp, Tcp), |it| it).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    wait_for_spooled(&setup, 1, sent.len()).unwrap();
    fs::remove_dir_all(setup.daemon.spool()).unwrap();
    // The first that find their file gone may share its fate.
    let lost = |setup: &Setup| destination(setup, 1).unwrap().dropped("spool_lost");
    let mut more = 0;
    poll::wait("it is noticed", || {
        exporter.send(&flows.data(1)).unwrap();
        more += 1;
        lost(&setup) > 0
    })
    .unwrap();
    let newer = large(&mut flows, 10);
    exporter.send_all(&newer).unwrap();
    wait_for_spooled(&setup, 1, newer.len()).unwrap();
    setup.collectors[1].resume().unwrap();
    poll::until_ok(|| {
        let sessions = setup.collectors[1].sessions();
        ensure!(sessions.first().is_some_and(|one| one.messages.ends_with(&newer)));
        Ok(())
    })
    .unwrap();
    decoded(&setup.collectors[1]).unwrap();
    assert!(lost(&setup) >= sent.len() as u64 && lost(&setup) <= sent.len() as u64 + more);
}
