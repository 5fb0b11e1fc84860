//! `cargo xtask demo`: the balancer at work on loopback, with real captures and with collectors
//! that check what they get.

mod captures;
mod receiver;
mod table;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use ipfix_balancer_tests::collector::Protocol;

use self::captures::Capture;
use self::receiver::{Kind, Receiver};
use self::table::Table;
use crate::process::{Placement, Process, raise_open_files, wait_until};
use crate::workspace::{cargo, run as run_command, target_dir};
use crate::{daemon, interrupt, setup};

/// The configuration, with `@NAME@` in place of ports.
const CONFIGURATION: &str = include_str!("default.env");
/// The receivers of the configuration.
const RECEIVERS: [Kind; 3] = [
    Kind { stream: "FULLFLOW", protocol: Protocol::Tcp, all: false, collectors: 3 },
    Kind { stream: "CLICKSTREAM", protocol: Protocol::Udp, all: true, collectors: 2 },
    Kind { stream: "DNSFLOW", protocol: Protocol::Udp, all: false, collectors: 3 },
];
/// How long the last messages may be on their way, and how long a silence means there are none.
const LIMIT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_millis(300);

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub struct Args {
    /// For how long the exporters begin new sessions
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

/// Runs the demo and says whether the balancer did what it has to.
pub fn run(args: &Args) -> Result<ExitCode> {
    interrupt::install()?;
    // Each UDP session of a long demo keeps its socket.
    raise_open_files()?;
    let captures = captures::load()?;
    let program = build()?;
    let mut receivers = Vec::new();
    for kind in RECEIVERS {
        receivers.push(Receiver::new(kind)?);
    }
    let configuration =
        receivers.iter().fold(CONFIGURATION.to_owned(), |text, receiver| receiver.configure(&text));
    println!("The balancer runs with this configuration:\n\n{configuration}");
    let directory = tempfile::Builder::new().prefix("ipfix-demo-").tempdir()?;
    let placement = Placement::default();
    let mut balancer = daemon::start(&program, &placement, directory.path(), &configuration)?;
    let messages: usize = captures.iter().map(|capture| capture.messages.len()).sum();
    println!(
        "Replaying {} captures of real exporters ({messages} messages) over and over for {} s, \
         each in a session of its own.\n",
        captures.len(),
        args.seconds
    );
    let mut table = Table::new();
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let exported = export(&receivers, &captures, until, &mut table, &mut balancer);
    interrupt::check()?;
    table.draw(&receivers);
    let log = directory.path().join("balancer.log");
    let log = || std::fs::read_to_string(&log).unwrap_or_default();
    let outcome = exported.and_then(|()| conclude(&receivers, &captures, &mut balancer));
    outcome.with_context(|| format!("VERDICT: failed. The balancer's log:\n{}", log()))?;
    println!(
        "\nVERDICT: passed. Every message arrived as it was sent: at each destination (All), at \
         exactly one (RoundRobin);\nno template was missing, and no sequence number."
    );
    Ok(ExitCode::SUCCESS)
}

/// Builds the balancer, and installs what that takes; where it is.
fn build() -> Result<PathBuf> {
    setup::for_daemon()?;
    println!("Building the balancer ...");
    run_command(cargo().args(["build", "--quiet", "--locked", "--package=ipfix-balancer"]))?;
    Ok(target_dir()?.join("debug/ipfix-balancer"))
}

/// Runs an exporter for each receiver, and the table, until all have been delivered.
fn export(
    receivers: &[Receiver],
    captures: &[Capture],
    until: Instant,
    table: &mut Table,
    balancer: &mut Process,
) -> Result<()> {
    thread::scope(|scope| -> Result<()> {
        let exporters: Vec<_> = receivers
            .iter()
            .map(|receiver| scope.spawn(move || receiver.export(captures, until)))
            .collect();
        while !exporters.iter().all(|exporter| exporter.is_finished()) {
            table.refresh(receivers);
            balancer.check_running()?;
            thread::sleep(Duration::from_millis(20));
        }
        for (exporter, receiver) in exporters.into_iter().zip(receivers) {
            let result = exporter.join().map_err(|_| anyhow!("the exporter panicked"))?;
            result.with_context(|| format!("exporter to {}", receiver.kind.stream))?;
        }
        Ok(())
    })?;
    let total = || receivers.iter().map(Receiver::received).sum::<usize>();
    let (mut last, mut since) = (total(), Instant::now());
    wait_until("the last messages arrive", LIMIT, || {
        if total() != last {
            (last, since) = (total(), Instant::now());
        }
        Ok((since.elapsed() > SILENCE).then_some(()))
    })
}

/// Stops the balancer, and compares what arrived with what was sent.
fn conclude(receivers: &[Receiver], captures: &[Capture], balancer: &mut Process) -> Result<()> {
    let status = balancer.stop(LIMIT)?;
    ensure!(status.success(), "the balancer did not stop cleanly: {status}");
    println!();
    let mut result = Ok(());
    for receiver in receivers {
        let sent = receiver.sent();
        let find = |place: &usize| captures.get(*place);
        let messages: usize = sent.iter().filter_map(find).map(|c| c.messages.len()).sum();
        let records: usize = sent.iter().filter_map(find).map(|c| c.records).sum();
        let verdict = verdict::check(receiver, captures);
        let word = if verdict.is_ok() { "right" } else { "WRONG" };
        println!(
            "{}[0]: {} sessions, {messages} messages, {records} records sent: {word}",
            receiver.kind.stream,
            sent.len(),
        );
        result = result.and(verdict.with_context(|| format!("{}[0]", receiver.kind.stream)));
    }
    result
}
