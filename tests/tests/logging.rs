//! Log lines: in the journal, as JSON, for people, and their level.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what is not as expected fails the test"
)]

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ipfix_balancer_tests::collector::{Collector, Protocol::Tcp, Protocol::Udp};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver, outcome, render};
use ipfix_balancer_tests::exporter::UdpExporter;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::{lab, poll};

/// A receiver whose one destination is not there.
fn receiver() -> Receiver {
    let nobody = free_address(V4).unwrap();
    Receiver::new(Mode::All, Udp, free_address(V4).unwrap()).destinations(Tcp, &[nobody])
}

/// Something that is no IPFIX; who sent it.
fn send_netflow(receiver: &Receiver) -> SocketAddr {
    let exporter = UdpExporter::connect(receiver.address()).unwrap();
    exporter.send(&[0, 9, 0, 0]).unwrap();
    exporter.address().unwrap()
}

/// What comes into a journal that is none.
struct StandIn {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl StandIn {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { folder, socket }
    }

    /// Runs the daemon where this is the journal.
    fn daemon(&self, receiver: &Receiver) -> Daemon {
        let folder = self.folder.path().display();
        start_beside(&format!("mount --bind {folder} /run/systemd/journal"), receiver)
    }

    /// Waits for an entry with all of these lines.
    fn wait_for(&self, lines: &[String]) -> String {
        let mut buffer = vec![0; 1 << 18];
        poll::until(poll::PATIENCE, &format!("{lines:?} in the journal"), || {
            let length = self.socket.recv(&mut buffer).ok()?;
            let entry = String::from_utf8_lossy(&buffer[..length]).into_owned();
            lines.iter().all(|line| entry.lines().any(|there| there == line)).then_some(entry)
        })
        .unwrap()
    }
}

/// Starts the daemon behind a script that sets up a journal of its own, where standard error leads
/// there, or seems to.
fn start_beside(journal: &str, receiver: &Receiver) -> Daemon {
    let script = format!(
        "mount -t tmpfs none /run/systemd && mkdir /run/systemd/journal && {journal} && \
         JOURNAL_STREAM=$(stat --dereference --format %d:%i /proc/self/fd/2) exec \"$@\""
    );
    let runner = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    Daemon::start_by(&runner, &render(std::slice::from_ref(receiver))).unwrap()
}

/// What the real journal has, as `journalctl` with these arguments shows it.
fn journalctl(journal: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("journalctl");
    outcome(command.arg("--directory").arg(journal).args(arguments)).unwrap().stdout
}

#[test]
fn the_real_journal_can_be_asked_by_field_and_by_name() {
    const JOURNALD: &str = "/lib/systemd/systemd-journald";
    if !lab::available() || !Path::new(JOURNALD).exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("journal")).unwrap();
    // It ends with the daemon, which takes the place of the shell.
    let journald = format!(
        "mkdir -p /run/log && mount --bind {} /run/log && \
         {{ setpriv --pdeathsig KILL {JOURNALD} & }} && \
         for i in $(seq 200); do [ -S /run/systemd/journal/socket ] || sleep 0.05; done",
        folder.path().display()
    );
    let receiver = receiver();
    let daemon = start_beside(&journald, &receiver);
    let exporter = send_netflow(&receiver);
    let journal = folder.path().join("journal");
    let by_field = ["REASON=netflow_v9", "RECEIVER=FULLFLOW[0]", "--output", "json"];
    let entry = poll::until(poll::PATIENCE, "the line in the journal", || {
        serde_json::from_str::<serde_json::Value>(&journalctl(&journal, &by_field)).ok()
    })
    .unwrap();
    assert_eq!(entry["EXPORTER"], exporter.to_string());
    assert_eq!(entry["PRIORITY"], "4");
    assert_eq!(entry["_PID"], daemon.pid().to_string());
    let all = journalctl(&journal, &[]);
    let found: Vec<_> = all.lines().filter(|line| line.contains("IPFIXcol2")).collect();
    assert!(found.iter().any(|line| line.contains("FULLFLOW[0]: A NetFlow version 9")), "{all}");
    assert!(found.iter().any(|line| line.contains("started")), "{all}");
}

