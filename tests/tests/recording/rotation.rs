//! When files end, end to end; the rules themselves are tested with a clock of their own.

use std::time::Duration;

use ipfix_balancer_tests::collector::{
    Collector,
    Protocol::{Tcp, Udp},
};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver, render};
use ipfix_balancer_tests::dump;
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;

use crate::scene::{Scene, receiver};

#[test]
fn files_end_with_the_seconds_of_the_clock() {
    let scene = Scene::new(Tcp, &[("ROTATE_DELAY_SECONDS", "1")]).unwrap();
    let mut exporter = scene.exporter().unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    exporter.send_all(&sent).unwrap();
    poll::wait("three files", || {
        let message = flows.data(1);
        exporter.send(&message).unwrap();
        sent.push(message);
        scene.wait_for_messages(sent.len()).unwrap();
        dump::finished(&scene.directory()).unwrap().len() >= 3
    })
    .unwrap();
    scene.rotate().unwrap();
    let files = scene.files().unwrap();
    dump::hold(&files, &sent).unwrap();
    let mut starts: Vec<_> = files.iter().map(|file| file.part(0)).collect();
    let all = starts.len();
    starts.dedup();
    // The last one was ended by hand, and may have begun in the same second.
    assert!(starts.len() + 1 >= all && starts.is_sorted(), "{starts:?}");
}

#[test]
fn files_end_with_their_last_record_whether_numbers_count_them_or_not() {
    for counts in [true, false] {
        let scene = Scene::new(Tcp, &[("FW_MAX_QUEUE_SIZE", "10")]).unwrap();
        let mut exporter = scene.exporter().unwrap();
        let mut flows = Flows::new(1);
        let mut sent = vec![flows.templates()];
        for _ in 0..10 {
            let next = if counts { flows.clone() } else { flows.clone().starting_at(0) };
            flows = next;
            sent.push(flows.data(5));
        }
        exporter.send_all(&sent).unwrap();
        scene.wait_for_messages(sent.len()).unwrap();
        scene.rotate().unwrap();
        let files = dump::finished(&scene.directory()).unwrap();
        dump::hold(&files, &sent).unwrap();
        let flows: Vec<_> = files.iter().map(|file| file.decoded().flows().count()).collect();
        assert_eq!(flows, [10; 5], "{counts}");
    }
}

#[test]
fn intervals_without_a_message_leave_no_file_unless_they_are_asked_for() {
    for (empty, expected) in [("off", 2), ("on", 3)] {
        let scene = Scene::new(Tcp, &[("DUMP_EMPTY", empty)]).unwrap();
        let mut exporter = scene.exporter().unwrap();
        let mut flows = Flows::new(1);
        exporter.send_all(&[flows.templates(), flows.options_data(2)]).unwrap();
        scene.wait_for_messages(2).unwrap();
        scene.rotate().unwrap();
        scene.rotate().unwrap();
        exporter.send(&flows.data(1)).unwrap();
        scene.wait_for_messages(3).unwrap();
        scene.rotate().unwrap();
        let files = scene.files().unwrap();
        assert_eq!(files.len(), expected, "{empty}");
        if empty == "on" {
            let silent = files.iter().find(|file| file.messages.len() == 1).unwrap().decoded();
            assert_eq!((silent.templates, silent.options().count()), (2, 3));
        }
    }
}

#[test]
fn a_clickstream_receiver_rotates_with_the_fullflow_of_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("dump");
    let make = |stream, index, parameters: &[(&str, &str)]| -> Receiver {
        receiver(Udp, &directory, parameters).unwrap().named(stream, index)
    };
    let receivers = [
        make("FULLFLOW", 3, &[("FW_MAX_QUEUE_SIZE", "4"), ("ROTATE_MINUTES", "600")]),
        make("CLICKSTREAM", 3, &[("ROTATE_MINUTES", "600")]),
        make("CLICKSTREAM", 4, &[("ROTATE_MINUTES", "600")]),
    ];
    let daemon = Daemon::start(&receivers).unwrap();
    let mut sessions: Vec<_> = receivers
        .iter()
        .map(|receiver| {
            let mut exporter = Exporter::connect(Udp, receiver.address()).unwrap();
            let mut flows = Flows::new(1);
            exporter.send_all(&[flows.templates(), flows.data(2)]).unwrap();
            daemon
                .wait_for(&receiver.name(), "two messages", |now| now.recorded("messages") == 2)
                .unwrap();
            (exporter, flows)
        })
        .collect();
    // The Fullflow receiver has its four records, and with the next message a new interval.
    let (exporter, flows) = &mut sessions[0];
    exporter.send_all(&[flows.data(2), flows.data(2)]).unwrap();
    for (name, files) in [("FULLFLOW[3]", 1), ("CLICKSTREAM[3]", 1)] {
        daemon
            .wait_for(name, "a finished file", |now| now.recorded("finished_files") == files)
            .unwrap();
    }
    let other = daemon.status().unwrap().receiver("CLICKSTREAM[4]").unwrap();
    assert_eq!((other.recorded("finished_files"), other.recorded("open_files")), (0, 1));
    // At the same instant: what comes next begins with the same second.
    let (exporter, flows) = &mut sessions[1];
    exporter.send(&flows.data(1)).unwrap();
    assert_eq!(daemon.command(&["rotate"]).unwrap().code, 0);
    let files = dump::finished(&directory).unwrap();
    let starts = |receiver: &str| -> Vec<String> {
        let of = files.iter().filter(|file| file.part(1) == receiver);
        of.map(|file| file.part(0)).collect()
    };
    assert_eq!(starts("fullflow-3").len(), 2);
    // The first interval began with the receiver.
    assert_eq!(starts("fullflow-3")[1..], starts("clickstream-3")[1..]);
}

