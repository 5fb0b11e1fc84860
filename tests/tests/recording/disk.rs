//! Disks that refuse: full, read-only, gone.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::dump;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{available, mount_small};
use ipfix_balancer_tests::poll;
use nix::mount::{MsFlags, mount};
use tempfile::tempdir;

use crate::scene::{Scene, directory, receiver};

/// What a receiver keeps in memory for its disk, and so must be exceeded.
const MEMORY: usize = 64 << 20;
/// So much of it that an exporter is held back before long.
const MUCH: u64 = 32 << 20;

fn remount(place: &Path, options: &str) -> Result<()> {
    let flags = MsFlags::MS_REMOUNT;
    Ok(mount(None::<&str>, place, None::<&str>, flags, Some(options))?)
}

/// Runs a test in a thread whose dump directory is a file system of its own.
fn on_small_disk(
    protocol: Protocol,
    options: &str,
    test: impl FnOnce(&Scene) -> Result<()> + Send,
) -> Result<()> {
    if !available() {
        return Ok(());
    }
    let run = || {
        let folder = tempdir()?;
        let dumps = directory(&folder);
        mount_small(&dumps, options)?;
        let receiver = receiver(protocol, &dumps, &[])?;
        test(&Scene::serving(folder, receiver)?)
    };
    let ended = thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|_| bail!("the test's thread has panicked"))
}

/// Messages of one session, more than a receiver keeps in memory.
fn too_much() -> Vec<Vec<u8>> {
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    let mut bytes = 0;
    while bytes < MEMORY + MEMORY / 2 {
        let message = flows.data(1400);
        bytes += message.len();
        sent.push(message);
    }
    sent
}

fn is_failing(scene: &Scene) -> Result<()> {
    scene.daemon.wait_for("FULLFLOW[0]", "it fails", |now| now.recording("state") == "failing")
}

#[test]
fn a_full_disk_holds_a_tcp_exporter_back_and_nothing_is_lost() {
    on_small_disk(Tcp, "size=2m", |scene| {
        let sent = too_much();
        thread::scope(|scope| -> Result<()> {
            let exporter = scope.spawn(|| scene.exporter()?.send_all(&sent));
            is_failing(scene)?;
            scene.daemon.wait_for_log(&[
                "can't record",
                "FULLFLOW[0]",
                "No space left",
                "make room",
            ])?;
            scene.daemon.wait_for("FULLFLOW[0]", "much waits", |now| {
                now.recorded("waiting_bytes") > MUCH
            })?;
            ensure!(!exporter.is_finished(), "the exporter was not held back");
            let unfinished = dump::ending_with(&scene.directory(), ".ipfix");
            ensure!(unfinished.is_empty(), "{unfinished:?} under a final name");
            remount(&scene.directory(), "size=512m")?;
            exporter.join().ok().context("the exporter has panicked")??;
            scene.wait_for_messages(sent.len())
        })?;
        let now = scene.daemon.status()?.receiver("FULLFLOW[0]")?;
        ensure!(now.recording("state") == "recording" && now.dropped_in_all() == 0);
        poll::wait("the file is finished", || {
            dump::ending_with(&scene.directory(), ".part").is_empty()
        })?;
        dump::hold(&scene.files()?, &sent)
    })
    .unwrap();
}

#[test]
fn a_full_disk_costs_a_udp_exporter_messages_that_are_counted_and_recording_resumes() {
    on_small_disk(Udp, "size=2m", |scene| {
        let mut exporter = scene.exporter()?;
        let mut flows = Flows::new(1);
        exporter.send(&flows.templates())?;
        let unrecorded = || -> Result<u64> {
            Ok(scene.daemon.status()?.receiver("FULLFLOW[0]")?.dropped("unrecorded"))
        };
        poll::wait("messages are dropped", || {
            let messages: Vec<_> = (0..50).map(|_| flows.data(1400)).collect();
            exporter.send_all(&messages).is_ok() && unrecorded().is_ok_and(|count| count > 0)
        })?;
        is_failing(scene)?;
        remount(&scene.directory(), "size=512m")?;
        scene.daemon.wait_for("FULLFLOW[0]", "it goes on", |now| {
            now.recording("state") == "recording" && now.recorded("waiting_bytes") == 0
        })?;
        exporter.send(&flows.data(1))?;
        scene.daemon.wait_for("FULLFLOW[0]", "every message is there or counted", |now| {
            now.recorded("messages") + now.dropped("unrecorded") == now.messages()
        })?;
        scene.rotate()?;
        let files = dump::finished(&scene.directory())?;
        let last = files.last().and_then(|file| file.messages.last()).context("no message")?;
        ensure!(last.len() < 100, "the last message is not there");
        ensure!(files.iter().all(|file| file.decoded().unknown_templates() == 0));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_disk_that_is_read_only_at_first_is_waited_for() {
    on_small_disk(Tcp, "ro", |scene| {
        let mut exporter = scene.exporter()?;
        let mut flows = Flows::new(1);
        let sent = [flows.templates(), flows.data(3)];
        exporter.send_all(&sent)?;
        is_failing(scene)?;
        scene.daemon.wait_for_log(&["Read-only", "mount it for writing"])?;
        remount(&scene.directory(), "rw")?;
        scene.wait_for_messages(2)?;
        scene.rotate()?;
        dump::hold(&scene.files()?, &sent)
    })
    .unwrap();
}

#[test]
fn a_directory_that_vanishes_takes_nothing_with_it() {
    let scene = Scene::new(Tcp, &[]).unwrap();
    let mut exporter = scene.exporter().unwrap();
    let mut flows = Flows::new(1);
    let mut sent = Vec::new();
    for round in 0..3 {
        let messages = if round == 0 { vec![flows.templates()] } else { vec![flows.data(3)] };
        exporter.send_all(&messages).unwrap();
        sent.extend(messages);
        scene.wait_for_messages(sent.len()).unwrap();
        if round == 0 {
            fs::remove_dir_all(scene.directory().parent().unwrap()).unwrap();
        }
        if round == 1 {
            scene.rotate().unwrap();
        }
    }
    scene.rotate().unwrap();
    let files = scene.files().unwrap();
    assert_eq!(files.len(), 2);
    dump::hold(&files, &sent).unwrap();
}
