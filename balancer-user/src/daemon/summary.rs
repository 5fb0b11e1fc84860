//! What the daemon does at present, in one line for the service manager.

use std::time::Instant;

use super::status::{DestinationStatus, ReceiverStatus};

/// Makes each line from what was counted since the one before.
#[derive(Default)]
pub struct Summary(Option<Counted>);

struct Counted {
    at: Instant,
    received: u64,
    sent: u64,
    dropped: u64,
}

impl Summary {
    /// The line of now: `2 receivers, 5 sessions: 1200 messages/s in, 2400/s out, 0/s dropped; 1 of 4
    /// destinations down`.
    pub fn line(&mut self, now: Instant, receivers: &[ReceiverStatus]) -> String {
        let counted = Counted::of(now, receivers);
        let [received, sent, dropped] =
            self.0.as_ref().map_or([0; 3], |before| counted.rates_since(before));
        self.0 = Some(counted);
        let sessions: u64 = receivers.iter().map(|receiver| receiver.sessions).sum();
        let is_down = |destination: &&DestinationStatus| destination.connections.down > 0;
        let down = match destinations(receivers).filter(is_down).count() {
            0 => String::new(),
            down => format!("; {down} of {} destinations down", destinations(receivers).count()),
        };
        format!(
            "{} receivers, {sessions} sessions: {received} messages/s in, {sent}/s out, \
             {dropped}/s dropped{down}",
            receivers.len()
        )
    }
}

impl Counted {
    fn of(at: Instant, receivers: &[ReceiverStatus]) -> Counted {
        let at_inputs = receivers.iter().flat_map(|receiver| receiver.dropped.values());
        let for_destinations = destinations(receivers).flat_map(|it| it.dropped.values());
        Counted {
            at,
            received: receivers.iter().map(|receiver| receiver.messages).sum(),
            sent: destinations(receivers).map(|destination| destination.messages).sum(),
            dropped: at_inputs.chain(for_destinations).sum(),
        }
    }

    /// A second. A counter that begins anew has not moved.
    fn rates_since(&self, before: &Counted) -> [u64; 3] {
        let milliseconds = self.at.duration_since(before.at).as_millis().max(1);
        let rate = |before: u64, now: u64| {
            let a_second = u128::from(now.saturating_sub(before)) * 1000 / milliseconds;
            u64::try_from(a_second).unwrap_or(u64::MAX)
        };
        [
            rate(before.received, self.received),
            rate(before.sent, self.sent),
            rate(before.dropped, self.dropped),
        ]
    }
}

fn destinations(receivers: &[ReceiverStatus]) -> impl Iterator<Item = &DestinationStatus> {
    receivers.iter().flat_map(|receiver| &receiver.destinations)
}
