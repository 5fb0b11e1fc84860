//! docs/metrics.md and the alert rules are written from the table of metrics, and the dashboard uses
//! nothing that is not in it.

use std::{env, fs, path::PathBuf};

use serde_json::Value;

use super::{document, promql};
use crate::metrics::{Kind, Metric, Severity, table};

const RULES: &str = "packaging/prometheus/ipfix-balancer.rules.yml";
const DASHBOARD: &str = "packaging/grafana/ipfix-balancer.json";

fn in_project(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

#[test]
fn metrics_and_alert_rules_are_documented() {
    for (name, text) in [("docs/metrics.md", markdown()), (RULES, rules())] {
        let path = in_project(name);
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "run UPDATE_DOCS=1 cargo test -p ipfix-balancer docs");
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut names: Vec<_> = table().map(|metric| metric.name).collect();
    let mut alerts: Vec<_> = table().map(|metric| metric.alert.name).collect();
    for Metric { name, kind, labels, meaning, alert, .. } in table() {
        assert!(name.starts_with("ipfix_balancer_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        let snake = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(labels.iter().chain([name]).all(|text| snake(text)), "{name}");
        assert!(meaning.ends_with('.') && alert.advice.ends_with('.'), "{name}");
        assert!(alert.name.starts_with("IpfixBalancer"), "{name}");
    }
    for list in [&mut names, &mut alerts] {
        let all = list.len();
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), all);
    }
}

#[test]
fn each_alert_asks_for_its_metric_and_for_nothing_unknown() {
    for Metric { name, alert, .. } in table() {
        let used = promql::metrics(alert.when).unwrap();
        assert!(used.iter().any(|metric| metric == name), "{} does not use {name}", alert.name);
    }
}

#[test]
fn the_dashboard_asks_for_nothing_unknown() {
    let text = fs::read_to_string(in_project(DASHBOARD)).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut used = Vec::new();
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
            used.extend(promql::metrics(&query).unwrap());
            for label in placeholders(target["legendFormat"].as_str().unwrap_or_default()) {
                promql::is_label(&label).unwrap();
            }
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"].as_str().unwrap();
        if let Some(arguments) = query.strip_prefix("label_values(") {
            let (metric, label) = arguments.trim_end_matches(')').split_once(", ").unwrap();
            used.extend(promql::metrics(metric).unwrap());
            promql::is_label(label).unwrap();
        }
    }
    let shown = |metric: &&Metric| used.iter().any(|name| name == metric.name);
    let missing: Vec<_> = table().filter(|metric| !shown(metric)).map(|m| m.name).collect();
    // What an alert alone is for.
    let not_shown = ["process_cpu_seconds_total", "process_max_fds"];
    assert_eq!(missing, not_shown);
}

/// The names in `{{...}}`.
fn placeholders(text: &str) -> Vec<String> {
    let parts = text.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    parts.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn what_the_page_says_beside_the_table_is_true() {
    let text = document("metrics.md");
    for alert in ["IpfixBalancerDestinationDown", "IpfixBalancerInputDrops"] {
        assert!(text.contains(alert));
        assert!(table().any(|metric| metric.alert.name == alert));
    }
}

/// docs/metrics.md, byte for byte.
fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for Metric { name, kind, labels, meaning, .. } in table() {
        let kind = kind_name(*kind);
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!("| `{name}` | {kind} | {} | {meaning} |\n", labels.join(", ")));
    }
    text.push_str(ALERTS);
    for Metric { alert, .. } in table() {
        let advice = alert.advice.replace("{{ $labels.", "*").replace(" }}", "*");
        // A bar ends a table's cell.
        let when = alert.when.replace('|', "\\|");
        text.push_str(&format!(
            "| `{}` | {} | `{when}`, for {} | {advice} |\n",
            alert.name,
            severity(alert.severity),
            alert.lasting
        ));
    }
    text
}

const INTRODUCTION: &str = "# Metrics

<!-- Generated from the table of metrics: UPDATE_DOCS=1 cargo test -p ipfix-balancer docs -->

With `IPFIX_METRICS_LISTEN=127.0.0.1:9100` in the `.env` file the daemon serves metrics in Prometheus' text format at
`http://127.0.0.1:9100/metrics`, after a reload. They are the numbers of `ipfix-balancer status` ([status.md](status.md)),
read when Prometheus asks; what forwards messages is not held up by it. Anyone who can reach the port can read them, so let
it be one that only Prometheus reaches.

```yaml
scrape_configs:
  - job_name: ipfix-balancer
    static_configs:
      - targets: [\"127.0.0.1:9100\"]
rule_files:
  - ipfix-balancer.rules.yml
```

The rules below are in `packaging/prometheus/ipfix-balancer.rules.yml`, a dashboard for Grafana in
`packaging/grafana/ipfix-balancer.json`.

Counters begin anew with the daemon, and with a receiver that a reload has started; those of the kernel path go on
([status.md](status.md)). Labels: `receiver` as in `status`, `FULLFLOW[0]`; `destination` as in the `.env` file,
`10.19.3.21/1500`; `path` `kernel` or `userspace`; `reason` one of [status.md](status.md#reasons), or for `passed_up` of
[bpf-maps.md](bpf-maps.md).

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
";

const ALERTS: &str = "
## Alerts

`critical`: messages are lost, or do not arrive; `warning`: it may come to that. If you want only two of them, take
`IpfixBalancerDestinationDown` and `IpfixBalancerInputDrops`.

| alert | severity | condition | what it says |
| --- | --- | --- | --- |
";

/// The rules file of Prometheus, byte for byte.
fn rules() -> String {
    let mut text =
        "# Generated from the table of metrics: UPDATE_DOCS=1 cargo test -p ipfix-balancer docs\n\
                    groups:\n  - name: ipfix-balancer\n    rules:\n"
            .to_owned();
    for Metric { alert, meaning, .. } in table() {
        // Every JSON string is a YAML string.
        let quoted = |text: &str| Value::from(text).to_string();
        text.push_str(&format!(
            "      - alert: {}\n        expr: {}\n        for: {}\n        labels:\n          severity: {}\n        \
             annotations:\n          summary: {}\n          metric: {}\n",
            alert.name,
            quoted(alert.when),
            alert.lasting,
            severity(alert.severity),
            quoted(alert.advice),
            quoted(meaning),
        ));
    }
    text
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
    }
}
