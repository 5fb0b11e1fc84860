//! The documents say what the code does: numbers and names that stand in both are compared here.

use std::{fs, path::Path};

use common::reason::Reason;

use crate::{
    handler::MAX_SESSIONS,
    input::tcp::MESSAGE_TIMEOUT,
    output::{MAX_DESTINATION_BYTES, MAX_QUEUE_BYTES},
    session::{MAX_DOMAINS, MAX_OPTIONS_BYTES, MAX_TEMPLATE_BYTES},
};

fn document(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::read_to_string(docs.join(name)).unwrap()
}

#[test]
fn every_reason_is_documented_and_no_other() {
    let document = document("status.md");
    let documented: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |reason: Reason| format!("| `{}` | {} |", reason.as_str(), reason.meaning());
    assert_eq!(documented, Reason::ALL.map(row));
}

#[test]
fn the_bounds_are_those_of_the_code() {
    let text = document("architecture.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let bounds = format!(
        "Per session {} of templates, {} of options records, {MAX_DOMAINS} observation domains; per \
         session and destination {} of queue, per destination {}; per receiver {MAX_SESSIONS} sessions; per TCP message \
         {} s from its first byte to its last.",
        mib(MAX_TEMPLATE_BYTES),
        mib(MAX_OPTIONS_BYTES),
        mib(MAX_QUEUE_BYTES),
        mib(MAX_DESTINATION_BYTES),
        MESSAGE_TIMEOUT.as_secs()
    );
    assert!(text.contains(&bounds), "docs/architecture.md lacks: {bounds}");
}
