//! Notices a handler that makes no progress. The service manager hears from the daemon only while all
//! handlers do (`WATCHDOG=1`, sd_watchdog_enabled(3)); else it ends it, and starts another one.

use std::{
    collections::BTreeSet,
    env,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, warn};

use crate::{config::ReceiverId, notify::Notifier, stats::Counter};

/// How long the service manager waits to hear from the daemon, and what holds where there is none.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often it hears from it in that time.
const LOOKS: u32 = 4;
/// How often a handler shows that it makes progress.
const BEAT: Duration = Duration::from_millis(250);

/// Has all handlers in view.
#[derive(Clone, Debug, Default)]
pub struct Watchdog(Arc<Mutex<Vec<Watched>>>);

/// How a handler shows that it makes progress. When this is dropped the handler is not watched any more.
#[derive(Debug)]
pub struct Pulse(Arc<Counter>);

#[derive(Debug)]
struct Watched {
    receiver: ReceiverId,
    pulse: Weak<Counter>,
    beats: u64,
    since: Instant,
}

impl Watchdog {
    /// A handler to watch, from now on.
    pub fn watch(&self, receiver: ReceiverId) -> Pulse {
        let pulse = Arc::new(Counter::default());
        let watched =
            Watched { receiver, pulse: Arc::downgrade(&pulse), beats: 0, since: Instant::now() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        Pulse(pulse)
    }

    /// Tells the service manager, as often as it wants it, that all handlers make progress, while that
    /// is so. What it is told elsewhere does not count: another thread may be alive while one is stuck.
    pub async fn run(self, notifier: Notifier) {
        let patience = asked_for().unwrap_or(PATIENCE);
        let mut tick = interval(patience / LOOKS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stuck_before = BTreeSet::new();
        loop {
            tick.tick().await;
            let stuck = self.stuck(Instant::now(), patience / 2);
            for receiver in stuck.difference(&stuck_before) {
                error!(%receiver, "the handler is stuck: systemd restarts the daemon; without systemd, restart it");
            }
            for receiver in stuck_before.difference(&stuck) {
                warn!(%receiver, "the handler is not stuck any more");
            }
            if stuck.is_empty() {
                notifier.alive();
            }
            stuck_before = stuck;
        }
    }

    /// Receivers whose handlers have made no progress for so long.
    fn stuck(&self, now: Instant, patience: Duration) -> BTreeSet<ReceiverId> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|watched| watched.pulse.strong_count() > 0);
        for watched in &mut *all {
            let beats = watched.pulse.upgrade().map_or(watched.beats, |pulse| pulse.get());
            if beats != watched.beats {
                (watched.beats, watched.since) = (beats, now);
            }
        }
        let stuck = all.iter().filter(|watched| now.duration_since(watched.since) > patience);
        stuck.map(|watched| watched.receiver).collect()
    }
}

impl Pulse {
    /// A task of the handler: it has its turn when all others have theirs.
    pub async fn keep(self) {
        loop {
            self.0.add(1);
            sleep(BEAT).await;
        }
    }
}

/// How long the service manager waits, if it does.
fn asked_for() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|time| *time > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stream;

    const LIMIT: Duration = Duration::from_secs(5);

    fn receiver(index: u32) -> ReceiverId {
        ReceiverId { stream: Stream::Fullflow, index, subreceiver: None }
    }

    #[test]
    fn only_a_handler_without_a_pulse_is_stuck() {
        let watchdog = Watchdog::default();
        let (alive, _stuck) = (watchdog.watch(receiver(0)), watchdog.watch(receiver(1)));
        let begin = Instant::now();
        assert!(watchdog.stuck(begin, LIMIT).is_empty());
        alive.0.add(1);
        assert!(watchdog.stuck(begin + LIMIT / 2, LIMIT).is_empty());
        alive.0.add(1);
        let late = watchdog.stuck(begin + LIMIT * 2, LIMIT);
        assert_eq!(late.into_iter().collect::<Vec<_>>(), [receiver(1)]);
    }

    #[test]
    fn a_handler_that_has_ended_is_not_waited_for() {
        let watchdog = Watchdog::default();
        drop(watchdog.watch(receiver(0)));
        assert!(watchdog.stuck(Instant::now() + LIMIT * 2, LIMIT).is_empty());
    }
}
