//! What a checked file says: receivers, destinations and their parameters.

use std::{fmt, net::IpAddr, net::SocketAddr, path::PathBuf, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Accel, Mode, Protocol, SpoolFull, Stream};

/// Everything one `.env` file says, checked and with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Receivers in the order stream, index.
    pub receivers: Vec<Arc<Receiver>>,
    /// Subreceivers that receivers with `BALANCER_AUTO` launch on this machine, in the order of
    /// those.
    pub launched: Vec<Arc<Receiver>>,
    /// The web interface.
    pub ui: Ui,
    /// `IPFIX_METRICS_LISTEN`.
    pub metrics_listen: Option<SocketAddr>,
    /// `IPFIX_CONTROL_GROUP`; `None` = `ipfix-balancer`, where there is such a group.
    pub control_group: Option<String>,
}

/// What a file says of the web interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ui {
    /// `IPFIX_UI_LISTEN`; `None` = off.
    pub listen: Option<SocketAddr>,
    /// `IPFIX_UI_DIR`.
    pub dir: PathBuf,
    /// `IPFIX_UI_CERT` and `IPFIX_UI_KEY`; `None` = self-made.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Config {
    /// The receivers to serve, with those that they launch.
    pub fn receivers(&self) -> impl Iterator<Item = &Arc<Receiver>> {
        self.receivers.iter().chain(&self.launched)
    }
}

/// What the kernel keeps of a thread's name.
const THREAD_NAME: usize = 15;

/// Name of a receiver: its stream and its index in the file. Shown as `FULLFLOW[0]`, the first
/// subreceiver that it launches as `FULLFLOW[0].0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiverId {
    /// The stream.
    pub stream: Stream,
    /// The number in the brackets.
    pub index: u32,
    /// For a launched subreceiver (`BALANCER_AUTO`), its place in the `BALANCER_SUB` of the receiver
    /// with this stream and index.
    pub subreceiver: Option<u32>,
}

impl ReceiverId {
    /// Name of the receiver's handler thread, as `ps` shows it: `ipfix-full-0`, 15 bytes at most;
    /// of a subreceiver `ipfix-full-0.1`, and of that the first 15.
    pub fn thread_name(self) -> String {
        let name = format!("ipfix-{}-{}", self.stream.info().thread, self.index);
        match self.subreceiver {
            None => name,
            Some(place) => format!("{name}.{place}").chars().take(THREAD_NAME).collect(),
        }
    }

    /// Name in the names of files and directories: `fullflow-0`, of a subreceiver `fullflow-0.1`.
    pub fn file_name(self) -> String {
        let stream = self.stream.info().name.to_ascii_lowercase();
        match self.subreceiver {
            None => format!("{stream}-{}", self.index),
            Some(place) => format!("{stream}-{}.{place}", self.index),
        }
    }

    /// The receiver that launches this one, if it is launched.
    pub fn parent(self) -> Option<ReceiverId> {
        self.subreceiver.map(|_| ReceiverId { subreceiver: None, ..self })
    }
}

impl fmt::Display for ReceiverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.stream, self.index)?;
        self.subreceiver.map_or(Ok(()), |place| write!(f, ".{place}"))
    }
}

/// Where messages are sent: a collector's address as written in the file.
///
/// Shown as `10.0.0.1/1500/tcp` or `[2001:db8::1]/1500/tcp`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// IP address or host name. A name is resolved when a connection is made.
    pub host: Host,
    /// Port, 1-65535.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl Destination {
    /// Without the protocol, as in `BALANCER_SUB`: `10.0.0.1/1500`.
    pub fn address(&self) -> String {
        format!("{}/{}", self.host, self.port)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.host, self.port, self.protocol)
    }
}

