use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, path::PathBuf};

use tempfile::TempDir;

use super::*;

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

#[test]
fn example_loads() {
    let receivers = receivers(EXAMPLE);
    let shown = |receiver: &Receiver| {
        let destinations = receiver.destinations.iter().map(ToString::to_string);
        (
            receiver.id.to_string(),
            receiver.id.thread_name(),
            receiver.port,
            destinations.collect::<Vec<_>>().join(" "),
            receiver.cpus.clone(),
        )
    };
    let row = |id: &str, thread: &str, port, destinations: &str, cpu| {
        (id.to_owned(), thread.to_owned(), port, destinations.to_owned(), vec![cpu])
    };
    assert_eq!(
        receivers.iter().map(shown).collect::<Vec<_>>(),
        [
            row(
                "FULLFLOW[0]",
                "ipfix-full-0",
                1500,
                "10.19.3.21/1500/tcp 10.19.3.23/1600/tcp 10.19.3.24/1600/tcp",
                61
            ),
            row(
                "CLICKSTREAM[0]",
                "ipfix-click-0",
                1501,
                "10.19.3.21/1501/tcp 10.19.3.23/1601/tcp",
                62
            ),
            row("DNSFLOW[0]", "ipfix-dns-0", 1101, "10.19.3.21/1101/tcp 10.19.3.23/2101/tcp", 63),
        ]
    );
    assert!(receivers.iter().all(|r| r.mode == Mode::RoundRobin && r.protocol == Protocol::Tcp));
    assert_eq!(notes(EXAMPLE), Vec::<String>::new());
}

#[test]
fn example_names_missing_cpus() {
    let small = Environment { cpus: vec![0, 1], ..machine() };
    let faults = Config::parse(Path::new("x/.env"), EXAMPLE, &small).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "x/.env:7: IPFIX_FULLFLOW_BALANCER_TASKSET[0]=61: \
         CPU 61 does not exist on this machine; allowed: CPUs 0-1\n\
         x/.env:15: IPFIX_CLICKSTREAM_BALANCER_TASKSET[0]=62: \
         CPU 62 does not exist on this machine; allowed: CPUs 0-1\n\
         x/.env:23: IPFIX_DNSFLOW_BALANCER_TASKSET[0]=63: \
         CPU 63 does not exist on this machine; allowed: CPUs 0-1"
    );
}

#[test]
fn missing_file_is_an_io_error() {
    let missing = Path::new("/nonexistent/.env");
    let error = Config::load(missing).unwrap_err();
    assert!(matches!(&error, LoadError::Io { source, .. } if source.kind() == ErrorKind::NotFound));
    assert!(error.to_string().starts_with("/nonexistent/.env: "));
    assert!(!check(missing).ok);
}

#[test]
fn comments_in_an_old_encoding_load() {
    // KOI8-R.
    let (_dir, path) = file(b"# \xf0\xcf\xd4\xcf\xcb\nIPFIX_FULLFLOW_PORT=1600 # \xc4\xc1\n");
    assert_eq!(Config::load(&path).unwrap().config.receivers[0].port, 1600);
    let (_dir, path) = file(b"IPFIX_FULLFLOW_ROTATE_COMMAND[0]=/bin/\xc4\xc1\n");
    assert!(Config::load(&path).unwrap_err().to_string().contains(": not UTF-8"));
}

#[test]
fn world_writable_file_is_noted() {
    let (_dir, path) = file(b"IPFIX_FULLFLOW_PORT[0]=1500\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(Config::load(&path).unwrap().notes, []);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let notes = Config::load(&path).unwrap().notes;
    assert!(notes[0].to_string().contains(".env: everyone may write"), "{notes:?}");
}

#[test]
fn check_shows_what_is_in_effect() {
    let (_dir, path) = file(b"IPFIX_FULLFLOW_PORT[0]=1600\nIPFIX_FULLFLOW_BALANCER_SUB[0]=h/1\n");
    let Report { text, ok } = check(&path);
    assert!(ok, "{text}");
    let row = |cells: &[&str]| {
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = cells.join(" ");
        assert!(text.lines().any(|line| squeezed(line).contains(&wanted)), "{wanted}\n{text}");
    };
    row(&["FULLFLOW[0]", "* 1600/tcp", "Disabled (recording)", "-", "-"]);
    row(&["PORT", "1600", "line 1"]);
    row(&["ROTATE_MINUTES", "10", "default"]);
    row(&["ALLOW_FROM", "everyone", "default"]);
    row(&["1 note:"]);
    row(&[":2: IPFIX_FULLFLOW_BALANCER_SUB[0]: no effect with BALANCER=Disabled"]);
    assert!(!text.contains("SPOOL"), "{text}");
    assert!(text.ends_with(".env: good\n"));
}

#[test]
fn check_shows_faults_with_the_table() {
    let (_dir, path) = file(b"IPFIX_FULLFLOW_PORT[0]=x\nIPFIX_UI_LISTEN=1\nIPFIX_X=1\n");
    let Report { text, ok } = check(&path);
    assert!(!ok);
    for part in ["3 faults:", "line 1: faulty", ":1: IPFIX_FULLFLOW_PORT[0]=x: not a number", ":3:"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.ends_with(".env: refused\n"));
}