#[test]
fn rotate_says_who_did() {
    let scene = Scene::new(Tcp, &[]).unwrap();
    let outcome = scene.daemon.command(&["rotate"]).unwrap();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "rotated: FULLFLOW[0]\n"));
    let address = free_address(V4).unwrap();
    let elsewhere =
        Receiver::new(Mode::All, Tcp, address).destinations(Tcp, &[free_address(V4).unwrap()]);
    let daemon = Daemon::start(&[elsewhere]).unwrap();
    let outcome = daemon.command(&["rotate"]).unwrap();
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("no receiver records"), "{}", outcome.stderr);
}

#[test]
fn a_reload_moves_the_directory_and_keeps_the_session() {
    let scene = Scene::new(Tcp, &[]).unwrap();
    let elsewhere = scene.directory().with_file_name("elsewhere");
    let mut exporter = scene.exporter().unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates(), flows.data(3)];
    exporter.send_all(&sent).unwrap();
    scene.wait_for_messages(2).unwrap();
    let moved = scene.receiver.clone().set("ROTATE_COMMAND", "true");
    let text = render(&[moved]);
    let text = text.replace(
        &format!("DUMP_DIR[0]={}", scene.directory().display()),
        &format!("DUMP_DIR[0]={}", elsewhere.display()),
    );
    std::fs::write(scene.daemon.config(), text).unwrap();
    assert_eq!(scene.daemon.reload().unwrap().code, 0);
    sent.push(flows.data(2));
    exporter.send(&sent[2]).unwrap();
    scene.wait_for_messages(3).unwrap();
    scene.rotate().unwrap();
    let mut files = scene.files().unwrap();
    files.extend(dump::finished(&elsewhere).unwrap());
    assert_eq!(files.len(), 2);
    files.iter().try_for_each(dump::stands_alone).unwrap();
    dump::hold(&files, &sent).unwrap();
}

#[test]
fn a_reload_ends_recording_and_begins_it_again() {
    let scene = Scene::new(Tcp, &[]).unwrap();
    let collectors = [Collector::start(Tcp, V4).unwrap()];
    let mut exporter = scene.exporter().unwrap();
    let mut flows = Flows::new(1);
    let first = vec![flows.templates(), flows.data(3)];
    exporter.send_all(&first).unwrap();
    scene.wait_for_messages(2).unwrap();
    let balancing = Receiver::new(Mode::All, Tcp, scene.receiver.address()).to(&collectors);
    scene.daemon.edit(&[balancing]).unwrap();
    assert_eq!(scene.daemon.reload().unwrap().code, 0);
    let second = flows.data(3);
    exporter.send(&second).unwrap();
    collectors[0].wait_for(2).unwrap();
    poll::wait("the file is finished", || scene.files().is_ok_and(|files| files.len() == 1))
        .unwrap();
    scene.daemon.edit(std::slice::from_ref(&scene.receiver)).unwrap();
    assert_eq!(scene.daemon.reload().unwrap().code, 0);
    let third = flows.data(3);
    exporter.send(&third).unwrap();
    scene.wait_for_messages(3).unwrap();
    scene.rotate().unwrap();
    let files = scene.files().unwrap();
    assert_eq!(files.len(), 2);
    dump::hold(&files[..1], &first).unwrap();
    dump::hold(&files[1..], &[third]).unwrap();
    assert_eq!(collectors[0].sessions()[0].messages.last(), Some(&second));
}

#[test]
fn the_end_of_a_session_ends_its_file() {
    let scene = Scene::new(Tcp, &[]).unwrap();
    let mut exporter = scene.exporter().unwrap();
    exporter.send(&Flows::new(1).templates()).unwrap();
    scene.wait_for_messages(1).unwrap();
    assert_eq!(dump::ending_with(&scene.directory(), ".part").len(), 1);
    drop(exporter);
    poll::until(Duration::from_secs(20), "the file is finished", || {
        (scene.files().unwrap().len() == 1).then_some(())
    })
    .unwrap();
    assert!(dump::ending_with(&scene.directory(), ".part").is_empty());
}
