//! Exporters at work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use ipfix_balancer_tests::collector::Protocol;
use ipfix_balancer_tests::exporter::Exporter;
use ipfix_balancer_tests::poll;

use crate::dice::Dice;
use crate::ledger::{Author, Session};

/// Messages of an exporter in a second.
const RATE: u32 = 150;
/// Numbers of observation domains between two exporters.
const DOMAINS: u32 = 1000;

/// What an exporter is told when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub receiver: usize,
    /// Tells it from all others.
    pub number: u32,
    pub protocol: Protocol,
    pub to: SocketAddr,
    pub seed: u64,
    pub begin: Instant,
}

/// A running exporter.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Session>>>,
}

impl Traffic {
    /// Starts an exporter, to be called in its namespace.
    pub fn start(task: Task) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        Self { stop, thread: std::thread::spawn(move || export(task, &until)) }
    }

    /// Lets it end; what it has sent.
    pub fn end(self) -> Result<Vec<Session>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("an exporter panicked"))?
    }
}

/// Sends at a steady rate; where the balancer ends the connection, goes on by another one, which is
/// another session.
fn export(task: Task, stop: &AtomicBool) -> Result<Vec<Session>> {
    let mut dice = Dice::new(task.seed.wrapping_mul(1000).wrapping_add(task.number.into()));
    let mut sessions = Vec::new();
    let pause = Duration::from_secs(1) / RATE;
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let mut exporter = connect(&task)?;
        let domain = task.number * DOMAINS + u32::try_from(sessions.len())?;
        let mut author = Author::new(task.receiver, domain, task.begin);
        author.session.again = !sessions.is_empty();
        while !stop.load(Ordering::Relaxed) {
            let message = author.next(&mut dice)?;
            if send(&mut exporter, &message).is_err() {
                break;
            }
            due = (due + pause).max(Instant::now() - pause);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        if let Exporter::Tcp(exporter) = &exporter {
            // Where it fails the other side was faster.
            drop(exporter.finish());
        }
        sessions.push(author.close());
    }
    Ok(sessions)
}

fn connect(task: &Task) -> Result<Exporter> {
    poll::until(poll::PATIENCE, "the balancer accepts an exporter", || {
        Exporter::connect(task.protocol, task.to).ok()
    })
}

/// A UDP socket tells at the next call that an earlier datagram was refused: that one is lost.
fn send(exporter: &mut Exporter, message: &[u8]) -> Result<()> {
    let mut attempts = 0;
    while let Err(error) = exporter.send(message) {
        attempts += 1;
        if matches!(exporter, Exporter::Tcp(_)) || attempts > 3 {
            bail!(error);
        }
    }
    Ok(())
}
