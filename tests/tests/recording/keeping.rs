//! What becomes of finished files: retention, compression, and who is told.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::dump;
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::poll;

use crate::scene::Scene;

/// Records about 600 kB into a file of its own.
fn record(scene: &Scene, exporter: &mut Exporter, flows: &mut Flows) -> Result<()> {
    let before = scene.daemon.status()?.receiver("FULLFLOW[0]")?.recorded("messages");
    let mut messages = vec![flows.templates()];
    messages.extend((0..10).map(|_| flows.data(1450)));
    exporter.send_all(&messages)?;
    scene.wait_for_messages(usize::try_from(before)? + messages.len())?;
    scene.rotate()
}

#[test]
fn the_oldest_files_go_when_there_are_too_many_or_they_are_too_old() {
    let scene = Scene::new(Tcp, &[("DUMP_KEEP_MB", "2"), ("DUMP_KEEP_DAYS", "10")]).unwrap();
    let (mut exporter, mut flows) = (scene.exporter().unwrap(), Flows::new(1));
    let foreign = scene.directory().join("20200101T000000Z_dnsflow-0_dpi0_127.0.0.1-1.ipfix");
    record(&scene, &mut exporter, &mut flows).unwrap();
    fs::write(&foreign, "not ours").unwrap();
    let first = dump::ending_with(&scene.directory(), ".ipfix").pop().unwrap();
    for _ in 0..3 {
        record(&scene, &mut exporter, &mut flows).unwrap();
    }
    let ours = || {
        let mut files = dump::ending_with(&scene.directory(), ".ipfix");
        files.retain(|path| *path != foreign);
        files
    };
    poll::wait("the first is deleted", || !first.exists()).unwrap();
    let kept = ours();
    assert_eq!(kept.len(), 3);
    let old = SystemTime::now() - Duration::from_secs(11 * 24 * 3600);
    File::options().write(true).open(&kept[1]).unwrap().set_modified(old).unwrap();
    scene.rotate().unwrap();
    poll::wait("the old one is deleted", || !kept[1].exists()).unwrap();
    assert_eq!(ours().len(), 2);
    assert!(foreign.exists());
}

#[test]
fn files_are_compressed_and_then_given_to_the_command() {
    let seen = tempfile::tempdir().unwrap();
    let command = format!("cp -t {}", seen.path().display());
    let scene = Scene::new(Tcp, &[("DUMP_ZSTD", "on"), ("ROTATE_COMMAND", &command)]).unwrap();
    let (mut exporter, mut flows) = (scene.exporter().unwrap(), Flows::new(1));
    record(&scene, &mut exporter, &mut flows).unwrap();
    poll::wait("the command has seen it", || {
        !dump::ending_with(seen.path(), ".ipfix.zst").is_empty()
    })
    .unwrap();
    let compressed = dump::ending_with(&scene.directory(), "");
    assert_eq!(compressed.len(), 1, "{compressed:?}");
    let plain = seen.path().join("plain.ipfix");
    let bytes = zstd::decode_all(File::open(&compressed[0]).unwrap()).unwrap();
    fs::write(&plain, bytes).unwrap();
    let file = dump::DumpFile::read(&plain).unwrap();
    dump::stands_alone(&file).unwrap();
    assert_eq!(file.decoded().flows().count(), 14_500);
}

#[test]
fn a_command_may_move_files_away_and_no_name_comes_twice() {
    let away = tempfile::tempdir().unwrap();
    let command = format!("mv -t {}", away.path().display());
    let parameters = [("FW_MAX_QUEUE_SIZE", "1"), ("ROTATE_COMMAND", command.as_str())];
    let scene = Scene::new(Tcp, &parameters).unwrap();
    let (mut exporter, mut flows) = (scene.exporter().unwrap(), Flows::new(1));
    let mut sent = vec![flows.templates()];
    exporter.send(&sent[0]).unwrap();
    for count in 1..=20 {
        sent.push(flows.data(1));
        exporter.send(&sent[count]).unwrap();
        poll::wait("the file before is away", || {
            dump::ending_with(away.path(), ".ipfix").len() + 1 >= count
        })
        .unwrap();
    }
    scene.rotate().unwrap();
    poll::wait("all are away", || dump::ending_with(away.path(), ".ipfix").len() == 20).unwrap();
    dump::hold(&dump::finished(away.path()).unwrap(), &sent).unwrap();
}

#[test]
fn the_process_of_the_pid_file_gets_hup() {
    let folder = tempfile::tempdir().unwrap();
    let (pidfile, told) = (folder.path().join("pid"), folder.path().join("told"));
    let script = format!("trap '> {}; exit' HUP; while :; do sleep 0.05; done", told.display());
    let mut waits = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    fs::write(&pidfile, waits.id().to_string()).unwrap();
    let pidfile = pidfile.display().to_string();
    let scene = Scene::new(Tcp, &[("ROTATE_HUP_PIDFILE", &pidfile)]).unwrap();
    poll::wait("it was told", || {
        scene.rotate().unwrap();
        told.exists()
    })
    .unwrap();
    assert!(waits.wait().unwrap().success());
    scene.rotate().unwrap();
    scene.daemon.wait_for_log(&["can't send HUP", "No such process"]).unwrap();
}
