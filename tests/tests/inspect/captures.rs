//! Captures: UDP and TCP, retransmissions and gaps, pcap and pcapng.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use ipfix_balancer_tests::daemon::Outcome;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::frame::Frame;
use ipfix_balancer_tests::tools::to_pcapng;
use ipfix_balancer_tests::{corpus, pcap};
use serde_json::Value;

use crate::{DONE, FAILED, Files, objects, of_bytes, summary};

const EXPORTER: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
const COLLECTOR: ([u8; 4], u16) = ([10, 0, 0, 2], 1500);
const ISN: u32 = u32::MAX - 50;

fn address((ip, port): ([u8; 4], u16)) -> SocketAddr {
    (ip, port).into()
}

fn records(capture: &[u8]) -> Result<Vec<Value>> {
    objects(&of_bytes(&["--format", "json"], "a.pcap", capture)?)
}

/// What the records say, without where they came from.
fn contents(records: Vec<Value>) -> Vec<Value> {
    records.into_iter().filter_map(|record| record.get("fields").cloned()).collect()
}

fn of_stream(messages: &[Vec<u8>]) -> Result<Vec<Value>> {
    let text = of_bytes(&["--format", "json"], "a.ipfix", &messages.concat())?;
    Ok(contents(objects(&text)?))
}

/// A segment that carries part of a stream, `at` counted from the byte after the SYN.
fn segment(stream: &[u8], at: usize, length: usize) -> Result<Vec<u8>> {
    let sequence = ISN.wrapping_add(1).wrapping_add(u32::try_from(at)?);
    let end = (at + length).min(stream.len());
    packet(sequence, "", stream.get(at..end).context("nothing is there")?)
}

fn packet(sequence: u32, flag: &str, payload: &[u8]) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(EXPORTER.0, COLLECTOR.0, 64).tcp(
        EXPORTER.1,
        COLLECTOR.1,
        sequence,
        1000,
    );
    let builder = match flag {
        "syn" => builder.syn(),
        "fin" => builder.fin(),
        _ => builder.ack(1),
    };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload)?;
    Ok(bytes)
}

/// The SYN, then the whole stream in segments of this length.
fn connection(stream: &[u8], length: usize) -> Result<Vec<Vec<u8>>> {
    let segments = (0..stream.len()).step_by(length).map(|at| segment(stream, at, length));
    std::iter::once(packet(ISN, "syn", &[])).chain(segments).collect()
}

/// The summary of a capture of these frames.
fn summary_of(frames: &[Vec<u8>]) -> Result<(Value, Outcome)> {
    summary(&Files::new()?.write("a.pcap", &pcap::from_frames(frames)?)?)
}

#[test]
fn datagrams_are_read_with_their_ends() {
    let messages = Flows::new(1).session(3, 5);
    let records = records(&pcap::from_udp_payloads(&messages, 4739).unwrap()).unwrap();
    assert!(records.iter().all(|record| record["exporter"] == "[::1]:4740"));
    assert!(records.iter().all(|record| record["collector"] == "[::1]:4739"));
    assert!(records.iter().all(|record| record["protocol"] == "udp"));
    assert_eq!(contents(records), of_stream(&messages).unwrap());
}

#[test]
fn vlan_tags_and_other_traffic_are_passed_over() {
    let messages = Flows::new(1).session(3, 5);
    let frame = |payload: &[u8]| {
        Frame::udp(address(EXPORTER), address(COLLECTOR), payload).vlan(7).build().unwrap()
    };
    let mut frames: Vec<_> = messages.iter().map(|message| frame(message)).collect();
    frames.insert(1, frame(b"\0\x01 a question"));
    frames.insert(1, vec![0; 60]);
    assert_eq!(
        contents(records(&pcap::from_frames(&frames).unwrap()).unwrap()),
        of_stream(&messages).unwrap()
    );
}

#[test]
fn fragments_are_reported() {
    let message = Flows::new(1).data(100);
    let frame = Frame::udp(address(EXPORTER), address(COLLECTOR), &message);
    let (summary, outcome) = summary_of(&frame.fragments(800).unwrap()).unwrap();
    assert_eq!((outcome.code, &summary["messages"]), (FAILED, &0.into()));
    assert!(outcome.stderr.contains("fragmented IP packet"), "{}", outcome.stderr);
}

