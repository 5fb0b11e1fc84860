//! The command line: what each subcommand says, and its exit code.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::{self, Daemon, Mode, Outcome, Receiver};
use ipfix_balancer_tests::exporter::{Flows, TcpExporter};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::setup::Setup;
use nix::sys::signal::Signal;

/// The documented example with three streams (SPEC section 10), byte for byte.
const EXAMPLE: &str = include_str!("data/example.env");

const DONE: i32 = 0;
const FAILED: i32 = 1;
const WRONG: i32 = 2;

/// A configuration file in a folder of its own.
struct Configured {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn configured(text: &str) -> Result<Configured> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("balancer.env");
    std::fs::write(&path, text)?;
    Ok(Configured { _folder: folder, path })
}

fn run(arguments: &[&str], config: &Path) -> Result<Outcome> {
    daemon::command(arguments, config)
}

fn right() -> Result<String> {
    let address = free_address(V4)?;
    let destination = free_address(V4)?;
    let receiver = Receiver::new(Mode::All, Tcp, address).destinations(Tcp, &[destination]);
    Ok(daemon::render(&[receiver]))
}

#[test]
fn check_says_what_a_right_file_comes_to() {
    let config = configured(&right().unwrap()).unwrap();
    let outcome = run(&["check"], &config.path).unwrap();
    assert_eq!(outcome.code, DONE, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("FULLFLOW"), "{}", outcome.stdout);
}

#[test]
fn check_names_every_fault_with_its_line() {
    let text = right().unwrap() + "IPFIX_FULLFLOW_BALANCERR[0]=All\nIPFIX_DNSFLOW_PORT[0]=70000\n";
    let config = configured(&text).unwrap();
    let outcome = run(&["check"], &config.path).unwrap();
    assert_eq!(outcome.code, WRONG);
    let said = outcome.stdout + &outcome.stderr;
    for part in ["IPFIX_FULLFLOW_BALANCERR", "BALANCER", "IPFIX_DNSFLOW_PORT", "70000", ":7", ":8"]
    {
        assert!(said.contains(part), "no {part} in: {said}");
    }
}

#[test]
fn check_of_the_documented_example_complains_of_missing_cpus_only() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let config = configured(EXAMPLE).unwrap();
    let outcome = run(&["check"], &config.path).unwrap();
    let said = outcome.stdout + &outcome.stderr;
    if cpus > 63 {
        assert_eq!(outcome.code, DONE, "{said}");
        return;
    }
    assert_eq!(outcome.code, WRONG, "{said}");
    for (line, cpu) in [(7, 61), (15, 62), (23, 63)] {
        let named = said.lines().any(|one| {
            one.contains(&format!(":{line}"))
                && one.contains("TASKSET")
                && one.contains(&cpu.to_string())
        });
        assert!(named, "CPU {cpu} of line {line} is not named in: {said}");
    }
    // With CPUs that exist nothing else is wrong with it.
    let mut text = EXAMPLE.to_owned();
    for cpu in ["=61", "=62", "=63"] {
        text = text.replace(cpu, "=0");
    }
    let config = configured(&text).unwrap();
    let outcome = run(&["check"], &config.path).unwrap();
    assert_eq!(outcome.code, DONE, "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn a_missing_file_is_a_wrong_configuration() {
    let config = configured("").unwrap();
    let missing = config.path.with_file_name("missing.env");
    for subcommand in ["check", "run"] {
        let outcome = run(&[subcommand], &missing).unwrap();
        assert_eq!(outcome.code, WRONG, "{subcommand}: {}", outcome.stderr);
        let said = outcome.stdout + &outcome.stderr;
        assert!(said.contains("missing.env"), "{subcommand}: {said}");
    }
}

