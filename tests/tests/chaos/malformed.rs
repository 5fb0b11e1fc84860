//! Exporters that send something wrong between things that are right.

use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::exporter::{Exporter, Message};
use ipfix_balancer_tests::poll;

use crate::ledger::{Author, Session};
use crate::traffic::Task;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A version that there is not.
    Version,
    /// NetFlow version 5.
    NetflowV5,
    /// NetFlow version 9.
    NetflowV9,
    /// A length below 16.
    Length,
    /// The first half of a message.
    Half,
    /// A set longer than its message.
    Sets,
    /// As many such messages in a row as nobody is forgiven.
    Row,
}

/// Malformed messages in a row for which a connection is closed (SPEC section 8).
const ROW: usize = 8;

impl Fault {
    /// Those that there are over a protocol.
    pub fn over(protocol: Protocol) -> &'static [Self] {
        match protocol {
            Tcp => {
                &[Self::Version, Self::NetflowV9, Self::Length, Self::Half, Self::Sets, Self::Row]
            }
            Udp => &[
                Self::Version,
                Self::NetflowV5,
                Self::NetflowV9,
                Self::Length,
                Self::Half,
                Self::Sets,
            ],
        }
    }

    /// What the balancer counts for it, by reason.
    pub fn counted(self, protocol: Protocol) -> &'static [(&'static str, u64)] {
        match (self, protocol) {
            (Self::Version | Self::NetflowV5 | Self::NetflowV9 | Self::Length, Tcp) => {
                &[("framing_lost", 1)]
            }
            (Self::Half, Tcp) => &[("truncated", 1)],
            (Self::Row, _) => &[("malformed", 8), ("malformed_row", 1)],
            (Self::Version, Udp) => &[("version", 1)],
            (Self::NetflowV5, Udp) => &[("netflow_v5", 1)],
            (Self::NetflowV9, Udp) => &[("netflow_v9", 1)],
            (Self::Length | Self::Half, Udp) | (Self::Sets, _) => &[("malformed", 1)],
        }
    }

    /// Messages that the balancer counts as received and drops.
    pub fn messages(self, protocol: Protocol) -> u64 {
        match (self, protocol) {
            (Self::Row, _) => 8,
            (Self::Sets, _) | (_, Udp) => 1,
            (_, Tcp) => 0,
        }
    }

    /// Whether the connection can go on after it.
    fn is_forgiven(self, protocol: Protocol) -> bool {
        protocol == Udp || self == Self::Sets
    }

    fn bytes(self) -> Vec<Vec<u8>> {
        let sets = || Message::new(1, 0).set_claiming(256, 60, &[0; 8]).build();
        let version = |version| Message::new(1, 0).version(version).set(256, &[7; 40]).build();
        match self {
            Self::Version => vec![version(77)],
            Self::NetflowV5 => vec![version(5)],
            Self::NetflowV9 => vec![version(9)],
            Self::Length => vec![Message::new(1, 0).length(8).build()],
            Self::Half => vec![Message::new(1, 0).length(80).set(256, &[0; 8]).build()],
            Self::Sets => vec![sets()],
            Self::Row => vec![sets(); ROW],
        }
    }
}

/// An exporter that sends a fault, and will have ended soon.
pub struct Faulty(JoinHandle<Session>);

impl Faulty {
    /// Starts it, to be called in its namespace.
    pub fn start(task: Task, fault: Fault) -> Self {
        Self(std::thread::spawn(move || {
            let mut author = Author::new(task.receiver, task.number, task.begin);
            // The balancer may be away, or go away meanwhile: then the session ends early.
            drop(export(task, fault, &mut author));
            author.close()
        }))
    }

    /// Waits for its end; what it has sent that was right.
    pub fn end(self) -> Result<Session> {
        self.0.join().map_err(|_| anyhow!("an exporter panicked"))
    }
}

fn export(task: Task, fault: Fault, author: &mut Author) -> Result<()> {
    let mut exporter = poll::until(poll::PATIENCE, "the balancer accepts an exporter", || {
        Exporter::connect(task.protocol, task.to).ok()
    })?;
    let before = [author.templates(), author.data(3), author.data(2)];
    exporter.send_all(&before)?;
    exporter.send_all(&fault.bytes())?;
    if fault.is_forgiven(task.protocol) {
        let after = [author.data(1), author.data(4)];
        exporter.send_all(&after)?;
    }
    if let Exporter::Tcp(mut exporter) = exporter {
        if fault == Fault::Half || fault.is_forgiven(Tcp) {
            exporter.finish()?;
        }
        // Only then nothing that was sent can be lost in a reset.
        exporter.is_closed_within(poll::PATIENCE)?;
    }
    Ok(())
}
