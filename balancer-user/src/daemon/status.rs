//! What `status` tells, also as JSON. The form of the JSON is described in `docs/status.md` and
//! `docs/status.schema.json`: fields are added, never renamed or removed.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::Ordering::Relaxed,
    time::{SystemTime, UNIX_EPOCH},
};

use common::reason::Reason;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::process;
use crate::{
    config::{Mode, Receiver, ReceiverId},
    kernel::PathStatus,
    spool,
    stats::{DestinationStats, Drops, ReceiverStats, RecordStats, SpoolStats},
};

/// The daemon's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Which lines it logs: a level, or what `IPFIX_BALANCER_LOG` said at start.
    pub log_level: String,
    /// What it takes of the machine.
    pub process: ProcessStatus,
    /// Where programs and maps of the kernel path are pinned, if there is one.
    pub pins: Option<String>,
    /// The interfaces that the kernel path sends by at XDP.
    pub interfaces: Vec<InterfaceStatus>,
    /// Its receivers, in the order stream, index.
    pub receivers: Vec<ReceiverStatus>,
}

/// What the daemon takes of the machine, as the kernel counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessStatus {
    /// CPU time of all its threads since it was started.
    pub cpu_milliseconds: u64,
    /// Memory in use.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// How many it may have open.
    pub max_files: u64,
}

/// An interface that the kernel path sends by, for all receivers together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceStatus {
    /// For example `eth0`.
    pub name: String,
    /// Messages that were counted as sent and did not leave, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// State and counters of one receiver, since it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiverStatus {
    /// For example `FULLFLOW[0]`, or `FULLFLOW[0].1` for a subreceiver that it has launched.
    pub name: String,
    /// The receiver that has launched this one (`BALANCER_AUTO`).
    pub launched_by: Option<String>,
    /// `All`, `RoundRobin` or `Disabled`.
    pub mode: String,
    /// Input protocol, `tcp` or `udp`.
    pub protocol: String,
    /// Address and port it listens on.
    pub listen: String,
    /// Name of its handler thread, as in `ps -L`.
    pub thread: String,
    /// CPUs the handler is pinned to; empty when it is not.
    pub cpus: Vec<usize>,
    /// CPU time of the handler thread. What programs in the kernel take is not in it.
    pub cpu_milliseconds: u64,
    /// `userspace` or `kernel`.
    pub path: String,
    /// Why it is this path.
    pub path_reason: String,
    /// Exporter sessions now.
    pub sessions: u64,
    /// Messages received over both paths, dropped ones included.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that never left the kernel; `messages` has them as well.
    pub kernel_messages: u64,
    /// Datagrams that the kernel path sent up to userspace, by reason.
    pub passed_up: BTreeMap<String, u64>,
    /// Messages that wait because no destination can take a turn.
    pub waiting_messages: u64,
    /// What was dropped, refused or closed at the input, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// How recording goes, with `Disabled`.
    pub recording: Option<RecordingStatus>,
    /// How spooling goes, with destinations.
    pub spool: Option<SpoolStatus>,
    /// Its destinations, in the order of the configuration; with `Disabled` those that get copies.
    pub destinations: Vec<DestinationStatus>,
}

/// How a receiver's recording goes, since it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordingStatus {
    /// `recording`, or `failing` while the disk takes nothing.
    pub state: String,
    /// The directory of the dump files.
    pub directory: String,
    /// Number of the DPI device.
    pub dpi_id: i64,
    /// When the interval of now began, in seconds since 1970.
    pub interval_start_unix_seconds: u64,
    /// Received messages that were written.
    pub messages: u64,
    /// Bytes that were written, with the messages that the balancer composed.
    pub bytes: u64,
    /// Memory taken by what waits to be written, in bytes.
    pub waiting_bytes: u64,
    /// Files that are being written.
    pub open_files: u64,
    /// Files that have been given their final names.
    pub finished_files: u64,
    /// The last of them.
    pub last_file: Option<String>,
    /// What last went wrong.
    pub last_error: Option<String>,
}

