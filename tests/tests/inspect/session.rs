//! Dump files say whose they are.

use anyhow::Result;
use ipfix_balancer_tests::exporter::{Field, Flows, Message, Template};
use serde_json::Value;

use crate::{Files, objects, of_bytes, summary};

const COLLECTOR: [u8; 4] = [10, 0, 0, 2];
const EXPORTER: [u8; 4] = [10, 0, 0, 1];

/// A file as recording writes it: templates, the record that names the session (RFC 5655 section
/// 8.1.3, observationPointId), then the exporter's messages.
fn dump_file() -> Result<Vec<u8>> {
    let fields = [
        Field::iana(267, 1),
        Field::iana(130, 4),
        Field::iana(211, 4),
        Field::iana(217, 2),
        Field::iana(216, 2),
        Field::iana(215, 1),
        Field::iana(138, 8),
    ];
    let details = Template::options(300, 1, fields);
    let values: [&[u8]; 7] = [
        &[0],
        &EXPORTER,
        &COLLECTOR,
        &40_000_u16.to_be_bytes(),
        &1500_u16.to_be_bytes(),
        &[6],
        &17_u64.to_be_bytes(),
    ];
    let record = details.record(&values)?;
    let mut flows = Flows::new(1).starting_at(100);
    let own = Message::new(1, 99).template(&details).data(&details, &[record]).build();
    Ok([own, flows.templates(), flows.data(3), flows.data(2)].concat())
}

#[test]
fn the_record_that_names_the_session_is_believed() {
    let text = of_bytes(&["--format", "json"], "a.ipfix", &dump_file().unwrap()).unwrap();
    let records = objects(&text).unwrap();
    assert_eq!(records.len(), 6);
    let page = include_str!("../../../docs/inspect.md");
    for name in records[0].as_object().unwrap().keys() {
        assert!(page.contains(&format!("`{name}`")), "docs/inspect.md lacks {name}");
    }
    for record in records {
        assert_eq!(record["exporter"], "10.0.0.1:40000", "{record}");
        assert_eq!(record["collector"], "10.0.0.2:1500", "{record}");
        assert_eq!((&record["protocol"], &record["dpi_id"]), (&Value::from("tcp"), &17.into()));
    }
    let text = of_bytes(&[], "a.ipfix", &dump_file().unwrap()).unwrap();
    assert!(text.contains("  tcp 10.0.0.1:40000 to 10.0.0.2:1500 DPI_ID 17\n"), "{text}");
}

#[test]
fn the_stream_is_that_of_the_name_and_the_numbers_go_on() {
    let files = Files::new().unwrap();
    let path = files
        .write("20261123T160000Z_dnsflow-0_dpi17_10.0.0.1-40000.ipfix", &dump_file().unwrap())
        .unwrap();
    let (summary, _) = summary(&path).unwrap();
    assert_eq!((&summary["sequence_gaps"], &summary["sequence_back"]), (&0.into(), &0.into()));
    let domain = &summary["domains"][0];
    assert_eq!((&domain["stream"], &domain["dpi_id"]), (&Value::from("DNSFLOW"), &17.into()));
    assert_eq!(domain["exporter"], "10.0.0.1:40000");
}
