//! Frames that are not quite as an exporter's network card would send them.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::frame::Checksum;
use ipfix_balancer_tests::lab::{Family, Lab, RawExporter, Shape, available};
use ipfix_balancer_tests::wire;

use crate::scene::{CROSSED, MODES, PAIRS, Scene, cases};

const MESSAGES: usize = 100;

/// An exporter on the same machine leaves its checksums to a network card that there is not.
#[test]
fn incomplete_checksums_go_up_and_arrive_right() {
    if !available() {
        return;
    }
    let lab = Shape::new(2).checksum_offload().build().unwrap();
    cases(CROSSED, |mode, family| incomplete(&lab, mode, family)).unwrap();
}

fn incomplete(lab: &Lab, mode: Mode, family: Family) -> Result<()> {
    let scene = Scene::new(lab, mode, family)?;
    let mut flows = Flows::new(7);
    let mut stream = scene.stream()?;
    stream.common(flows.templates())?;
    scene.setup.wait_until_up()?;
    stream.data((0..MESSAGES).map(|index| flows.data(1 + index % 20)))?;
    scene.judge(&[&stream], 0)?;
    let up = scene.status()?.passed_up("partial_checksum");
    ensure!(up > 50, "{up} of {MESSAGES}");
    Ok(())
}

/// A VLAN that neither the balancer nor the collectors have: its frames are lost if they go up, and
/// if they are forwarded as they are.
const NOWHERE: u16 = 5;

/// Half of a session by frames with a VLAN tag.
fn tagged(lab: &Lab, mode: Mode, family: Family) -> Result<()> {
    let scene = Scene::new(lab, mode, family)?;
    let raw = RawExporter::open(lab.exporter())?;
    let to = scene.setup.receiver.address();
    let mut stream = scene.stream()?;
    // The socket keeps the port from others, and answers no ICMP.
    let port = stream.exporter.address()?.port();
    let mut flows = Flows::new(7);
    stream.begin(&mut flows)?;
    for index in 0..MESSAGES {
        let message = flows.data(1 + index * 7 % 31);
        let frame = raw.frame(port, to, &message);
        if frame.build()? == frame.clone().checksum(Checksum::Partial).build()? {
            // One in 65536 goes up.
            stream.data([message])?;
            stream.settle(|| flows.data(1))?;
            continue;
        }
        raw.send(&frame.vlan(NOWHERE).build()?)?;
        stream.note_data(message)?;
    }
    scene.judge(&[&stream], MESSAGES)
}

#[test]
fn tagged_frames_are_forwarded_without_their_tag() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    cases(PAIRS, |mode, family| tagged(&lab, mode, family)).unwrap();
}

#[test]
fn tagged_frames_at_tc_are_forwarded_without_their_tag() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    lab.exporter().set_mtu(9000).unwrap();
    for mode in MODES {
        tagged(&lab, mode, Family::V4).unwrap();
    }
}

/// Ethernet frames have at least 60 octets: what follows the datagram is not part of it.
#[test]
fn padded_frames_are_forwarded() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for mode in MODES {
        let scene = Scene::new(&lab, mode, Family::V4).unwrap();
        let raw = RawExporter::open(lab.exporter()).unwrap();
        let to = scene.setup.receiver.address();
        let mut flows = Flows::new(7);
        let mut stream = scene.stream().unwrap();
        let port = stream.exporter.address().unwrap().port();
        stream.begin(&mut flows).unwrap();
        for index in 0..MESSAGES {
            let message = flows.data(1);
            let frame = raw.frame(port, to, &message).padding(1 + index % 30);
            raw.send(&frame.build().unwrap()).unwrap();
            stream.note_data(message).unwrap();
        }
        scene.judge(&[&stream], MESSAGES).unwrap();
    }
}

/// A message in two fragments in between goes up, is put together, and keeps its place.
#[test]
fn fragments_keep_their_place() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    cases(PAIRS, |mode, family| fragmented(&lab, mode, family)).unwrap();
}

fn fragmented(lab: &Lab, mode: Mode, family: Family) -> Result<()> {
    let mut scene = Scene::new(lab, mode, family)?;
    scene.window = 10;
    let raw = RawExporter::open(scene.lab.exporter())?;
    let to = scene.setup.receiver.address();
    let mut flows = Flows::new(7);
    let mut stream = scene.stream()?;
    let port = stream.exporter.address()?.port();
    stream.begin(&mut flows)?;
    for round in 0..20 {
        let message = flows.data(20);
        let frame = raw.frame(port, to, &message).identification(100 + round);
        frame.fragments(512)?.iter().try_for_each(|fragment| raw.send(fragment))?;
        stream.note_data(message)?;
        stream.data((0..15).map(|_| flows.data(3)))?;
    }
    let fragments = scene.status()?.passed_up("fragment");
    ensure!(fragments == 20, "{fragments} first fragments");
    scene.judge(&[&stream], 50)
}

/// Several messages in one datagram go up, and keep their place.
#[test]
fn several_messages_in_a_datagram_keep_their_place() {
    if !available() {
        return;
    }
    let lab = Lab::new(3).unwrap();
    for mode in MODES {
        let mut scene = Scene::new(&lab, mode, Family::V6).unwrap();
        scene.window = 12;
        let mut flows = Flows::new(7);
        let mut stream = scene.stream().unwrap();
        stream.begin(&mut flows).unwrap();
        for _ in 0..20 {
            let together: Vec<_> = (0..3).map(|_| flows.data(2)).collect();
            stream.exporter.send(&together.concat()).unwrap();
            together.into_iter().try_for_each(|message| stream.note_data(message)).unwrap();
            stream.data((0..15).map(|_| flows.data(3))).unwrap();
        }
        let lengths = scene.status().unwrap().passed_up("lengths");
        assert_eq!(lengths, 20);
        scene.judge(&[&stream], 50).unwrap();
        let sessions = stream.sessions().unwrap();
        let longest = sessions.iter().map(|session| session.largest_datagram).max();
        let message = flows.data(3).len().max(flows.templates().len());
        assert!(longest <= Some(message) && message > wire::MESSAGE_HEADER);
    }
}
