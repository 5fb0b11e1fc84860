//! The `.env` file: from text to checked [`Receiver`]s, or to the list of all its faults.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use ipnet::IpNet;

/// Everything one `.env` file says, checked and with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Receivers in the order stream, index.
    pub receivers: Vec<Arc<Receiver>>,
    /// `IPFIX_UI_LISTEN`.
    pub ui_listen: Option<std::net::SocketAddr>,
    /// `IPFIX_METRICS_LISTEN`.
    pub metrics_listen: Option<std::net::SocketAddr>,
}

/// A kind of flow records, each with receivers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Netflow/Fullflow.
    Fullflow,
    /// Clickstream (HTTP and TLS sessions).
    Clickstream,
    /// DNS flow.
    Dnsflow,
    /// NAT flow.
    Natflow,
    /// GTP flow.
    Gtpflow,
}

/// Name of a receiver: its stream and its index in the file. Shown as `FULLFLOW[0]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiverId {
    /// The stream.
    pub stream: Stream,
    /// The number in the brackets.
    pub index: u32,
}

/// Transport protocol of an input or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// `BALANCER`: what happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `All`: every destination gets it.
    All,
    /// `Disabled`: it is recorded.
    Disabled,
    /// `RoundRobin`: the next available destination gets it.
    RoundRobin,
}

/// Where messages are sent: a collector's address as written in the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// IP address or host name. A name is resolved when a connection is made.
    pub host: Host,
    /// Port, 1-65535.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Host part of a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name to be resolved.
    Name(String),
}

/// `ACCEL`: whether the kernel path is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accel {
    /// Where it can be.
    Auto,
    /// Never.
    Off,
    /// Refuse to start without.
    Require,
}

/// `SPOOL_FULL`: what happens when no more messages can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpoolFull {
    /// The oldest are dropped and counted.
    DropOldest,
    /// The TCP exporter is not read any more.
    Hold,
}

/// One indexed entry of a stream: a listening port and what becomes of the messages it gets.
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
    /// `TEMPLATE_SECONDS`.
    pub template_seconds: u32,
    /// `TEMPLATE_MESSAGES`.
    pub template_messages: u32,
    /// `SPOOL_*`.
    pub spool: Spool,
    /// Everything that applies to recording.
    pub record: Record,
}

/// `SPOOL_*`: where messages wait for a destination that is away.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// `SPOOL_DIR`.
    pub dir: PathBuf,
    /// `SPOOL_MAX_MB`.
    pub max_mb: u64,
    /// `SPOOL_FULL`.
    pub full: SpoolFull,
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
    /// `ROTATE_HUP_PIDFILE`.
    pub hup_pidfile: Option<PathBuf>,
    /// `ROTATE_COMMAND`.
    pub command: Option<String>,
}
