//! One receiver of the demo: its collectors, and what its exporters send.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ipfix_balancer_tests::collector::{Collector, Protocol};
use ipfix_balancer_tests::exporter::{TcpExporter, UdpExporter};
use ipfix_balancer_tests::net;

use super::captures::Capture;
use crate::interrupt;
use crate::process::wait_until;

/// Pause between two messages: what is shown should be readable, and a UDP buffer never full.
const PAUSE: Duration = Duration::from_millis(4);
/// How long the collectors may take to see a new session.
const LIMIT: Duration = Duration::from_secs(10);

/// What a receiver of the embedded configuration is.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Stream, as in the configuration's keys.
    pub stream: &'static str,
    pub protocol: Protocol,
    /// Whether every collector gets every message; else they take turns.
    pub all: bool,
    pub collectors: usize,
}

/// A receiver's surroundings.
#[derive(Debug)]
pub struct Receiver {
    pub kind: Kind,
    pub address: SocketAddr,
    pub collectors: Vec<Collector>,
    /// Places in the list of captures, in the order in which they were sent.
    sent: Mutex<Vec<usize>>,
}

impl Receiver {
    /// Takes a free port for the receiver and starts its collectors.
    pub fn new(kind: Kind) -> Result<Self> {
        Ok(Self {
            kind,
            address: net::free_address(net::V4)?,
            collectors: Collector::several(kind.collectors, kind.protocol, net::V4)?,
            sent: Mutex::default(),
        })
    }

    /// Fills in this receiver's ports in the configuration.
    pub fn configure(&self, configuration: &str) -> String {
        let list: Vec<String> = self
            .collectors
            .iter()
            .map(|collector| format!("{}/{}", collector.address().ip(), collector.address().port()))
            .collect();
        configuration
            .replace(&format!("@{}_SUB@", self.kind.stream), &list.join(", "))
            .replace(&format!("@{}@", self.kind.stream), &self.address.port().to_string())
    }

    /// Replays one capture after another, each in a session of its own, until the time is over.
    pub fn export(&self, captures: &[Capture], until: Instant) -> Result<()> {
        // Sockets stay open: a source port that came again would be a session that is not new.
        let mut sources = Vec::new();
        for (place, capture) in captures.iter().enumerate().cycle() {
            if Instant::now() >= until || interrupt::requested() {
                break;
            }
            self.replay(place, capture, &mut sources)?;
        }
        Ok(())
    }

    fn replay(
        &self,
        place: usize,
        capture: &Capture,
        sources: &mut Vec<UdpExporter>,
    ) -> Result<()> {
        let sessions = {
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.push(place);
            sent.len()
        };
        match self.kind.protocol {
            Protocol::Tcp => {
                let mut exporter = TcpExporter::connect(self.address)?;
                for message in &capture.messages {
                    exporter.send(message)?;
                    sleep(PAUSE);
                }
                exporter.finish()?;
            }
            Protocol::Udp => {
                let exporter = UdpExporter::connect(self.address)?;
                for message in &capture.messages {
                    exporter.send(message)?;
                    sleep(PAUSE);
                }
                sources.push(exporter);
            }
        }
        // One session after another: so each collector's n-th session is the n-th exporter's.
        wait_until("every collector sees the session", LIMIT, || {
            let seen = |collector: &Collector| collector.session_count() >= sessions;
            Ok(self.collectors.iter().all(seen).then_some(()))
        })
    }

    /// What was sent: places in the list of captures, one a session.
    pub fn sent(&self) -> Vec<usize> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Messages that the collectors have together.
    pub fn received(&self) -> usize {
        self.collectors.iter().map(Collector::messages).sum()
    }

    /// An error if a collector has another number of sessions than there were exporters.
    pub fn check_sessions(&self) -> Result<()> {
        let expected = self.sent().len();
        for (place, collector) in self.collectors.iter().enumerate() {
            if collector.session_count() != expected {
                let found = collector.session_count();
                bail!("collector {place} saw {found} sessions, and there were {expected}");
            }
        }
        Ok(())
    }
}
