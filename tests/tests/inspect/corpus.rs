//! Counts of the whole corpus.

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::corpus::{self, File};
use ipfix_balancer_tests::decode;
use serde_json::Value;

use crate::{DONE, FAILED, summary};

fn compare(file: &File) -> Result<()> {
    let (summary, outcome) = summary(&corpus::folder().join(&file.path))?;
    ensure!(outcome.code == DONE, "{outcome:?}");
    let decoded = decode::session(&file.messages);
    let count = |name: &str| usize::try_from(summary.get(name)?.as_u64()?).ok();
    for (name, expected) in [
        ("messages", file.messages.len()),
        ("bytes", file.stream().len()),
        ("flow_records", decoded.flows().count()),
        ("options_records", decoded.options().count()),
        ("sets_without_template", decoded.unknown_templates()),
    ] {
        ensure!(count(name) == Some(expected), "{name} is {:?}, not {expected}", count(name));
    }
    let gaps = count("sequence_gaps").zip(count("sequence_back")).map(|(gaps, back)| gaps + back);
    ensure!(gaps == Some(decoded.gaps()), "{gaps:?} gaps, not {}", decoded.gaps());
    let domains = summary.get("domains").and_then(Value::as_array).context("no domains")?;
    ensure!(domains.len() == file.domains, "{} domains", domains.len());
    ensure!(sum(domains, "messages") == count("messages"), "messages of domains");
    let templates = domains.iter().filter_map(|domain| domain.get("templates"));
    let of_templates: usize = templates.filter_map(records).sum();
    ensure!(of_templates == file.data_records, "{of_templates} records of templates");
    Ok(())
}

fn sum(values: &[Value], name: &str) -> Option<usize> {
    let numbers = values.iter().map(|value| value.get(name)?.as_u64());
    usize::try_from(numbers.sum::<Option<u64>>()?).ok()
}

fn records(templates: &Value) -> Option<usize> {
    let templates: Vec<Value> = templates.as_object()?.values().cloned().collect();
    sum(&templates, "records")
}

#[test]
fn counts_are_those_of_the_judge() {
    for file in corpus::valid().unwrap() {
        compare(&file).map_err(|error| error.context(file.path.clone())).unwrap();
    }
}

#[test]
fn what_is_malformed_is_reported_and_left_out() {
    for file in corpus::load().unwrap().iter().filter(|file| !file.is_valid()) {
        let (summary, outcome) = summary(&corpus::folder().join(&file.path)).unwrap();
        let path = &file.path;
        assert_eq!(outcome.code, FAILED, "{path}");
        assert!(outcome.stderr.contains("at byte 0: "), "{path}: {}", outcome.stderr);
        assert_eq!(summary["messages"], 0, "{path}");
    }
}
