//! `--stream`, `--template`, `--from` and `--to`.

use anyhow::Result;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::{corpus, decode, pcap};
use serde_json::Value;

use crate::{DONE, Files, WRONG, inspect, objects, of_bytes};

fn records(options: &[&str], name: &str, bytes: &[u8]) -> Result<Vec<Value>> {
    let options = [&["--format", "json"], options].concat();
    objects(&of_bytes(&options, name, bytes)?)
}

fn count(options: &[&str], name: &str, bytes: &[u8]) -> Result<usize> {
    Ok(records(options, name, bytes)?.len())
}

#[test]
fn one_template_alone() {
    let file = corpus::file_named("ipfixcol/01-odid0.ipfix").unwrap();
    let decoded = decode::session(&file.messages);
    let templates: Vec<u16> = (256..300).collect();
    let counts = templates.iter().map(|id| {
        let records = records(&["--template", &id.to_string()], "a.ipfix", &file.stream()).unwrap();
        assert!(records.iter().all(|record| record["template"] == *id));
        records.len()
    });
    assert_eq!(counts.sum::<usize>(), decoded.records.len());
}

#[test]
fn a_span_of_time_with_templates_from_before() {
    let file = corpus::file_named("ipfixcol/01-odid0.ipfix").unwrap();
    let all = records(&[], "a.ipfix", &file.stream()).unwrap();
    let (from, to) = ("2014-07-21T09:40:00Z", "2014-07-21T10:00:00Z");
    let inside =
        |object: &&Value| object["time"].as_str().is_some_and(|time| from <= time && time < to);
    let expected = all.iter().filter(inside).count();
    assert!(0 < expected && expected < all.len());
    let found = count(&["--from", from, "--to", to], "a.ipfix", &file.stream()).unwrap();
    assert_eq!(found, expected);
    // The same instants with an offset.
    let (from, to) = ("2014-07-21T12:40:00+03:00", "2014-07-21T13:00:00+03:00");
    assert_eq!(count(&["--from", from, "--to", to], "a.ipfix", &file.stream()).unwrap(), expected);
}

#[test]
fn a_stream_by_the_name_of_the_file() {
    let bytes = Flows::new(1).session(2, 3).concat();
    let name = "20261123T120000Z_CLICKSTREAM_0.ipfix";
    assert_eq!(count(&["--stream", "clickstream"], name, &bytes).unwrap(), 6);
    assert_eq!(count(&["--stream", "FULLFLOW"], name, &bytes).unwrap(), 0);
    assert_eq!(count(&["--stream", "clickstream"], "dump.ipfix", &bytes).unwrap(), 0);
}

#[test]
fn a_stream_by_the_port_of_the_collector() {
    let messages = Flows::new(1).session(2, 3);
    let capture = pcap::from_udp_payloads(&messages, 1500).unwrap();
    assert_eq!(count(&["--stream", "fullflow"], "a.pcap", &capture).unwrap(), 6);
    assert_eq!(count(&["--stream", "clickstream"], "a.pcap", &capture).unwrap(), 0);
}

#[test]
fn what_cannot_be_asked_for_is_wrong_usage() {
    let file = Files::new().unwrap();
    let path = file.write("a.ipfix", &Flows::new(1).templates()).unwrap();
    for options in [
        &["--template", "255"][..],
        &["--stream", "flow"],
        &["--from", "yesterday"],
        &["--format", "xml"],
        &["--summary", "--format", "csv"],
    ] {
        let outcome = inspect(options, &path).unwrap();
        assert_eq!((outcome.code, outcome.stdout.as_str()), (WRONG, ""), "{options:?}");
        assert!(!outcome.stderr.is_empty(), "{options:?}");
    }
    assert_eq!(inspect(&["--stream", "FullFlow"], &path).unwrap().code, DONE);
}
