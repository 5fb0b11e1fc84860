//! The table of parameters: the only place where keys, limits and defaults stand.
//!
//! Reading, faults, suggestions, the report of `check` and docs/configuration.md follow it.

mod forwarding;
mod global;
mod kind;
mod limits;
mod listening;
mod recording;

use std::{fmt, path::PathBuf};

use super::{
    Accel, Destination, Limits, Mode, Protocol, Receiver, ReceiverId, Record, Spool, SpoolFull,
    StreamInfo,
};

pub(super) use global::{GLOBALS, Globals, METRICS_LISTEN, UI_CERT, UI_KEY, UI_LISTEN};
pub(super) use kind::{Bad, Kind, cpu_list, cpu_ranges, list};

/// Highest index. With it thread names fit into the 15 bytes that the kernel keeps.
pub const MAX_INDEX: u32 = 999;

/// Most destinations of one receiver.
pub const MAX_DESTINATIONS: usize = 64;

/// Most copies of what is recorded: the dump file is one more target.
pub const MAX_COPIES: usize = MAX_DESTINATIONS - 1;

// Names that checks across parameters have to ask for.
pub(super) const ACCEL: &str = "ACCEL";
pub(super) const BALANCER: &str = "BALANCER";
pub(super) const BALANCER_AUTO: &str = "BALANCER_AUTO";
pub(super) const BALANCER_SUB: &str = "BALANCER_SUB";
pub(super) const BALANCER_SUB_PROTO: &str = "BALANCER_SUB_PROTO";
pub(super) const BIND: &str = "BIND";
pub(super) const DUMP_INSERT_PROCESSES: &str = "DUMP_INSERT_PROCESSES";
pub(super) const PORT: &str = "PORT";
pub(super) const PORT_TYPE: &str = "PORT_TYPE";
pub(super) const ROTATE_DELAY_SECONDS: &str = "ROTATE_DELAY_SECONDS";
pub(super) const ROTATE_MINUTES: &str = "ROTATE_MINUTES";
pub(super) const TASKSET: &str = "TASKSET";

/// One parameter: a row of the table. `T` is what its value is written into.
pub(super) struct Param<T: 'static = Draft> {
    /// What follows `IPFIX_<STREAM>_`.
    pub name: &'static str,
    /// Other spellings of the name.
    pub aliases: &'static [&'static str],
    /// What a value looks like.
    pub kind: Kind,
    /// What holds when the file says nothing.
    pub preset: Preset,
    /// Where it has an effect.
    pub applies: Applies,
    /// One line for the documentation.
    pub about: &'static str,
    /// A value for the documentation.
    pub example: &'static str,
    /// Reads a value into the draft.
    pub read: fn(&Kind, &str, &mut T) -> Result<(), Vec<Bad>>,
    /// The draft's value as the file would write it; empty when there is none.
    pub show: fn(&T) -> String,
}

/// Default of a parameter.
pub(super) enum Preset {
    /// This value.
    Value(&'static str),
    /// No value; here is what that means.
    Nothing(&'static str),
    /// It depends on the stream; `None` = the file must give a value.
    Stream(fn(StreamInfo) -> Option<String>),
}

/// Where a parameter has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applies {
    /// In every mode.
    Always,
    /// All, RoundRobin.
    Balance,
    /// Wherever messages are sent to a destination.
    Output,
    /// Wherever messages are sent to a destination over UDP.
    OutputUdp,
    /// Disabled, or launched subreceivers.
    Record,
    /// UDP destinations of a TCP receiver.
    Refresh,
    /// Receivers of TCP exporters.
    Tcp,
    /// Receivers of UDP exporters.
    Udp,
}

impl Applies {
    /// Why the parameter has no effect on this receiver, if it has none.
    pub fn why_not(self, receiver: &Receiver) -> Option<&'static str> {
        let is_udp = |d: &Destination| d.protocol == Protocol::Udp;
        match self {
            Self::Balance if receiver.mode == Mode::Disabled => {
                Some("no effect with BALANCER=Disabled")
            }
            Self::Output if receiver.outputs().is_empty() => Some("no effect without destinations"),
            Self::OutputUdp if !receiver.outputs().iter().any(is_udp) => {
                Some("no effect without UDP destinations")
            }
            Self::Record if !receiver.records() => {
                Some("no effect: only a recording receiver (BALANCER=Disabled) uses it")
            }
            Self::Refresh
                if receiver.protocol == Protocol::Udp || !receiver.outputs().iter().any(is_udp) =>
            {
                Some("no effect: only UDP destinations of a TCP receiver use it")
            }
            Self::Tcp if receiver.protocol != Protocol::Tcp => {
                Some("no effect: only a TCP receiver uses it")
            }
            Self::Udp if receiver.protocol != Protocol::Udp => {
                Some("no effect: only a UDP receiver uses it")
            }
            Self::Always
            | Self::Balance
            | Self::Output
            | Self::OutputUdp
            | Self::Record
            | Self::Refresh
            | Self::Tcp
            | Self::Udp => None,
        }
    }
}

