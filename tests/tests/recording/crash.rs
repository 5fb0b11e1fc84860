//! `kill -9` at any moment: files with their names stay as they are, the others are finished by the
//! next start, and what they have is what came first, without a hole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::dump::{self, DumpFile};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::poll;

use crate::scene::Scene;

const ROUNDS: usize = 12;
/// Messages of a round.
const MESSAGES: usize = 600;

/// The content of every finished file.
fn contents(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let finished = dump::ending_with(directory, ".ipfix");
    finished.into_iter().map(|path| Ok((path.clone(), fs::read(path)?))).collect()
}

#[test]
fn nothing_that_has_its_name_is_damaged_and_the_rest_is_finished() {
    // A new file every few messages: most of what there is to interrupt happens all the time.
    let mut scene = Scene::new(Tcp, &[("FW_MAX_QUEUE_SIZE", "40")]).unwrap();
    let mut cut = 0;
    for round in 0..ROUNDS {
        let mut exporter = scene.exporter().unwrap();
        let name = exporter.address().unwrap().port().to_string();
        let mut flows = Flows::new(1);
        let mut sent = vec![flows.templates()];
        sent.extend((0..MESSAGES).map(|size| flows.named_data(3, size % 500)));
        // Each time at another place, which no clock decides.
        let last = 1 + (round * 211 + 7) % MESSAGES;
        for message in sent.iter().take(last) {
            exporter.send(message).unwrap();
        }
        if round % 3 == 0 {
            scene.wait_for_messages(last / 2).unwrap();
        }
        scene.daemon.kill().unwrap();
        let before = contents(&scene.directory()).unwrap();
        cut += dump::ending_with(&scene.directory(), ".part").len();
        scene.daemon.restart().unwrap();
        poll::wait("nothing is unfinished", || {
            dump::ending_with(&scene.directory(), ".part").is_empty()
        })
        .unwrap();
        let after = contents(&scene.directory()).unwrap();
        for (path, bytes) in &before {
            assert_eq!(after.get(path), Some(bytes), "{}", path.display());
        }
        let files: Vec<DumpFile> = scene.files().unwrap();
        let ours: Vec<_> = files.iter().filter(|f| f.part(3).ends_with(&name)).collect();
        let there = dump::begin_with(ours, &sent).unwrap();
        assert!(there <= last, "{there} of {last}");
        if round % 3 == 0 {
            assert!(there >= last / 2, "{there} of {last}");
        }
        for path in after.keys() {
            fs::remove_file(path).unwrap();
        }
    }
    assert!(cut > 0, "no round has interrupted a file");
}

#[test]
fn a_stop_finishes_every_file() {
    let mut scene = Scene::new(Tcp, &[]).unwrap();
    let mut exporter = scene.exporter().unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend((0..200).map(|_| flows.data(5)));
    exporter.send_all(&sent).unwrap();
    // What nobody has accepted yet is not ours to record.
    scene.daemon.wait_for("FULLFLOW[0]", "the session", |now| now.sessions() == 1).unwrap();
    scene.daemon.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(scene.daemon.wait_for_exit().unwrap().success());
    assert!(dump::ending_with(&scene.directory(), ".part").is_empty());
    dump::hold(&scene.files().unwrap(), &sent).unwrap();
}
