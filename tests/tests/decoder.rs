//! The judge judged: the library's decoder against the manifest's counts, which another program
//! made, and against `netflow_parser`.

use std::collections::BTreeMap;

use ipfix_balancer_tests::corpus::{self, File};
use ipfix_balancer_tests::decode::{self, Problem};
use ipfix_balancer_tests::wire;
use netflow_parser::variable_versions::ipfix::FlowSetBody;
use netflow_parser::{NetflowPacket, NetflowParser};

/// Files with variable-length values of length 0, which RFC 7011 allows and `netflow_parser`
/// takes for an error.
const EMPTY_VALUES: [&str; 4] = [
    "ipfixcol/01-odid0.ipfix",
    "ipfixcol/02-odid0.ipfix",
    "ipfixcol/02-odid4.ipfix",
    "logstash-codec-netflow/ipfix_test_ixia_tpldata271.dat",
];

#[test]
fn counts_are_the_manifests() {
    for file in corpus::valid().unwrap() {
        let decoded = decode::session(&file.messages);
        let path = &file.path;
        assert_eq!(decoded.templates, file.templates, "templates of {path}");
        assert_eq!(decoded.options_templates, file.options_templates, "options of {path}");
        assert_eq!(decoded.records.len(), file.data_records, "records of {path}");
        assert_eq!(decoded.unknown_templates(), file.sets_without_template, "unknown in {path}");
        assert_eq!(decoded.domains.len(), file.domains, "domains of {path}");
        let malformed = |problem: &Problem| matches!(problem, Problem::Malformed { .. });
        assert!(!decoded.problems.iter().any(malformed), "{path}: {:?}", decoded.problems);
    }
}

#[test]
fn netflow_parser_agrees() {
    for file in corpus::valid().unwrap() {
        let ours = decode::session(&file.messages).records.len();
        let theirs = second_opinion(&file);
        if EMPTY_VALUES.contains(&file.path.as_str()) {
            assert!(theirs < ours, "{}: netflow_parser has learnt empty values", file.path);
        } else {
            assert_eq!(theirs, ours, "{}", file.path);
        }
    }
}

#[test]
fn what_is_malformed_is_noticed() {
    for file in corpus::load().unwrap().iter().filter(|file| !file.is_valid()) {
        let decoded = decode::session(&file.messages);
        let malformed = |problem: &Problem| matches!(problem, Problem::Malformed { .. });
        assert!(decoded.problems.iter().any(malformed), "{}", file.path);
    }
}

/// Records that `netflow_parser` finds, with one parser a domain: it keeps templates by id alone.
fn second_opinion(file: &File) -> usize {
    let mut parsers = BTreeMap::new();
    let mut records = 0;
    for message in &file.messages {
        let parser = parsers.entry(wire::domain(message)).or_insert_with(NetflowParser::default);
        records += parser.parse_bytes(message).packets.iter().map(records_of).sum::<usize>();
    }
    records
}

fn records_of(packet: &NetflowPacket) -> usize {
    let NetflowPacket::IPFix(message) = packet else { return 0 };
    let of_set = |body: &FlowSetBody| match body {
        FlowSetBody::Data(data) => data.fields.len(),
        FlowSetBody::OptionsData(data) => data.fields.len(),
        _ => 0,
    };
    message.flowsets.iter().map(|set| of_set(&set.body)).sum()
}
