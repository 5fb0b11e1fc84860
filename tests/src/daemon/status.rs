//! What `status --json` says: the only place that knows its form.

use anyhow::{Context, Result};
use serde_json::Value;

/// The answer of a running daemon.
#[derive(Clone, Debug)]
pub struct Status(Value);

/// One receiver of it.
#[derive(Clone, Debug)]
pub struct ReceiverStatus(Value);

/// One destination of a receiver.
#[derive(Clone, Debug)]
pub struct DestinationStatus(Value);

impl Status {
    pub(super) fn parse(json: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(json).context("status is no JSON")?))
    }

    /// The receiver with this name, for example `FULLFLOW[0]`.
    pub fn receiver(&self, name: &str) -> Result<ReceiverStatus> {
        let receivers = self.0.get("receivers").and_then(Value::as_array);
        let named = |receiver: &&Value| receiver.get("name").is_some_and(|found| found == name);
        let found = receivers.and_then(|receivers| receivers.iter().find(named));
        Ok(ReceiverStatus(found.with_context(|| format!("no {name} in status"))?.clone()))
    }

    /// What was dropped at an interface for this reason.
    pub fn dropped_at(&self, interface: &str, reason: &str) -> Result<u64> {
        let interfaces = self.0.get("interfaces").and_then(Value::as_array);
        let named = |it: &&Value| it.get("name").is_some_and(|found| found == interface);
        let found = interfaces.and_then(|interfaces| interfaces.iter().find(named));
        let dropped = found.and_then(|interface| interface.get("dropped"));
        let dropped = dropped.with_context(|| format!("no {interface} in status"))?;
        Ok(dropped.get(reason).and_then(Value::as_u64).unwrap_or(0))
    }
}

impl ReceiverStatus {
    /// Exporter sessions now.
    pub fn sessions(&self) -> u64 {
        number(&self.0, "sessions")
    }

    /// Messages received.
    pub fn messages(&self) -> u64 {
        number(&self.0, "messages")
    }

    /// Messages that never left the kernel.
    pub fn kernel_messages(&self) -> u64 {
        number(&self.0, "kernel_messages")
    }

    /// `kernel` or `userspace`.
    pub fn path(&self) -> String {
        text(&self.0, "path")
    }

    /// Why it is this path, and where programs are attached.
    pub fn path_reason(&self) -> String {
        text(&self.0, "path_reason")
    }

    /// Datagrams that the kernel path has sent up for `reason`.
    pub fn passed_up(&self, reason: &str) -> u64 {
        self.0.get("passed_up").map_or(0, |counts| number(counts, reason))
    }

    /// Messages that wait because no destination can take a turn.
    pub fn waiting(&self) -> u64 {
        number(&self.0, "waiting_messages")
    }

    /// What was dropped, refused or closed for `reason`.
    pub fn dropped(&self, reason: &str) -> u64 {
        dropped(&self.0, reason)
    }

    /// What was dropped for any reason.
    pub fn dropped_in_all(&self) -> u64 {
        sum(&self.0, "dropped")
    }

    /// The receiver that has launched this one; empty when nobody has.
    pub fn launched_by(&self) -> String {
        text(&self.0, "launched_by")
    }

    /// A counter of its recording: `finished_files`, for example.
    pub fn recorded(&self, counter: &str) -> u64 {
        self.0.get("recording").map_or(0, |recording| number(recording, counter))
    }

    /// A text of its recording: `state`, for example.
    pub fn recording(&self, field: &str) -> String {
        self.0.get("recording").map_or(String::new(), |recording| text(recording, field))
    }

    /// A counter of its spool: `messages` without a turn, for example.
    pub fn spooled(&self, counter: &str) -> u64 {
        self.0.get("spool").map_or(0, |spool| number(spool, counter))
    }

    /// `ready`, `failing` or `memory`.
    pub fn spool_state(&self) -> String {
        self.0.get("spool").map_or(String::new(), |spool| text(spool, "state"))
    }

    /// The destinations in the configuration's order.
    pub fn destinations(&self) -> Vec<DestinationStatus> {
        let list = self.0.get("destinations").and_then(Value::as_array);
        list.into_iter().flatten().cloned().map(DestinationStatus).collect()
    }

    /// True if every destination is in this state.
    pub fn all_destinations_are(&self, state: &str) -> bool {
        self.destinations().iter().all(|destination| destination.state() == state)
    }
}

impl DestinationStatus {
    /// `idle`, `connecting`, `up`, `partly` or `down`.
    pub fn state(&self) -> String {
        text(&self.0, "state")
    }

    /// Messages sent.
    pub fn messages(&self) -> u64 {
        number(&self.0, "messages")
    }

    /// Messages that the kernel path has sent.
    pub fn kernel_messages(&self) -> u64 {
        number(&self.0, "kernel_messages")
    }

    /// Octets that wait in memory to be sent.
    pub fn queued(&self) -> u64 {
        number(&self.0, "queued_bytes")
    }

    /// Messages taken back from connections that broke.
    pub fn resent(&self) -> u64 {
        number(&self.0, "resent")
    }

    /// Messages of its turns that were handed to others.
    pub fn handed_on(&self) -> u64 {
        number(&self.0, "handed_on")
    }

    /// Messages on disk that have not arrived.
    pub fn spooled(&self) -> u64 {
        number(&self.0, "spooled_messages")
    }

    /// Octets of the spool on disk.
    pub fn spooled_octets(&self) -> u64 {
        number(&self.0, "spooled_bytes")
    }

    /// What was dropped for `reason`.
    pub fn dropped(&self, reason: &str) -> u64 {
        dropped(&self.0, reason)
    }

    /// What was dropped for any reason.
    pub fn dropped_in_all(&self) -> u64 {
        sum(&self.0, "dropped")
    }
}

fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or(0)
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn dropped(value: &Value, reason: &str) -> u64 {
    value.get("dropped").map_or(0, |counts| number(counts, reason))
}

fn sum(value: &Value, field: &str) -> u64 {
    let counts = value.get(field).and_then(Value::as_object);
    counts.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}
