//! What `status` tells, also as JSON. The form of the JSON is described in `docs/status.md` and
//! `docs/status.schema.json`: fields are added, never renamed or removed.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    config::Receiver,
    stats::{DestinationStats, Drops, ReceiverStats},
};

/// The daemon's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The configuration file.
    pub config: String,
    /// When it was started, in seconds since 1970.
    pub started_unix_seconds: u64,
    /// For how long it has run.
    pub uptime_seconds: u64,
    /// Its receivers, in the order stream, index.
    pub receivers: Vec<ReceiverStatus>,
}

/// State and counters of one receiver, since it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverStatus {
    /// For example `FULLFLOW[0]`.
    pub name: String,
    /// `All` or `RoundRobin`.
    pub mode: String,
    /// Input protocol, `tcp` or `udp`.
    pub protocol: String,
    /// Address and port it listens on.
    pub listen: String,
    /// Name of its handler thread, as in `ps -L`.
    pub thread: String,
    /// CPUs the handler is pinned to; empty when it is not.
    pub cpus: Vec<usize>,
    /// `userspace` or `kernel`.
    pub path: String,
    /// Why it is this path.
    pub path_reason: String,
    /// Exporter sessions now.
    pub sessions: u64,
    /// Messages received, dropped ones included.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that wait because no destination can take a turn.
    pub waiting_messages: u64,
    /// What was dropped, refused or closed at the input, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Its destinations, in the order of the configuration.
    pub destinations: Vec<DestinationStatus>,
}

/// State and counters of one destination of a receiver, over all exporter sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// Host and port as in the configuration, for example `10.19.3.21/1500`.
    pub address: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `idle` without connections, `up` or `down` when all are, `connecting`, or `partly` up.
    pub state: String,
    /// Its connections; one for each exporter session.
    pub connections: Connections,
    /// Messages handed to the kernel, those that the balancer composed included.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that wait in memory.
    pub queued_bytes: u64,
    /// What was dropped for this destination, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Why a connection last broke or could not be made.
    pub last_error: Option<String>,
}

/// Connections (UDP: sockets) of a destination by their state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// In use.
    pub up: u64,
    /// Being made for the first time.
    pub connecting: u64,
    /// Broken or refused, and tried again.
    pub down: u64,
}

impl ReceiverStatus {
    /// The state of `receiver`, which listens on `address`.
    pub fn of(receiver: &Receiver, address: SocketAddr, stats: &ReceiverStats) -> ReceiverStatus {
        ReceiverStatus {
            name: receiver.id.to_string(),
            mode: receiver.mode.to_string(),
            protocol: receiver.protocol.to_string(),
            listen: address.to_string(),
            thread: receiver.id.thread_name(),
            cpus: receiver.cpus.clone(),
            path: "userspace".to_owned(),
            path_reason: "this version has no kernel path".to_owned(),
            sessions: stats.sessions.get(),
            messages: stats.messages.get(),
            bytes: stats.bytes.get(),
            waiting_messages: stats.waiting.get(),
            dropped: by_reason(&stats.drops),
            destinations: stats.destinations().iter().map(|d| DestinationStatus::of(d)).collect(),
        }
    }
}

impl DestinationStatus {
    fn of(stats: &DestinationStats) -> DestinationStatus {
        let connections = Connections {
            up: stats.up.get(),
            connecting: stats.connecting.get(),
            down: stats.down.get(),
        };
        DestinationStatus {
            address: format!("{}/{}", stats.destination.host, stats.destination.port),
            protocol: stats.destination.protocol.to_string(),
            state: connections.state().to_owned(),
            connections,
            messages: stats.messages.get(),
            bytes: stats.bytes.get(),
            queued_bytes: stats.queued_bytes.get(),
            dropped: by_reason(&stats.drops),
            last_error: stats.last_error(),
        }
    }
}

impl Connections {
    fn state(self) -> &'static str {
        match self {
            Connections { up: 0, connecting: 0, down: 0 } => "idle",
            Connections { connecting: 0, down: 0, .. } => "up",
            Connections { up: 0, connecting: 0, .. } => "down",
            Connections { up: 0, down: 0, .. } => "connecting",
            _ => "partly",
        }
    }
}

fn by_reason(drops: &Drops) -> BTreeMap<String, u64> {
    drops.occurred().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect()
}
