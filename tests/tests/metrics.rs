//! Prometheus metrics, as Prometheus gets them.

#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use ipfix_balancer_tests::collector::{
    Collector,
    Protocol::{Tcp, Udp},
};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver, metrics_at, render};
use ipfix_balancer_tests::exporter::{Flows, UdpExporter};
use ipfix_balancer_tests::http::get;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::tools::promtool;

/// A daemon that serves metrics: FULLFLOW[0] balances, CLICKSTREAM[0] records.
struct Scene {
    daemon: Daemon,
    metrics: SocketAddr,
    receivers: [Receiver; 2],
    collectors: Vec<Collector>,
    _dumps: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dumps = tempfile::tempdir().unwrap();
        let collectors = Collector::several(2, Tcp, V4).unwrap();
        let receivers = [
            Receiver::new(Mode::RoundRobin, Udp, free_address(V4).unwrap()).to(&collectors),
            Receiver::recording(Tcp, free_address(V4).unwrap(), dumps.path())
                .named("CLICKSTREAM", 0),
        ];
        let metrics = free_address(V4).unwrap();
        let daemon = Daemon::start_with(&(render(&receivers) + &metrics_at(metrics))).unwrap();
        Self { daemon, metrics, receivers, collectors, _dumps: dumps }
    }

    /// Templates and four messages; once they have arrived.
    fn export(&self) {
        let mut flows = Flows::new(1);
        let exporter = UdpExporter::connect(self.receivers[0].address()).unwrap();
        exporter.send(&flows.templates()).unwrap();
        self.collectors.iter().for_each(|collector| collector.wait_for(1).unwrap());
        for _ in 0..4 {
            exporter.send(&flows.data(2)).unwrap();
        }
        self.collectors.iter().for_each(|collector| collector.wait_for(3).unwrap());
    }

    fn text(&self) -> String {
        get(self.metrics, "/metrics").unwrap().body
    }
}

/// The samples, by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(k, v)| (k.to_owned(), v.parse().unwrap()))
        .collect()
}

#[test]
fn the_numbers_are_those_of_status() {
    let scene = Scene::new();
    scene.export();
    UdpExporter::connect(scene.receivers[0].address()).unwrap().send(&[0, 9, 0, 0]).unwrap();
    scene.daemon.wait_for("FULLFLOW[0]", "a drop", |r| r.dropped("netflow_v9") == 1).unwrap();
    let samples = samples(&scene.text());
    let status = scene.daemon.status().unwrap();
    let receiver = status.receiver("FULLFLOW[0]").unwrap();
    let number = |name: &str| samples.get(name).copied().unwrap_or(f64::NAN);
    let of_receiver = |name: &str, labels: &str| {
        number(&format!("ipfix_balancer_receiver_{name}{{receiver=\"FULLFLOW[0]\"{labels}}}"))
    };
    assert_eq!(receiver.messages(), 6);
    assert_eq!(of_receiver("messages_total", ",path=\"userspace\""), 6.0);
    assert_eq!(of_receiver("messages_total", ",path=\"kernel\""), 0.0);
    assert_eq!(of_receiver("sessions", ""), receiver.sessions() as f64);
    assert_eq!(of_receiver("dropped_total", ",reason=\"netflow_v9\""), 1.0);
    // Rates need to see the first drop, too: what has not happened is there as 0.
    assert_eq!(of_receiver("dropped_total", ",reason=\"oversize\""), 0.0);
    for collector in &scene.collectors {
        let address = collector.address();
        let labels = format!(
            "receiver=\"FULLFLOW[0]\",destination=\"{}/{}\",protocol=\"tcp\"",
            address.ip(),
            address.port()
        );
        let sent = number(&format!(
            "ipfix_balancer_destination_messages_total{{{labels},path=\"userspace\"}}"
        ));
        assert_eq!(sent, 3.0, "{labels}");
        let up =
            number(&format!("ipfix_balancer_destination_connections{{{labels},state=\"up\"}}"));
        assert_eq!(up, 1.0, "{labels}");
    }
    assert_eq!(number("ipfix_balancer_recording_failing{receiver=\"CLICKSTREAM[0]\"}"), 0.0);
    assert!(number("process_resident_memory_bytes") > 1e6);
    assert!(
        number("process_open_fds") > 5.0 && number("process_max_fds") > number("process_open_fds")
    );
    assert!(number("process_start_time_seconds") > 1.6e9);
}

