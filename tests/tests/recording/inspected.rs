//! What is recorded, read back as an operator does it: by `ipfix-balancer inspect`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::{self, outcome};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::{dump, poll};
use serde_json::Value;

use crate::scene::Scene;

/// Messages of each exporter in each of the two intervals, and flows in each of them.
const MESSAGES: usize = 20;
const RECORDS: usize = 5;

/// Octets of the flows of each exporter, in the order of the files.
type Octets = BTreeMap<String, Vec<u64>>;

/// Two exporters with the same domain and the same template ids, whose octets tell their flows
/// apart; a rotation in the middle. What `inspect` shows is what they have sent.
fn two_exporters(zstd: bool) -> Result<()> {
    let (switch, end) = if zstd { ("on", ".ipfix.zst") } else { ("off", ".ipfix") };
    let scene = Scene::new(Tcp, &[("DUMP_ZSTD", switch), ("DPI_ID", "4711")])?;
    let mut exporters = [scene.exporter()?, scene.exporter()?];
    let mut flows = [Flows::new(1), Flows::new(1)];
    flows[1].plain_records(1000);
    for (exporter, flows) in exporters.iter_mut().zip(&flows) {
        exporter.send(&flows.templates())?;
    }
    for interval in 1..=2 {
        for (exporter, flows) in exporters.iter_mut().zip(&mut flows) {
            let messages: Vec<_> = (0..MESSAGES).map(|_| flows.data(RECORDS)).collect();
            exporter.send_all(&messages)?;
        }
        scene.wait_for_messages(2 + 2 * MESSAGES * interval)?;
        scene.rotate()?;
    }
    let files = || dump::ending_with(&scene.directory(), end);
    poll::wait("all files have their last names", || files().len() == 4)?;
    let mut found = Octets::new();
    for path in files() {
        inspect(&path, &scene.receiver.address().to_string(), &mut found)?;
    }
    let mut sent = Octets::new();
    for (exporter, first) in exporters.iter().zip([1, 1001]) {
        let records = u64::try_from(2 * MESSAGES * RECORDS)?;
        sent.insert(exporter.address()?.to_string(), (first..first + records).collect());
    }
    ensure!(found == sent, "{found:?}");
    Ok(())
}

/// Takes the flows of a file; every record must name its session.
fn inspect(path: &Path, collector: &str, found: &mut Octets) -> Result<()> {
    let mut command = Command::new(daemon::binary()?);
    let outcome = outcome(command.args(["inspect", "--format", "json"]).arg(path))?;
    ensure!(outcome.code == 0, "{outcome:?}");
    for line in outcome.stdout.lines() {
        let record: Value = serde_json::from_str(line)?;
        for (name, value) in [("protocol", "tcp"), ("stream", "FULLFLOW"), ("collector", collector)]
        {
            ensure!(record.get(name).is_some_and(|said| said == value), "{name} of {record}");
        }
        ensure!(record.get("dpi_id").is_some_and(|id| id == 4711), "{record}");
        let exporter = record.get("exporter").and_then(Value::as_str).context("no exporter")?;
        if record.get("options") == Some(&Value::Bool(false)) {
            let octets = record.pointer("/fields/octetDeltaCount").and_then(Value::as_u64);
            let octets = octets.context("no octets")?;
            found.entry(exporter.to_owned()).or_default().push(octets);
        }
    }
    Ok(())
}

#[test]
fn every_record_is_shown_once_with_its_session() {
    two_exporters(false).unwrap();
}

#[test]
fn compressed_files_show_the_same() {
    two_exporters(true).unwrap();
}
