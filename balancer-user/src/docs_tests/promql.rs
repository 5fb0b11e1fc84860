//! Whether a query in PromQL asks for nothing but metrics and labels of the table. Its syntax is
//! checked by promtool, in the end-to-end tests.

use crate::metrics::{Metric, table};

/// Labels that Prometheus adds to all it reads.
const ADDED: [&str; 2] = ["instance", "job"];
/// What all names of metrics begin with.
const PREFIXES: [&str; 2] = ["ipfix_balancer_", "process_"];
/// Words before a list of labels.
const LISTS: [&str; 2] = ["by", "on"];

/// The metrics that a query asks for.
pub fn metrics(query: &str) -> Result<Vec<String>, String> {
    let mut used = Vec::new();
    for (word, rest) in words(query) {
        if PREFIXES.iter().any(|prefix| word.starts_with(prefix)) {
            let metric = find(word).map_err(|error| format!("{query}: {error}"))?;
            for matcher in list(rest, '{', '}') {
                let label = matcher.split(['=', '!']).next().unwrap_or_default().trim();
                if !ADDED.contains(&label) && !metric.labels.contains(&label) {
                    return Err(format!("{query}: {word} has no label {label}"));
                }
            }
            used.push(word.to_owned());
        } else if LISTS.contains(&word) {
            list(rest, '(', ')').try_for_each(|label| is_label(label.trim()))?;
        }
    }
    Ok(used)
}

/// Whether some metric has this label.
pub fn is_label(name: &str) -> Result<(), String> {
    let known = ADDED.contains(&name) || table().any(|metric| metric.labels.contains(&name));
    known.then_some(()).ok_or_else(|| format!("no metric has the label {name}"))
}

/// The words of a text, each with what follows it.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        rest = rest.trim_start_matches(|c| !is_part(c));
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some((word, after))
    })
}

/// The elements of the list that a text begins with, if it does.
fn list(text: &str, open: char, close: char) -> impl Iterator<Item = &str> {
    let inner = text.trim_start().strip_prefix(open).and_then(|text| text.split_once(close));
    inner.into_iter().flat_map(|(inner, _)| inner.split(','))
}

fn find(name: &str) -> Result<&'static Metric, String> {
    table().find(|metric| metric.name == name).ok_or_else(|| format!("no metric {name}"))
}

#[test]
fn what_is_wrong_is_noticed() {
    for wrong in [
        "ipfix_balancer_receiver_session",
        "ipfix_balancer_receiver_sessions{receiver=\"x\", destination=\"x\"}",
        "sum by (colour) (ipfix_balancer_receiver_sessions)",
        "process_open_fds and on (job, colour) process_max_fds",
        "rate(ipfix_balancer_receiver_byte_total[5m])",
    ] {
        assert!(metrics(wrong).is_err(), "{wrong}");
    }
    let right = "sum by (receiver, job) (ipfix_balancer_receiver_sessions{instance=~\"x\"})";
    assert_eq!(metrics(right), Ok(vec!["ipfix_balancer_receiver_sessions".to_owned()]));
}