#[test]
fn run_refuses_a_faulty_file() {
    let config = configured("IPFIX_FULLFLOW_BALANCER[0]=Sometimes\n").unwrap();
    let outcome = run(&["run"], &config.path).unwrap();
    assert_eq!(outcome.code, WRONG);
    assert!(outcome.stderr.contains("Sometimes"), "{}", outcome.stderr);
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_0() {
    let config = configured(&right().unwrap()).unwrap();
    assert_eq!(run(&["frobnicate"], &config.path).unwrap().code, WRONG);
    assert_eq!(run(&["status", "--yaml"], &config.path).unwrap().code, WRONG);
    for subcommand in ["run", "check", "status", "reload", "stop", "load"] {
        let help = run(&[subcommand, "--help"], &config.path).unwrap();
        assert_eq!(help.code, DONE);
        assert!(help.stdout.contains("Example"), "{subcommand}: {}", help.stdout);
    }
}

#[test]
fn without_a_daemon_status_reload_and_stop_fail_and_say_why() {
    let config = configured(&right().unwrap()).unwrap();
    for arguments in [&["status"][..], &["status", "--json"], &["reload"], &["stop"]] {
        let outcome = run(arguments, &config.path).unwrap();
        assert_eq!(outcome.code, FAILED, "{arguments:?}");
        assert!(outcome.stderr.contains("no daemon"), "{arguments:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_second_daemon_with_the_same_file_is_refused() {
    let setup = Setup::new(Mode::All, Tcp, Tcp, 1).unwrap();
    let second = setup.daemon.command(&["run"]).unwrap();
    assert_eq!(second.code, FAILED, "{}", second.stderr);
    assert!(setup.daemon.status().is_ok(), "the first one goes on");
}

#[test]
fn a_taken_port_is_a_failure_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let receiver =
        Receiver::new(Mode::All, Tcp, address).destinations(Tcp, &[free_address(V4).unwrap()]);
    let config = configured(&daemon::render(&[receiver])).unwrap();
    let outcome = run(&["run"], &config.path).unwrap();
    assert_eq!(outcome.code, FAILED, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&address.port().to_string()), "{}", outcome.stderr);
}

#[test]
fn status_counts_what_went_through() {
    let setup = Setup::new(Mode::RoundRobin, Tcp, Tcp, 2).unwrap();
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&Flows::new(1).session(10, 2)).unwrap();
    setup
        .daemon
        .wait_for("FULLFLOW[0]", "all is counted", |receiver| {
            let out: u64 = receiver.destinations().iter().map(|one| one.messages()).sum();
            receiver.messages() == 11 && receiver.sessions() == 1 && out == 12
        })
        .unwrap();
    let text = setup.daemon.command(&["status"]).unwrap();
    assert_eq!(text.code, DONE);
    for collector in &setup.collectors {
        assert!(text.stdout.contains(&collector.address().port().to_string()), "{}", text.stdout);
    }
}

fn stops(stop: impl FnOnce(&Daemon) -> Result<()>) -> Result<()> {
    let Setup { mut daemon, receiver, collectors, .. } = Setup::new(Mode::All, Tcp, Tcp, 1)?;
    let mut exporter = TcpExporter::connect(receiver.address())?;
    let messages = Flows::new(1).session(200, 5);
    exporter.send_all(&messages)?;
    daemon.wait_for("FULLFLOW[0]", "all is read", |receiver| receiver.messages() == 201)?;
    stop(&daemon)?;
    let status = daemon.wait_for_exit()?;
    ensure!(status.code() == Some(DONE), "{status}: {}", daemon.log());
    let collector = collectors.first().context("no collector")?;
    collector.wait_for_end_of(1)?;
    let arrived = collector.sessions().into_iter().map(|session| session.messages);
    ensure!(arrived.collect::<Vec<_>>() == [messages], "not all was sent before the end");
    ensure!(daemon.command(&["status"])?.code == FAILED, "somebody still answers");
    Ok(())
}

#[test]
fn stop_drains_and_ends() {
    stops(|daemon| {
        let outcome = daemon.command(&["stop"])?;
        ensure!(outcome.code == DONE, "{}", outcome.stderr);
        Ok(())
    })
    .unwrap();
}

#[test]
fn sigterm_drains_and_ends() {
    stops(|daemon| daemon.signal(Signal::SIGTERM)).unwrap();
}