impl fmt::Display for Applies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "all",
            Self::Balance => "All, RoundRobin",
            Self::Output => "all, with destinations",
            Self::OutputUdp => "all, with UDP destinations",
            Self::Record => "Disabled; launched subreceivers",
            Self::Refresh => "all, UDP destinations of a TCP receiver",
            Self::Tcp => "all, TCP receivers",
            Self::Udp => "all, UDP receivers",
        })
    }
}

/// The parameters of a receiver, with the headings they have in the documentation.
pub(super) const GROUPS: [(&str, &[Param]); 4] = [
    ("Listening", listening::PARAMS),
    ("Forwarding", forwarding::PARAMS),
    ("Recording", recording::PARAMS),
    ("Limits", limits::PARAMS),
];

/// The parameters of a receiver.
pub(super) fn all() -> impl Iterator<Item = &'static Param> {
    GROUPS.into_iter().flat_map(|(_, params)| params)
}

impl<T> Param<T> {
    /// Every spelling of the name, the documented one first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

impl Param {
    /// The key of this parameter for one receiver, as the documentation spells it.
    pub fn key(&self, id: ReceiverId) -> String {
        receiver_key(id, self.name)
    }

    /// The default's text for a stream; `None` = a value must be given.
    pub fn preset(&self, stream: StreamInfo) -> Option<String> {
        match self.preset {
            Preset::Value(text) => Some(text.to_owned()),
            Preset::Nothing(_) => Some(String::new()),
            Preset::Stream(text) => text(stream),
        }
    }

    /// Puts the default, if there is one, into a draft.
    pub fn reset(&self, draft: &mut Draft) {
        if let Some(text) = self.preset(draft.receiver.id.stream.info()) {
            // Every default can be read: a unit test sees to it.
            (self.read)(&self.kind, &text, draft).unwrap_or_default();
        }
    }

    /// The draft's value for people.
    pub fn describe(&self, draft: &Draft) -> String {
        describe((self.show)(draft), &self.preset)
    }
}

/// A value for people: an empty one is replaced by what it means.
pub(super) fn describe(value: String, preset: &Preset) -> String {
    match preset {
        Preset::Nothing(meaning) if value.is_empty() => (*meaning).to_owned(),
        Preset::Nothing(_) | Preset::Stream(_) | Preset::Value(_) => value,
    }
}

/// `IPFIX_<STREAM>_<name>[<index>]`.
pub(super) fn receiver_key(id: ReceiverId, name: &str) -> String {
    format!("{}{}_{name}[{}]", super::text::PREFIX, id.stream, id.index)
}

/// A receiver while its parameters are being read.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub receiver: Receiver,
    /// `BALANCER_SUB_PROTO`. The destinations get it last, since the file may give it later.
    pub sub_protocol: Protocol,
    /// What reading the last value made worth saying.
    pub remark: Option<&'static str>,
}

impl Draft {
    /// A receiver in plain defaults. The blanks are all overwritten by the table's defaults.
    pub fn new(id: ReceiverId) -> Self {
        let mut draft = Self::blank(id);
        for param in all() {
            param.reset(&mut draft);
        }
        draft
    }

    fn blank(id: ReceiverId) -> Self {
        let spool =
            Spool { dir: PathBuf::new(), max_mb: 0, max_hours: 0, full: SpoolFull::DropOldest };
        let record = Record {
            rotate_minutes: 0,
            rotate_delay_seconds: 0,
            max_records: 0,
            copies: Vec::new(),
            dpi_id: 0,
            dir: PathBuf::new(),
            keep_days: 0,
            keep_mb: 0,
            zstd: false,
            empty: false,
            hup_pidfile: None,
            command: None,
        };
        let receiver = Receiver {
            id,
            protocol: Protocol::Tcp,
            port: 0,
            bind: None,
            mode: Mode::Disabled,
            destinations: Vec::new(),
            auto: false,
            cpus: Vec::new(),
            accel: Accel::Auto,
            allow_from: Vec::new(),
            reconnect_seconds: 0,
            probe_seconds: 0,
            template_seconds: 0,
            template_messages: 0,
            spool,
            record,
            limits: Limits { sessions: 0, template_mb: 0, idle_seconds: 0, message_seconds: 0 },
        };
        Self { receiver, sub_protocol: Protocol::Tcp, remark: None }
    }
}