#[test]
fn a_connection_is_put_together_from_segments_of_any_size() {
    let messages = Flows::new(1).session(8, 5);
    let stream = messages.concat();
    for length in [1, 7, 100, 1448, 9000] {
        let frames = connection(&stream, length).unwrap();
        let records = records(&pcap::from_frames(&frames).unwrap()).unwrap();
        assert!(records.iter().all(|record| record["protocol"] == "tcp"));
        assert_eq!(contents(records), of_stream(&messages).unwrap(), "{length}");
    }
}

#[test]
fn what_is_sent_again_is_taken_once() {
    let messages = Flows::new(1).session(8, 5);
    let stream = messages.concat();
    let mut frames = vec![packet(ISN, "syn", &[]).unwrap()];
    for at in (0..stream.len()).step_by(100) {
        frames.push(segment(&stream, at, 100).unwrap());
        frames.push(segment(&stream, at, 100).unwrap());
        // Some of it is new, and most of it is not.
        frames.push(segment(&stream, at.saturating_sub(50), 160).unwrap());
    }
    assert_eq!(
        contents(records(&pcap::from_frames(&frames).unwrap()).unwrap()),
        of_stream(&messages).unwrap()
    );
}

#[test]
fn a_gap_is_reported_and_reading_goes_on_behind_it() {
    let messages = Flows::new(1).session(20, 5);
    let stream = messages.concat();
    let mut frames = connection(&stream, 100).unwrap();
    frames.remove(10);
    let (summary, outcome) = summary_of(&frames).unwrap();
    assert_eq!(outcome.code, FAILED);
    assert!(outcome.stderr.contains("bytes of a TCP connection are missing"), "{outcome:?}");
    let lost = summary["missing_records"].as_u64().unwrap();
    let found = summary["flow_records"].as_u64().unwrap();
    assert_eq!((lost % 5, found + lost), (0, 100), "{summary}");
    assert!(lost > 0 && lost <= 10, "{summary}");
}

#[test]
fn a_connection_that_began_before_the_capture_is_joined() {
    let messages = Flows::new(1).session(20, 5);
    let stream = [messages.concat(), messages.concat()].concat();
    let frames: Vec<_> = connection(&stream, 100).unwrap().into_iter().skip(4).collect();
    let (summary, outcome) = summary_of(&frames).unwrap();
    assert_eq!(outcome.code, DONE, "{outcome:?}");
    let read = summary["messages"].as_u64().unwrap();
    assert!((38..42).contains(&read), "{summary}");
    assert_eq!(summary["flow_records"], 100, "the second round has its templates");
}

#[test]
fn a_new_connection_from_the_same_port_is_a_new_session() {
    let first = Flows::new(1).session(2, 5).concat();
    let data = Flows::new(1).data(5);
    let again = [packet(5000, "syn", &[]), packet(5001, "", &data), packet(9000, "fin", &[])];
    let mut frames = connection(&first, 9000).unwrap();
    frames.extend(again.into_iter().map(Result::unwrap));
    let (summary, _) = summary_of(&frames).unwrap();
    assert_eq!(summary["domains"].as_array().map(Vec::len), Some(2), "{summary}");
    assert_eq!(summary["sets_without_template"], 1, "templates ended with their session");
}

#[test]
fn pcapng_and_compressed_captures_say_the_same() -> Result<()> {
    let files = Files::new()?;
    let original = corpus::folder().join("netgauze/srv6__srv6.pcap");
    let (expected, _) = summary(&original)?;
    let pcapng = files.0.path().join("a.pcapng");
    to_pcapng(&original, &pcapng)?;
    let packed = zstd::encode_all(&std::fs::read(&original)?[..], 1)?;
    for path in [pcapng, files.write("a.pcap.zst", &packed)?] {
        let (summary, outcome) = summary(&path)?;
        assert_eq!((outcome.code, outcome.stderr.as_str()), (DONE, ""));
        assert_eq!(summary["domains"], expected["domains"], "{}", path.display());
    }
    Ok(())
}

#[test]
fn a_cut_capture_is_read_as_far_as_it_goes() {
    let messages = Flows::new(1).session(10, 5);
    let whole = pcap::from_udp_payloads(&messages, 4739).unwrap();
    let files = Files::new().unwrap();
    for length in (0..whole.len()).step_by(61) {
        let path = files.write("a.pcap", &whole[..length]).unwrap();
        let (_, outcome) = summary(&path).unwrap();
        assert!([DONE, FAILED].contains(&outcome.code), "{length}: {outcome:?}");
        assert!(!outcome.stderr.contains("panicked"), "{length}: {outcome:?}");
    }
}
