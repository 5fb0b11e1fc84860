//! The tools of other projects by themselves: each counts what it should, and notices what it
//! should, before anything is concluded from them about the balancer.

use ipfix_balancer_tests::collector::{Collector, Protocol};
use ipfix_balancer_tests::corpus;
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::exporter::{Exporter, Flows, TcpExporter};
use ipfix_balancer_tests::net::V4;
use ipfix_balancer_tests::tools::{Nfacctd, Nfcapd, PythonCollector, ipfix_dump, tshark};

const MESSAGES: usize = 40;
const FLOWS: u64 = 200;
/// 1 + 2 + ... + FLOWS: each flow's octets are its number.
const OCTETS: u64 = FLOWS * (FLOWS + 1) / 2;

fn session() -> Vec<Vec<u8>> {
    Flows::new(1).session(MESSAGES, 5)
}

/// Without the messages of `range`.
fn without(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    let mut messages = session();
    messages.drain(range);
    messages
}

#[test]
fn nfcapd_counts_exactly_and_notices_a_gap() {
    for (messages, flows, complaints) in [(session(), FLOWS, 0), (without(9..10), FLOWS - 5, 1)] {
        let nfcapd = Nfcapd::start().unwrap();
        let mut exporter = Exporter::connect(Protocol::Udp, nfcapd.address()).unwrap();
        exporter.send_all(&messages).unwrap();
        let counts = nfcapd.finish().unwrap();
        assert_eq!((counts.flows, counts.complaints.len()), (flows, complaints), "{counts:?}");
        assert_eq!(counts.octets == OCTETS, complaints == 0);
    }
}

/// Why the tests with these two send no options data: each options record is a sequence error to
/// them, without any balancer.
#[test]
fn nfcapd_and_nfacctd_do_not_count_options_records() {
    let mut flows = Flows::new(1);
    let messages =
        [flows.templates(), flows.data(2), flows.options_data(3), flows.data(2), flows.data(2)];
    let nfcapd = Nfcapd::start().unwrap();
    Exporter::connect(Protocol::Udp, nfcapd.address()).unwrap().send_all(&messages).unwrap();
    let nfacctd = Nfacctd::start().unwrap();
    Exporter::connect(Protocol::Udp, nfacctd.address()).unwrap().send_all(&messages).unwrap();
    for counts in [nfcapd.finish().unwrap(), nfacctd.finish(6).unwrap()] {
        assert_eq!(counts.flows, 6, "{counts:?}");
        assert!(!counts.complaints.is_empty(), "it has learnt to count options records");
    }
}

#[test]
fn nfcapd_drops_flows_without_a_template() {
    let nfcapd = Nfcapd::start().unwrap();
    let mut exporter = Exporter::connect(Protocol::Udp, nfcapd.address()).unwrap();
    exporter.send_all(&without(0..1)).unwrap();
    assert_eq!(nfcapd.finish().unwrap().flows, 0);
}

#[test]
fn nfacctd_counts_exactly_and_notices_a_gap() {
    for (messages, flows, complains) in
        [(session(), FLOWS, false), (without(9..10), FLOWS - 5, true)]
    {
        let nfacctd = Nfacctd::start().unwrap();
        let mut exporter = Exporter::connect(Protocol::Udp, nfacctd.address()).unwrap();
        exporter.send_all(&messages).unwrap();
        let counts = nfacctd.finish(flows).unwrap();
        assert_eq!(counts.flows, flows);
        assert_eq!(!counts.complaints.is_empty(), complains, "{counts:?}");
        assert_eq!(counts.octets == OCTETS, !complains);
    }
}

#[test]
fn python_counts_exactly_and_notices_gaps_and_missing_templates() {
    let python = PythonCollector::start().unwrap();
    for messages in [session(), without(9..10), without(0..1)] {
        let mut exporter = TcpExporter::connect(python.address()).unwrap();
        exporter.send(&messages.concat()).unwrap();
        exporter.finish().unwrap();
        assert!(exporter.is_closed_within(ipfix_balancer_tests::poll::PATIENCE).unwrap());
    }
    let sessions = python.ended_sessions(3).unwrap();
    assert_eq!((sessions[0].flows, sessions[0].octets), (FLOWS, OCTETS));
    assert_eq!(sessions[0].complaints, [""; 0]);
    assert_eq!((sessions[1].flows, sessions[1].complaints.len()), (FLOWS - 5, 1));
    assert_eq!(sessions[2].flows, 0);
    assert!(sessions[2].complaints.len() >= MESSAGES, "{:?}", sessions[2]);
}

#[test]
fn ipfix_dump_counts_exactly_and_notices_gaps_and_missing_templates() {
    let right = ipfix_dump(&session().concat()).unwrap();
    assert_eq!((right.records, right.templates), (FLOWS, 3));
    assert_eq!(right.complaints, [""; 0]);
    let gap = ipfix_dump(&without(9..10).concat()).unwrap();
    assert_eq!((gap.records, gap.complaints.len()), (FLOWS - 5, 1));
    assert!(!ipfix_dump(&without(0..1).concat()).unwrap().complaints.is_empty());
}

#[test]
fn tshark_counts_the_whole_corpus_as_we_do() {
    for file in corpus::valid().unwrap() {
        let ours = decode::session(&file.messages);
        let theirs = tshark(&file.messages).unwrap();
        let path = &file.path;
        assert_eq!(theirs.records, ours.records.len(), "records of {path}");
        assert_eq!(theirs.without_template, ours.unknown_templates(), "no template in {path}");
        assert_eq!(theirs.malformed, 0, "{path}");
    }
}

#[test]
fn a_stream_that_our_collector_took_is_an_ipfix_file() {
    let collector = Collector::start(Protocol::Tcp, V4).unwrap();
    let file = corpus::file_named("ipfixcol/01-odid0.ipfix").unwrap();
    let mut exporter = TcpExporter::connect(collector.address()).unwrap();
    exporter.send_all(&file.messages).unwrap();
    collector.wait_for(file.messages.len()).unwrap();
    let dump = ipfix_dump(&collector.sessions()[0].stream()).unwrap();
    assert_eq!(usize::try_from(dump.records).unwrap(), file.data_records);
    assert_eq!(usize::try_from(dump.templates).unwrap(), file.templates);
}
