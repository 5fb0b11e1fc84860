//! `DUMP_INSERT_PROCESSES`: what is recorded goes to other hosts as well.

use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::net::V4;
use ipfix_balancer_tests::{decode, dump};
use tempfile::tempdir;

use crate::scene::{Scene, directory, receiver};

#[test]
fn copies_go_out_each_by_its_own_protocol_and_the_files_have_all() {
    for input in [Tcp, Udp] {
        let collectors = [Collector::start(Tcp, V4).unwrap(), Collector::start(Udp, V4).unwrap()];
        let folder = tempdir().unwrap();
        let receiver = receiver(input, &directory(&folder), &[]).unwrap().copies_to(&collectors);
        let scene = Scene::serving(folder, receiver).unwrap();
        let mut exporter = scene.exporter().unwrap();
        let mut flows = Flows::new(1);
        let mut sent = vec![flows.templates(), flows.options_data(1)];
        sent.extend((0..50).map(|_| flows.data(4)));
        exporter.send_all(&sent).unwrap();
        for collector in &collectors {
            collector.wait_for(sent.len()).unwrap();
            assert_eq!(collector.sessions()[0].messages, sent);
        }
        scene.wait_for_messages(sent.len()).unwrap();
        scene.rotate().unwrap();
        dump::hold(&scene.files().unwrap(), &sent).unwrap();
    }
}

#[test]
fn a_reload_adds_a_copy_and_the_file_goes_on() {
    let first = Collector::start(Tcp, V4).unwrap();
    let both = [first, Collector::start(Udp, V4).unwrap()];
    let folder = tempdir().unwrap();
    let plain = receiver(Tcp, &directory(&folder), &[]).unwrap();
    let scene = Scene::serving(folder, plain.clone().copies_to(&both[..1])).unwrap();
    let mut exporter = scene.exporter().unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates(), flows.options_data(1), flows.data(2)];
    exporter.send_all(&sent).unwrap();
    scene.wait_for_messages(sent.len()).unwrap();
    scene.daemon.edit(&[plain.copies_to(&both)]).unwrap();
    assert_eq!(scene.daemon.reload().unwrap().code, 0);
    sent.push(flows.data(3));
    exporter.send(&sent[3]).unwrap();
    both[0].wait_for(4).unwrap();
    assert_eq!(both[0].sessions()[0].messages, sent);
    both[1].wait_for(2).unwrap();
    let late = decode::session(&both[1].sessions()[0].messages);
    assert_eq!((late.problems.len(), late.flows().count()), (0, 3));
    scene.wait_for_messages(sent.len()).unwrap();
    scene.rotate().unwrap();
    let files = scene.files().unwrap();
    assert_eq!(files.len(), 1);
    dump::hold(&files, &sent).unwrap();
}

#[test]
fn a_collector_that_is_away_does_not_delay_recording() {
    let folder = tempdir().unwrap();
    let receiver = receiver(Tcp, &directory(&folder), &[]).unwrap();
    // Nobody is there; and a pause longer than the test.
    let receiver = receiver.set("EXPORT", "127.0.0.1/9/tcp").set("RECONNECT_SECONDS", 3600);
    let scene = Scene::serving(folder, receiver).unwrap();
    let mut exporter = scene.exporter().unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend((0..50).map(|_| flows.data(4)));
    exporter.send_all(&sent).unwrap();
    scene.wait_for_messages(sent.len()).unwrap();
    scene.rotate().unwrap();
    dump::hold(&scene.files().unwrap(), &sent).unwrap();
}