#[test]
fn in_the_journal_each_line_has_its_fields() {
    if !lab::available() {
        return;
    }
    let journal = StandIn::new();
    let receiver = receiver();
    let daemon = journal.daemon(&receiver);
    let exporter = send_netflow(&receiver);
    let entry = journal.wait_for(&[
        "SYSLOG_IDENTIFIER=IPFIXcol2".to_owned(),
        "PRIORITY=4".to_owned(),
        "RECEIVER=FULLFLOW[0]".to_owned(),
        format!("EXPORTER={exporter}"),
        "REASON=netflow_v9".to_owned(),
    ]);
    assert!(entry.starts_with("MESSAGE=FULLFLOW[0]: "), "{entry}");
    assert!(entry.contains("Set the exporter to IPFIX."), "{entry}");
    assert_eq!(daemon.log(), "", "what is in the journal is not written twice");
}

#[test]
fn json_has_one_object_a_line_with_the_same_fields() {
    let receiver = receiver();
    let runner = ["sh", "-c", "exec \"$@\" --log-format json", "sh"];
    let daemon = Daemon::start_by(&runner, &render(std::slice::from_ref(&receiver))).unwrap();
    let exporter = send_netflow(&receiver);
    let line = daemon.wait_for_log(&["netflow_v9"]).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["receiver"], "FULLFLOW[0]");
    assert_eq!(line["exporter"], exporter.to_string());
    assert_eq!(line["reason"], "netflow_v9");
    assert_eq!(line["level"], "WARN");
    assert!(line["message"].as_str().unwrap().contains("NetFlow version 9"), "{line}");
    for line in daemon.log().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn for_people_a_line_says_where_first() {
    let receiver = receiver();
    let daemon = Daemon::start(std::slice::from_ref(&receiver)).unwrap();
    let exporter = send_netflow(&receiver);
    let line = daemon.wait_for_log(&["NetFlow version 9"]).unwrap();
    let said = format!(
        " WARN FULLFLOW[0]: A NetFlow version 9 datagram. Set the exporter to IPFIX. \
         (exporter {exporter}, reason netflow_v9)"
    );
    assert!(line.ends_with(&said), "{line}");
}

#[test]
fn a_destination_that_is_down_is_named() {
    let receiver = receiver();
    let daemon = Daemon::start(std::slice::from_ref(&receiver)).unwrap();
    // A session begins with IPFIX.
    let exporter = UdpExporter::connect(receiver.address()).unwrap();
    exporter.send(&ipfix_balancer_tests::exporter::Flows::new(1).templates()).unwrap();
    daemon.wait_for_log(&["WARN FULLFLOW[0] 127.0.0.1/", "/tcp: destination is down"]).unwrap();
}

#[test]
fn the_level_can_be_changed_while_it_runs() {
    let collectors = [Collector::start(Tcp, V4).unwrap()];
    let receiver = receiver().to(&collectors);
    let daemon = Daemon::start(std::slice::from_ref(&receiver)).unwrap();
    assert!(daemon.command(&["status"]).unwrap().stdout.contains("log level info"));
    let outcome = daemon.command(&["log-level", "error"]).unwrap();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "log level error\n"));
    assert!(daemon.command(&["status"]).unwrap().stdout.contains("log level error"));
    let silent = send_netflow(&receiver);
    daemon.wait_for("FULLFLOW[0]", "the drop", |r| r.dropped("netflow_v9") == 1).unwrap();
    assert_eq!(daemon.command(&["log-level", "debug"]).unwrap().code, 0);
    // One a second is logged, and which of these it is, is seen later.
    let mut heard = Vec::new();
    poll::wait("a line again", || {
        heard.push(format!("exporter {}", send_netflow(&receiver)));
        let log = daemon.log();
        heard.iter().any(|it| log.contains(it))
    })
    .unwrap();
    assert!(!daemon.log().contains(&format!("exporter {silent}")));
    assert_eq!(daemon.command(&["log-level", "loud"]).unwrap().code, 2);
}
