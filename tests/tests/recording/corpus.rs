//! Everything of the corpus, recorded and read back by several readers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::dump::{self, DumpFile};
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::tools::{ipfix_dump, tshark};
use ipfix_balancer_tests::{corpus, wire};
use netflow_parser::variable_versions::ipfix::FlowSetBody;
use netflow_parser::{NetflowPacket, NetflowParser};

use crate::scene::Scene;

/// The files of one exporter, in order.
fn of<'a>(files: &'a [DumpFile], exporter: &Exporter) -> Result<Vec<&'a DumpFile>> {
    let address = exporter.address()?;
    let name = format!("{}-{}", address.ip(), address.port());
    Ok(files.iter().filter(|file| file.part(3) == name).collect())
}

/// Sends every valid file in a session of its own, with a rotation in the middle of each, and holds
/// the dump files against it.
fn every_file(protocol: Protocol) -> Result<()> {
    let scene = Scene::new(protocol, &[])?;
    let corpus = corpus::valid()?;
    let mut exporters = Vec::new();
    let mut sent = 0;
    for half in 0..2 {
        for (place, file) in corpus.iter().enumerate() {
            let (first, second) = file.messages.split_at(file.messages.len() / 2);
            let part = if half == 0 { first } else { second };
            if half == 0 {
                exporters.push(Exporter::connect(protocol, scene.receiver.address())?);
            }
            let exporter = exporters.get_mut(place).context("no exporter")?;
            exporter.send_all(part)?;
            sent += part.len();
            scene.wait_for_messages(sent)?;
        }
        scene.rotate()?;
    }
    let files = dump::finished(&scene.directory())?;
    for (file, exporter) in corpus.iter().zip(&exporters) {
        let recorded = of(&files, exporter)?;
        dump::hold(recorded.iter().copied(), &file.messages).context(file.path.clone())?;
        let expected = decode::session(&file.messages);
        let flows: usize = recorded.iter().map(|dump| dump.decoded().flows().count()).sum();
        // A withdrawal over UDP means nothing to us (RFC 7011 section 8.4), but to a file's reader.
        if protocol == Tcp || expected.withdrawals == 0 {
            ensure!(flows == expected.flows().count(), "{}: {flows} flows", file.path);
        }
        if expected.problems.is_empty() {
            recorded
                .iter()
                .try_for_each(|dump| dump::stands_alone(dump))
                .context(file.path.clone())?;
        }
    }
    Ok(())
}

#[test]
fn the_corpus_over_tcp() {
    every_file(Tcp).unwrap();
}

#[test]
fn the_corpus_over_udp() {
    every_file(Udp).unwrap();
}

#[test]
fn other_programs_read_every_record_and_find_nothing_wrong() {
    let scene = Scene::new(Tcp, &[("DPI_ID", "4711")]).unwrap();
    let mut exporter = scene.exporter().unwrap();
    let mut flows = [Flows::new(0), Flows::new(7).starting_at(u32::MAX - 5)];
    let mut sent = Vec::new();
    for round in 0..3 {
        for flows in &mut flows {
            if round == 0 {
                sent.push(flows.templates());
            }
            sent.extend([flows.options_data(2), flows.data(5), flows.named_data(3, 40)]);
            sent.push(flows.mixed(2));
        }
    }
    let (first, second) = sent.split_at(15);
    exporter.send_all(first).unwrap();
    scene.wait_for_messages(first.len()).unwrap();
    scene.rotate().unwrap();
    exporter.send_all(second).unwrap();
    scene.wait_for_messages(sent.len()).unwrap();
    scene.rotate().unwrap();
    let files = scene.files().unwrap();
    assert_eq!(files.len(), 2);
    dump::hold(&files, &sent).unwrap();
    for file in &files {
        assert_eq!(file.part(2), "dpi4711");
        let decoded = file.decoded();
        let records = decoded.records.len();
        let fixbuf = ipfix_dump(&file.stream()).unwrap();
        assert_eq!(fixbuf.complaints, Vec::<String>::new());
        assert_eq!(usize::try_from(fixbuf.records).unwrap(), records);
        let wireshark = tshark(&file.messages).unwrap();
        assert_eq!((wireshark.records, wireshark.without_template), (records, 0));
        assert_eq!(wireshark.malformed, 0);
        assert_eq!(netflow_parser(&file.messages), records);
        let session = decoded.options().next().unwrap();
        assert!(session.values.ends_with(&4711_u32.to_be_bytes()), "{session:?}");
    }
}

/// Records that `netflow_parser` finds, with one parser a domain: it keeps templates by id alone.
fn netflow_parser(messages: &[Vec<u8>]) -> usize {
    let mut parsers = BTreeMap::new();
    let mut records = 0;
    for message in messages {
        let parser = parsers.entry(wire::domain(message)).or_insert_with(NetflowParser::default);
        for packet in parser.parse_bytes(message).packets {
            let NetflowPacket::IPFix(message) = packet else { continue };
            for set in message.flowsets {
                records += match set.body {
                    FlowSetBody::Data(data) => data.fields.len(),
                    FlowSetBody::OptionsData(data) => data.fields.len(),
                    _ => 0,
                };
            }
        }
    }
    records
}
