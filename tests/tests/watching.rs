//! What people watch the daemon with: `top` and `doctor`.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::Result;
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::daemon::{self, Daemon, Mode, Receiver};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;
use nix::pty::{Winsize, openpty};
use serde_json::Value;

/// What a program writes to a terminal, as it comes.
fn reading(mut terminal: File) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // The terminal ends with the program.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn top_shows_receivers_and_destinations_on_a_terminal_and_ends_with_q() {
    let setup = Setup::new(Mode::RoundRobin, Udp, Tcp, 2).unwrap();
    setup.udp().unwrap().send(&Flows::new(1).templates()).unwrap();
    setup.wait_until_up().unwrap();
    let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut top = Command::new(daemon::binary().unwrap())
        .args(["top", "--config"])
        .arg(setup.daemon.config())
        .env("TERM", "xterm")
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    drop(pty.slave);
    let mut terminal = File::from(pty.master);
    let output = reading(terminal.try_clone().unwrap());
    let address = setup.collectors[1].address();
    let wanted = ["FULLFLOW[0]".to_owned(), format!("{}/{}/tcp", address.ip(), address.port())];
    let mut seen = String::new();
    poll::wait("receiver and destination on the screen", || {
        seen.extend(output.try_iter());
        wanted.iter().all(|text| seen.contains(text))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {seen:?}"));
    terminal.write_all(b"q").unwrap();
    let status = poll::until(poll::PATIENCE, "top ends", || top.try_wait().unwrap()).unwrap();
    assert!(status.success(), "{status}");
    seen.extend(output.iter());
    assert!(seen.contains("\u{1b}[?1049l"), "the screen of before is back");
}

#[test]
fn top_without_a_terminal_or_a_daemon_says_so() {
    let setup = Setup::new(Mode::All, Tcp, Tcp, 1).unwrap();
    let outcome = setup.daemon.command(&["top"]).unwrap();
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("needs a terminal"), "{}", outcome.stderr);
    assert_eq!(setup.daemon.command(&["top", "--seconds", "0"]).unwrap().code, 2);
}

/// What `doctor` finds: check, verdict, found.
fn findings(json: &str) -> Result<Vec<[String; 3]>> {
    let findings: Vec<Value> = serde_json::from_str(json)?;
    let text =
        |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let field = |finding: &Value| ["check", "verdict", "found"].map(|name| text(finding, name));
    Ok(findings.iter().map(field).collect())
}

fn verdicts(findings: &[[String; 3]], check: &str) -> Vec<String> {
    findings
        .iter()
        .filter(|[name, ..]| name == check)
        .map(|[_, verdict, _]| verdict.clone())
        .collect()
}

#[test]
fn doctor_finds_a_healthy_daemon_healthy() {
    let setup = Setup::new(Mode::All, Udp, Tcp, 2).unwrap();
    let outcome = setup.daemon.command(&["doctor", "--json"]).unwrap();
    let found = findings(&outcome.stdout).unwrap();
    assert_eq!(outcome.code, 0, "{found:?}");
    for check in ["configuration", "daemon", "kernel", "capabilities"] {
        assert_eq!(verdicts(&found, check), ["ok"], "{check}: {found:?}");
    }
    assert_eq!(verdicts(&found, "route"), ["ok", "ok"]);
    assert_eq!(verdicts(&found, "receive buffer").len(), 1);
    assert_eq!(verdicts(&found, "open files").len(), 1);
    assert_eq!(verdicts(&found, "clock").len(), 1);
    let text = setup.daemon.command(&["doctor"]).unwrap().stdout;
    assert!(text.contains("ok    daemon: version"), "{text}");
    assert!(text.ends_with(&format!("{} checks\n", found.len())), "{text}");
}

#[test]
fn doctor_names_drops_and_destinations_that_are_down() {
    let nobody = free_address(V4).unwrap();
    let receiver =
        Receiver::new(Mode::All, Udp, free_address(V4).unwrap()).destinations(Tcp, &[nobody]);
    let daemon = Daemon::start(std::slice::from_ref(&receiver)).unwrap();
    let exporter =
        ipfix_balancer_tests::exporter::UdpExporter::connect(receiver.address()).unwrap();
    exporter.send(&Flows::new(1).templates()).unwrap();
    exporter.send(&[0, 5, 0, 0]).unwrap();
    daemon
        .wait_for("FULLFLOW[0]", "both", |r| {
            r.dropped("netflow_v5") == 1 && r.destinations()[0].state() == "down"
        })
        .unwrap();
    let outcome = daemon.command(&["doctor"]).unwrap();
    assert_eq!(outcome.code, 1);
    for part in [
        "FAIL  destination: FULLFLOW[0]",
        "refused",
        "warn  drops: FULLFLOW[0]: 1 netflow_v5",
        "Set the exporter to IPFIX.",
    ] {
        assert!(outcome.stdout.contains(part), "no {part:?} in {}", outcome.stdout);
    }
}

#[test]
fn doctor_without_a_daemon_tries_ports_and_collectors() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("balancer.env");
    let taken = TcpListener::bind((V4, 0)).unwrap();
    let collector = TcpListener::bind((V4, 0)).unwrap();
    let destinations = [collector.local_addr().unwrap(), free_address(V4).unwrap()];
    let receiver =
        Receiver::new(Mode::All, Tcp, taken.local_addr().unwrap()).destinations(Tcp, &destinations);
    std::fs::write(&config, daemon::render(&[receiver])).unwrap();
    let outcome = daemon::command(&["doctor", "--json"], &config).unwrap();
    assert_eq!(outcome.code, 1);
    let found = findings(&outcome.stdout).unwrap();
    assert_eq!(verdicts(&found, "daemon"), ["warn"]);
    assert_eq!(verdicts(&found, "port"), ["fail"]);
    let mut collectors = verdicts(&found, "collector");
    collectors.sort();
    assert_eq!(collectors, ["ok", "warn"]);
}

#[test]
fn doctor_says_that_a_file_is_faulty() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("balancer.env");
    std::fs::write(&config, "IPFIX_FULLFLOW_PORT=70000\n").unwrap();
    let outcome = daemon::command(&["doctor", "--json"], &config).unwrap();
    assert_eq!(outcome.code, 1);
    let found = findings(&outcome.stdout).unwrap();
    assert_eq!(verdicts(&found, "configuration"), ["fail"]);
    assert!(found[0][2].contains("70000"), "{found:?}");
}
