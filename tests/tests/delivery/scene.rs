//! An exporter that goes on sending while collectors fail, and what has to be the case afterwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::{Collector, Session};
use ipfix_balancer_tests::decode::{self, Record, Tally};
use ipfix_balancer_tests::exporter::{Flows, TcpExporter};
use ipfix_balancer_tests::poll;

/// Messages of one write of the exporter.
const GROUP: usize = 50;
/// Between two writes of an exporter that sends about 10,000 messages, 12 MB a second: kernel buffers
/// are full of them when a collector fails, and queues are not while a test has one fail.
pub const FAST: Duration = Duration::from_millis(5);
/// Likewise, with a collector that reads little of it.
pub const MODERATE: Duration = Duration::from_millis(20);
/// Likewise, with a collector that fails for many seconds.
pub const SLOW: Duration = Duration::from_millis(100);
/// Flow records of a message, and octets of the string in each: few, which are decoded soon.
const RECORDS: usize = 2;
const STRING: usize = 600;

/// An exporter that sends until it is told to end.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: JoinHandle<Result<Vec<Vec<u8>>>>,
}

impl Load {
    /// Begins to send: templates, then flows, now and then options.
    pub fn start(mut exporter: TcpExporter, pause: Duration) -> Load {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let mut flows = Flows::new(7);
            let mut messages = vec![flows.templates(), flows.options_data(2)];
            exporter.send_all(&messages)?;
            while !stopped.load(Ordering::Relaxed) {
                let group: Vec<_> = (0..GROUP).map(|_| flows.named_data(RECORDS, STRING)).collect();
                exporter.send(&group.concat())?;
                messages.extend(group);
                count.store(messages.len(), Ordering::Relaxed);
                std::thread::sleep(pause);
            }
            exporter.finish()?;
            Ok(messages)
        });
        Load { stop, sent, thread }
    }

    /// Waits until `count` more messages have been sent.
    pub fn wait_for(&self, count: usize) -> Result<()> {
        let until = self.sent.load(Ordering::Relaxed) + count;
        poll::wait("the exporter sends on", || self.sent.load(Ordering::Relaxed) >= until)
    }

    /// Ends the exporter's session in order; all that it has sent.
    pub fn finish(self) -> Result<Vec<Vec<u8>>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the exporter panicked")?
    }
}

/// Waits until a collector has as many messages as were sent, and [`each_at_least_once`] holds.
pub fn arrive_at(collector: &Collector, sent: &[Vec<u8>]) -> Result<()> {
    // First: to look at all of them takes its time.
    collector.wait_for(sent.len())?;
    poll::until_ok(|| each_at_least_once(sent, &collector.sessions()).map(drop))
}

/// Checks what a collector got of a session in `All`, over several connections: in each connection
/// templates come first, nothing is undecodable, and no record missing or out of order; and each
/// begins at the latest where the one before has ended. So records are there twice only around a
/// reconnect. Gives the number of those that are.
pub fn each_at_least_once(sent: &[Vec<u8>], sessions: &[Session]) -> Result<usize> {
    let sent = decode::session(sent);
    let places: HashMap<&Record, usize> = sent.flows().zip(0..).collect();
    let (mut due, mut again) = (0, 0);
    for (index, session) in sessions.iter().enumerate() {
        let decoded = decode::session(&session.messages);
        ensure!(decoded.problems.is_empty(), "session {index}: {:?}", decoded.problems.first());
        let mut expected = None;
        for record in decoded.flows() {
            let place = *places.get(record).context("a record that was not sent")?;
            let expected = expected.get_or_insert_with(|| place.min(due));
            ensure!(place == *expected, "session {index}: flow {place} instead of {expected}");
            *expected += 1;
            again += usize::from(place < due);
            due = due.max(place + 1);
        }
    }
    ensure!(
        due == places.len(),
        "the last {} of {} flows are missing",
        places.len() - due,
        places.len()
    );
    Ok(again)
}

/// Checks what all collectors together got of a session in `RoundRobin`: in each connection templates
/// come first, nothing is undecodable, and the sequence numbers have no gap; and each record is
/// somewhere. Gives the number of records that are there once more.
pub fn each_somewhere(sent: &[Vec<u8>], collectors: &[Collector]) -> Result<usize> {
    let sent = decode::session(sent);
    let mut received = Vec::new();
    for (number, collector) in collectors.iter().enumerate() {
        for (index, session) in collector.sessions().iter().enumerate() {
            let decoded = decode::session(&session.messages);
            let problem = decoded.problems.first();
            ensure!(problem.is_none(), "collector {number}, session {index}: {problem:?}");
            received.push(decoded);
        }
    }
    let flows = Tally::of(received.iter().flat_map(|decoded| decoded.flows()));
    let difference = Tally::of(sent.flows()).difference(&flows);
    ensure!(difference.missing == 0, "{difference}");
    Ok(difference.surplus)
}
