//! From two states to what happens a second.

use super::Sample;
use crate::daemon::{DestinationStatus, ReceiverStatus};

/// What a receiver does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReceiverRates {
    /// Received, a second.
    pub messages: f64,
    pub bytes: f64,
    /// Share of them that never left the kernel, 0 to 1.
    pub kernel: f64,
    /// Dropped at the input, a second.
    pub dropped: f64,
    /// Of a whole CPU, 1 = all of it.
    pub cpu: f64,
}

/// What a destination gets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DestinationRates {
    /// Sent, a second.
    pub messages: f64,
    pub bytes: f64,
    /// Dropped for it, a second.
    pub dropped: f64,
}

/// Compares two states of the daemon.
pub struct Rates<'a> {
    before: &'a Sample,
    seconds: f64,
}

impl<'a> Rates<'a> {
    pub fn between(before: &'a Sample, now: &Sample) -> Rates<'a> {
        Rates { before, seconds: now.at.duration_since(before.at).as_secs_f64() }
    }

    pub fn receiver(&self, now: &ReceiverStatus) -> ReceiverRates {
        let Some(before) = self.before_of(&now.name) else { return ReceiverRates::default() };
        let messages = self.rate(before.messages, now.messages);
        let kernel = self.rate(before.kernel_messages, now.kernel_messages);
        ReceiverRates {
            messages,
            bytes: self.rate(before.bytes, now.bytes),
            kernel: if messages > 0.0 { kernel / messages } else { 0.0 },
            dropped: self.rate(before.dropped.values().sum(), now.dropped.values().sum()),
            cpu: self.rate(before.cpu_milliseconds, now.cpu_milliseconds) / 1000.0,
        }
    }

    pub fn destination(&self, receiver: &str, now: &DestinationStatus) -> DestinationRates {
        let same = |d: &&DestinationStatus| d.address == now.address && d.protocol == now.protocol;
        let before = self.before_of(receiver).and_then(|r| r.destinations.iter().find(same));
        let Some(before) = before else { return DestinationRates::default() };
        DestinationRates {
            messages: self.rate(before.messages, now.messages),
            bytes: self.rate(before.bytes, now.bytes),
            dropped: self.rate(before.dropped.values().sum(), now.dropped.values().sum()),
        }
    }

    fn before_of(&self, receiver: &str) -> Option<&ReceiverStatus> {
        self.before.status.receivers.iter().find(|before| before.name == receiver)
    }

    /// A counter that begins anew has not moved.
    fn rate(&self, before: u64, now: u64) -> f64 {
        match self.seconds > 0.0 {
            true => now.saturating_sub(before) as f64 / self.seconds,
            false => 0.0,
        }
    }
}
