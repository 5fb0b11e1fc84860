//! Every value of the corpus, held against what `ipfixDump` says of it.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::corpus::{self, File};
use ipfix_balancer_tests::tools::{DumpedField, ipfix_dump_records};

use crate::forms::{self, Row};
use crate::of_bytes;

/// `ipfixDump` leaves this element out.
const PADDING: &str = "paddingOctets";
/// Elements of which `ipfixDump` has another type than IANA: that of an older registry.
const OTHER_TYPES: [&str; 2] = ["forwardingStatus", "mplsVpnRouteDistinguisher"];
/// `ipfixDump` crashes on this file.
const CRASHES: &str = "ipfixcol/04-odid256,512.ipfix";

fn compare(file: &File) -> Result<usize> {
    let ours = forms::rows(&of_bytes(&["--format", "csv"], "a.ipfix", &file.stream())?)?;
    let theirs = ipfix_dump_records(&file.stream())?;
    ensure!(ours.len() == theirs.len(), "{} records, not {}", ours.len(), theirs.len());
    let mut values = 0;
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        values += compare_record(ours, theirs).with_context(|| format!("record {index}"))?;
    }
    Ok(values)
}

fn compare_record(ours: &Row, theirs: &[DumpedField]) -> Result<usize> {
    let ours: Vec<_> = ours.fields.iter().filter(|(name, _)| name != PADDING).collect();
    ensure!(ours.len() == theirs.len(), "{ours:?}\n{theirs:?}");
    for ((name, value), field) in ours.iter().zip(theirs) {
        let known = field.name != DumpedField::UNKNOWN;
        let their_name = if known { &field.name } else { &field.id };
        ensure!(name == their_name, "{name} is {field:?}");
        ensure!(same(value, field, known), "{name} {value} is {field:?}");
    }
    Ok(ours.len())
}

fn same(ours: &str, field: &DumpedField, known: bool) -> bool {
    let theirs = field.value.as_str();
    if let Some((_, octets)) = theirs.strip_prefix("(len: ").and_then(|rest| rest.split_once(')')) {
        // Octets in hexadecimal, or a string.
        let value = octets.trim_start();
        return ours == value.strip_prefix("0x").unwrap_or(value);
    }
    // What it does not know it takes for a number of the other byte order.
    !known
        || OTHER_TYPES.contains(&field.name.as_str())
        || ours == theirs
        || ours == theirs.replacen(' ', "T", 1) + "Z"
        || address(ours).is_some_and(|ours| address(theirs) == Some(ours))
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

#[test]
fn names_and_values_are_those_of_ipfix_dump() {
    let mut values = 0;
    for file in corpus::valid().unwrap().iter().filter(|file| file.path != CRASHES) {
        values += compare(file).with_context(|| file.path.clone()).unwrap();
    }
    assert!(values > 100_000, "{values} values");
}