#[test]
fn cpu_time_of_a_handler_grows_with_its_work() {
    let scene = Scene::new();
    let name = "ipfix_balancer_receiver_cpu_seconds_total{receiver=\"FULLFLOW[0]\"}";
    poll::wait("CPU time is counted", || {
        scene.export();
        samples(&scene.text())[name] > 0.02
    })
    .unwrap();
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    let scene = Scene::new();
    scene.export();
    let answer = get(scene.metrics, "/metrics").unwrap();
    assert_eq!(answer.status, 200);
    let kind = "content-type: text/plain; version=0.0.4".to_owned();
    assert!(answer.header.contains(&kind), "{:?}", answer.header);
    let verdict = promtool(&["check", "metrics"], &answer.body).unwrap();
    assert_eq!((verdict.code, verdict.stdout + &verdict.stderr), (0, String::new()));
    let verdict = promtool(&["check", "metrics"], "messages_sum 1\n").unwrap();
    assert_ne!(verdict.code, 0, "promtool has an eye for what is wrong");
}

#[test]
fn promtool_takes_the_alert_rules() {
    let rules = "../packaging/prometheus/ipfix-balancer.rules.yml";
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join(rules);
    let verdict = promtool(&["check", "rules", rules.to_str().unwrap()], "").unwrap();
    assert_eq!(verdict.code, 0, "{}{}", verdict.stdout, verdict.stderr);
}

/// Queries that no rule uses are checked as if one did.
#[test]
fn promtool_takes_the_queries_of_the_dashboard() {
    let dashboard =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/grafana/ipfix-balancer.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dashboard).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    let mut count = 0;
    for target in targets {
        let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
        let query = serde_json::Value::from(query);
        count += 1;
        rules.push_str(&format!("      - record: query_{count}\n        expr: {query}\n"));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    let verdict = promtool(&["check", "rules", file.path().to_str().unwrap()], "").unwrap();
    assert_eq!(verdict.code, 0, "{}{}", verdict.stdout, verdict.stderr);
    assert!(verdict.stdout.contains(&format!("{count} rules found")), "{}", verdict.stdout);
}

#[test]
fn other_pages_and_methods_are_refused() {
    let scene = Scene::new();
    assert_eq!(get(scene.metrics, "/").unwrap().status, 404);
    assert_eq!(get(scene.metrics, "/metrics/../etc/passwd").unwrap().status, 404);
}

#[test]
fn clients_that_say_nothing_hold_nobody_up() {
    let scene = Scene::new();
    // More than are served at a time.
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(scene.metrics).unwrap()).collect();
    scene.export();
    assert_eq!(scene.daemon.status().unwrap().receiver("FULLFLOW[0]").unwrap().messages(), 5);
    drop(silent);
    assert_eq!(get(scene.metrics, "/metrics").unwrap().status, 200);
}

#[test]
fn a_reload_turns_it_on_and_off_and_moves_it() {
    let scene = Scene::new();
    let text = render(&scene.receivers);
    let reload = |text: &str| {
        scene.daemon.edit_text(text).unwrap();
        scene.daemon.reload().unwrap()
    };
    let other = free_address(V4).unwrap();
    assert_eq!(reload(&(text.clone() + &metrics_at(other))).code, 0);
    assert_eq!(get(other, "/metrics").unwrap().status, 200);
    assert!(TcpStream::connect(scene.metrics).is_err());

    let taken = TcpListener::bind((V4, 0)).unwrap();
    let refused = reload(&(text.clone() + &metrics_at(taken.local_addr().unwrap())));
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("IPFIX_METRICS_LISTEN"), "{}", refused.stderr);
    assert_eq!(get(other, "/metrics").unwrap().status, 200);

    assert_eq!(reload(&text).code, 0);
    poll::wait("the port is closed", || TcpStream::connect(other).is_err()).unwrap();
    scene.export();
}