/// How a receiver's spooling goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpoolStatus {
    /// `ready`, `failing` while the disk refuses something, or `memory` without a directory.
    pub state: String,
    /// The directory.
    pub directory: String,
    /// Messages on disk that no destination has had a turn for (RoundRobin).
    pub messages: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// For how long the oldest of them has waited, in seconds.
    pub oldest_seconds: u64,
    /// What is wrong at present.
    pub error: Option<String>,
}

/// State and counters of one destination of a receiver, over all exporter sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationStatus {
    /// Host and port as in the configuration, for example `10.19.3.21/1500`.
    pub address: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `idle` without connections, `up` or `down` when all are, `connecting`, or `partly` up.
    pub state: String,
    /// Its connections; one for each exporter session.
    pub connections: Connections,
    /// Messages handed to the kernel or sent by the kernel path, those that the balancer composed
    /// included.
    pub messages: u64,
    /// Messages sent by the kernel path; `messages` has them as well.
    pub kernel_messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages taken back from connections that broke before they were known to have arrived;
    /// `messages` has them, and once more when they are sent again, here or to another destination.
    pub resent: u64,
    /// `RoundRobin`: messages of its turns that were handed to others when it was down.
    pub handed_on: u64,
    /// Bytes that wait in memory.
    pub queued_bytes: u64,
    /// Bytes that were sent, and are kept until the collector's TCP acknowledges them.
    pub unacknowledged_bytes: u64,
    /// Bytes that were acknowledged and are kept: the collector has perhaps not read them.
    pub unread_bytes: u64,
    /// Messages on disk that have not arrived.
    pub spooled_messages: u64,
    /// Bytes that the spool takes on disk.
    pub spooled_bytes: u64,
    /// For how long the oldest message on disk has waited, in seconds; 0 without one.
    pub spooled_seconds: u64,
    /// What was dropped for this destination, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Why a connection last broke or could not be made.
    pub last_error: Option<String>,
}

/// Connections (UDP: sockets) of a destination by their state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connections {
    /// In use.
    pub up: u64,
    /// Being made for the first time.
    pub connecting: u64,
    /// Broken or refused, and tried again.
    pub down: u64,
}

impl InterfaceStatus {
    /// An interface that has not taken so many frames.
    pub fn of(name: String, refused: u64) -> InterfaceStatus {
        let egress = (Reason::Egress.as_str().to_owned(), refused);
        InterfaceStatus { name, dropped: [egress].into_iter().filter(|(_, n)| *n > 0).collect() }
    }
}

impl ReceiverStatus {
    /// The state of `receiver`, which listens on `address`.
    pub fn of(
        receiver: &Receiver,
        address: SocketAddr,
        stats: &ReceiverStats,
        path: &Result<PathStatus, String>,
    ) -> ReceiverStatus {
        let (name, reason) = match path {
            Ok(kernel) => ("kernel", &kernel.reason),
            Err(why) => ("userspace", why),
        };
        let nothing = PathStatus::default();
        let kernel = path.as_ref().unwrap_or(&nothing);
        let mut dropped = by_reason(&stats.drops);
        for (reason, count) in &kernel.dropped {
            *dropped.entry(reason.as_str().to_owned()).or_default() += count;
        }
        add(&mut dropped, &stats.spool(None).drops);
        let sent = |place| kernel.destinations.get(place).copied().unwrap_or_default();
        let destinations = stats.destinations();
        let destinations = destinations.iter().enumerate();
        ReceiverStatus {
            name: receiver.id.to_string(),
            launched_by: receiver.id.parent().as_ref().map(ReceiverId::to_string),
            mode: receiver.mode.to_string(),
            protocol: receiver.protocol.to_string(),
            listen: address.to_string(),
            thread: receiver.id.thread_name(),
            cpus: receiver.cpus.clone(),
            cpu_milliseconds: process::thread_cpu_milliseconds(stats.thread.load(Relaxed)),
            path: name.to_owned(),
            path_reason: reason.clone(),
            sessions: stats.sessions.get(),
            messages: stats.messages.get() + kernel.messages,
            bytes: stats.bytes.get() + kernel.bytes,
            kernel_messages: kernel.messages,
            passed_up: kernel.passed_up.iter().map(|(r, n)| (r.as_str().to_owned(), *n)).collect(),
            waiting_messages: stats.waiting.get(),
            dropped,
            recording: (receiver.mode == Mode::Disabled)
                .then(|| RecordingStatus::of(receiver, &stats.record)),
            spool: (!receiver.outputs().is_empty()).then(|| SpoolStatus::of(receiver, stats)),
            destinations: destinations
                .map(|(i, d)| {
                    let spool = stats.spool(Some(&d.destination.to_string()));
                    DestinationStatus::of(d, &spool, sent(i))
                })
                .collect(),
        }
    }
}

