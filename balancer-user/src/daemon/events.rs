//! What happens in the kernel, in the log: at debug level, once a second.
//!
//! Programs count by reason what they leave to userspace, and nothing is added to them for the log.

use std::collections::BTreeMap;

use common::reason::PassUp;
use tracing::debug;

use crate::{config::ReceiverId, kernel::PathStatus};

/// What was last known of each receiver, in the order of [`PassUp::ALL`].
#[derive(Default)]
pub struct KernelEvents(BTreeMap<ReceiverId, Vec<u64>>);

impl KernelEvents {
    /// Whether anybody wants to hear of them: looking takes system calls.
    pub fn wanted() -> bool {
        tracing::enabled!(tracing::Level::DEBUG)
    }

    /// Logs what has happened since the last look.
    pub fn tell(&mut self, receiver: ReceiverId, status: &PathStatus) {
        let now = counts(status);
        let Some(before) = self.0.insert(receiver, now.clone()) else { return };
        for ((reason, before), now) in PassUp::ALL.into_iter().zip(before).zip(now) {
            let new = now.saturating_sub(before);
            if new > 0 {
                debug!(
                    %receiver, reason = reason.as_str(), new,
                    "datagrams were left to userspace: {}", reason.meaning()
                );
            }
        }
    }
}

fn counts(status: &PathStatus) -> Vec<u64> {
    let count = |reason: PassUp| {
        let found = status.passed_up.iter().find(|(counted, _)| *counted == reason);
        found.map_or(0, |(_, count)| *count)
    };
    PassUp::ALL.map(count).to_vec()
}
