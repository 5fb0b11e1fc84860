//! Files that are cut, broken, still being written, compressed, not there, or not files.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use ipfix_balancer_tests::daemon;
use ipfix_balancer_tests::exporter::{Flows, Message};
use ipfix_balancer_tests::wire;
use serde_json::Value;

use crate::{DONE, FAILED, Files, inspect, of_bytes, run, summary};

/// How many flow records are read, the exit code, and what is said.
fn flow_records(files: &Files, name: &str, bytes: &[u8]) -> Result<(u64, i32, String)> {
    let (summary, outcome) = summary(&files.write(name, bytes)?)?;
    let records = summary.get("flow_records").and_then(Value::as_u64).context("no count")?;
    Ok((records, outcome.code, outcome.stderr))
}

#[test]
fn a_cut_file_is_read_to_its_last_whole_message() {
    let files = Files::new().unwrap();
    let stream = Flows::new(1).session(6, 4).concat();
    for length in (0..stream.len()).step_by(37) {
        let cut = &stream[..length];
        let (messages, used) = wire::cut(cut);
        let records = 4 * messages.len().saturating_sub(1) as u64;
        let whole = used == length;
        let (found, code, said) = flow_records(&files, "a.ipfix", cut).unwrap();
        assert_eq!((found, code), (records, if whole { DONE } else { FAILED }), "{length}");
        let place = format!("at byte {used}: no whole IPFIX message");
        assert!(whole || said.contains(&place), "{length}: {said}");
        assert!(whole || said.ends_with(&format!(": {}\n", length - used)), "{length}: {said}");
        let (found, code, said) = flow_records(&files, "a.ipfix.part", cut).unwrap();
        assert_eq!((found, code, said.as_str()), (records, DONE, ""), "{length}");
    }
}

#[test]
fn what_is_broken_is_skipped_and_the_rest_is_read() {
    let files = Files::new().unwrap();
    let mut flows = Flows::new(1);
    let first = [flows.templates(), flows.data(3)].concat();
    let malformed = Message::new(1, 3).set_claiming(256, 9, &[0; 4]).build();
    let rest = [flows.data(3), flows.data(3)].concat();
    for (name, between) in [("garbage", vec![0xff; 1000]), ("malformed", malformed)] {
        let bytes = [&first[..], &between, &rest].concat();
        let (records, code, said) = flow_records(&files, name, &bytes).unwrap();
        assert_eq!((records, code), (9, FAILED), "{name}: {said}");
        assert!(said.contains(&format!("at byte {}: ", first.len())), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_file_with_very_many_faults_is_reported_in_few_lines() {
    let files = Files::new().unwrap();
    let malformed = Message::new(1, 3).set_claiming(256, 9, &[0; 4]).build();
    let (_, code, said) = flow_records(&files, "a.ipfix", &malformed.repeat(1000)).unwrap();
    assert_eq!((code, said.lines().count()), (FAILED, 21), "{said}");
    assert!(said.ends_with("further faults: 980\n"), "{said}");
}

#[test]
fn compressed_files_say_what_they_say_otherwise() {
    let stream = Flows::new(1).session(50, 20).concat();
    let packed = zstd::encode_all(&stream[..], 3).unwrap();
    let plain = of_bytes(&["--format", "csv"], "a.ipfix", &stream).unwrap();
    assert_eq!(of_bytes(&["--format", "csv"], "a.ipfix.zst", &packed).unwrap(), plain);
    let files = Files::new().unwrap();
    let cut = files.write("cut.ipfix.zst", &packed[..packed.len() / 2]).unwrap();
    let outcome = inspect(&["--format", "csv"], &cut).unwrap();
    assert_eq!(outcome.code, FAILED);
    assert!(outcome.stderr.contains("can't read: "), "{}", outcome.stderr);
    assert!(plain.starts_with(&outcome.stdout));
    let growing = files.write("cut.ipfix.zst.part", &packed[..packed.len() / 2]).unwrap();
    let outcome = inspect(&["--format", "csv"], &growing).unwrap();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (DONE, ""));
}

#[test]
fn a_file_that_is_not_there_does_not_keep_the_others_from_being_read() {
    let files = Files::new().unwrap();
    let there = files.write("there.ipfix", &Flows::new(1).session(1, 2).concat()).unwrap();
    let missing = files.0.path().join("missing.ipfix");
    let arguments = [OsStr::new("--summary"), missing.as_os_str(), there.as_os_str()];
    let outcome = run(arguments).unwrap();
    assert_eq!(outcome.code, FAILED);
    assert!(outcome.stderr.contains("missing.ipfix: at byte 0: can't read: "), "{outcome:?}");
    assert!(outcome.stdout.contains("flow records 2 "), "{outcome:?}");
}

#[test]
fn standard_input_is_a_file_too() {
    let stream = Flows::new(1).session(3, 2).concat();
    let mut child = Command::new(daemon::binary().unwrap())
        .args(["inspect", "--summary", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&stream).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("flow records 6 "));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let files = Files::new().unwrap();
    let path = files.write("a.ipfix", &Flows::new(1).session(2000, 30).concat()).unwrap();
    let mut child = Command::new(daemon::binary().unwrap())
        .arg("inspect")
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("a.ipfix"), "{line}");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(DONE), 0), "{output:?}");
}