impl RecordingStatus {
    fn of(receiver: &Receiver, stats: &RecordStats) -> RecordingStatus {
        let failing = stats.failing.load(Relaxed) > 0;
        RecordingStatus {
            state: if failing { "failing" } else { "recording" }.to_owned(),
            directory: receiver.record.dir.display().to_string(),
            dpi_id: receiver.record.dpi_id,
            interval_start_unix_seconds: stats.interval_start.load(Relaxed),
            messages: stats.messages.get(),
            bytes: stats.bytes.get(),
            waiting_bytes: stats.waiting_bytes.load(Relaxed),
            open_files: stats.open.get(),
            finished_files: stats.files.get(),
            last_file: stats.last_file().map(|path| path.display().to_string()),
            last_error: stats.last_error(),
        }
    }
}

impl SpoolStatus {
    fn of(receiver: &Receiver, stats: &ReceiverStats) -> SpoolStatus {
        let (any, error) = (stats.spool(None), stats.spooling.error());
        let state = match (stats.spooling.available.load(Relaxed), &error) {
            (false, _) => "memory",
            (true, Some(_)) => "failing",
            (true, None) => "ready",
        };
        SpoolStatus {
            state: state.to_owned(),
            directory: spool::directory(&receiver.spool.dir, receiver.id).display().to_string(),
            messages: any.messages.get(),
            bytes: any.bytes.get(),
            oldest_seconds: age(&any),
            error,
        }
    }
}

impl DestinationStatus {
    /// `sent` are the kernel path's messages and bytes.
    fn of(stats: &DestinationStats, spool: &SpoolStats, sent: (u64, u64)) -> DestinationStatus {
        let (messages, bytes) = sent;
        let mut dropped = by_reason(&stats.drops);
        add(&mut dropped, &spool.drops);
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
            messages: stats.messages.get() + messages,
            bytes: stats.bytes.get() + bytes,
            kernel_messages: messages,
            resent: stats.resent.get(),
            handed_on: stats.handed_on.get(),
            queued_bytes: stats.queued_bytes.get(),
            unacknowledged_bytes: stats.unacknowledged_bytes.get(),
            unread_bytes: stats.unread_bytes.get(),
            spooled_messages: spool.messages.get(),
            spooled_bytes: spool.bytes.get(),
            spooled_seconds: age(spool),
            dropped,
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

/// For how long the oldest has waited, in seconds.
fn age(spool: &SpoolStats) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match spool.oldest.load(Relaxed) {
        0 => 0,
        oldest => now.saturating_sub(oldest),
    }
}

/// Adds counts of more drops.
fn add(dropped: &mut BTreeMap<String, u64>, drops: &Drops) {
    for (reason, count) in drops.occurred() {
        *dropped.entry(reason.as_str().to_owned()).or_default() += count;
    }
}

fn by_reason(drops: &Drops) -> BTreeMap<String, u64> {
    drops.occurred().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect()
}
