//! Log lines that the network can trigger: at most one a second, and then with the number of
//! those that were left out.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const PERIOD: Duration = Duration::from_secs(1);

/// Lets one event a second pass.
#[derive(Debug, Default)]
pub struct RateLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl RateLimit {
    /// `Some(n)` if the event may be logged, after `n` that were left out since the last one.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.duration_since(last) < PERIOD) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_the_rest_are_counted() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        assert_eq!(limit.pass_at(start), Some(0));
        assert_eq!(limit.pass_at(start), None);
        assert_eq!(limit.pass_at(start + PERIOD / 2), None);
        assert_eq!(limit.pass_at(start + PERIOD), Some(2));
    }
}