/// Host part of a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name to be resolved.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One indexed entry of a stream: a listening port and what becomes of the messages it gets.
///
/// A parameter that has no effect in the receiver's mode holds its default, whatever the file
/// says, so that two receivers which do the same compare equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Stream and index.
    pub id: ReceiverId,
    /// `PORT_TYPE`.
    pub protocol: Protocol,
    /// `PORT`.
    pub port: u16,
    /// `BIND`; `None` listens on all addresses, IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// `BALANCER`.
    pub mode: Mode,
    /// `BALANCER_SUB` with `BALANCER_SUB_PROTO`; empty when recording.
    pub destinations: Vec<Destination>,
    /// `BALANCER_AUTO`.
    pub auto: bool,
    /// `TASKSET`: CPU numbers, sorted; empty = not pinned.
    pub cpus: Vec<usize>,
    /// `ACCEL`.
    pub accel: Accel,
    /// `ALLOW_FROM`; empty = everyone.
    pub allow_from: Vec<IpNet>,
    /// `RECONNECT_SECONDS`.
    pub reconnect_seconds: u32,
    /// `PROBE_SECONDS`, 0 = never.
    pub probe_seconds: u32,
    /// `TEMPLATE_SECONDS`.
    pub template_seconds: u32,
    /// `TEMPLATE_MESSAGES`.
    pub template_messages: u32,
    /// `SPOOL_*`.
    pub spool: Spool,
    /// Everything that applies to recording, here or (`BALANCER_AUTO`) by launched subreceivers.
    pub record: Record,
    /// What exporters can make it take.
    pub limits: Limits,
}

impl Receiver {
    /// Everything that messages are sent to: the destinations, or when recording the copies.
    pub fn outputs(&self) -> &[Destination] {
        match self.mode {
            Mode::All | Mode::RoundRobin => &self.destinations,
            Mode::Disabled => &self.record.copies,
        }
    }

    /// Whether messages are recorded: by the receiver, or by the subreceivers that it launches.
    pub fn records(&self) -> bool {
        self.mode == Mode::Disabled || self.auto
    }
}

/// `SPOOL_*`: where messages wait for a destination that is away.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// `SPOOL_DIR`.
    pub dir: PathBuf,
    /// `SPOOL_MAX_MB`.
    pub max_mb: u64,
    /// `SPOOL_MAX_HOURS`, 0 = no limit.
    pub max_hours: u32,
    /// `SPOOL_FULL`.
    pub full: SpoolFull,
}

/// What exporters can make a receiver take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `MAX_SESSIONS`.
    pub sessions: usize,
    /// `TEMPLATE_MB`: for templates, options records and observation domains of all sessions.
    pub template_mb: usize,
    /// `IDLE_SECONDS`: a UDP session without a datagram for so long is over.
    pub idle_seconds: u32,
    /// `MESSAGE_SECONDS`: how long a TCP message may take from its first byte to its last.
    pub message_seconds: u32,
}

impl Limits {
    /// `TEMPLATE_MB` in bytes.
    pub fn template_bytes(&self) -> usize {
        self.template_mb.saturating_mul(1 << 20)
    }
}

/// Parameters of recording mode.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// `ROTATE_MINUTES`, 0 = not by time.
    pub rotate_minutes: u32,
    /// `ROTATE_DELAY_SECONDS`; when above 0 the minutes are ignored.
    pub rotate_delay_seconds: u32,
    /// `FW_MAX_QUEUE_SIZE`: rotate after so many data records; 0 = off.
    pub max_records: u64,
    /// `DUMP_INSERT_PROCESSES`, also spelled `EXPORT`.
    pub copies: Vec<Destination>,
    /// `DPI_ID`, -1 replaced by the receiver's position in its list.
    pub dpi_id: i64,
    /// `DUMP_DIR`.
    pub dir: PathBuf,
    /// `DUMP_KEEP_DAYS`, 0 = for ever.
    pub keep_days: u32,
    /// `DUMP_KEEP_MB`, 0 = no limit.
    pub keep_mb: u64,
    /// `DUMP_ZSTD`.
    pub zstd: bool,
    /// `DUMP_EMPTY`.
    pub empty: bool,
    /// `ROTATE_HUP_PIDFILE`.
    pub hup_pidfile: Option<PathBuf>,
    /// `ROTATE_COMMAND`.
    pub command: Option<String>,
}

impl Record {
    /// Seconds between two rotations by time; `None` = not by time.
    pub fn rotate_seconds(&self) -> Option<u32> {
        match (self.rotate_delay_seconds, self.rotate_minutes) {
            (0, 0) => None,
            (0, minutes) => Some(minutes.saturating_mul(60)),
            (seconds, _) => Some(seconds),
        }
    }
}
