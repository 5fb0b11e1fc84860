//! Waiting for something to become true, with a deadline instead of a fixed sleep.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a step of a test may take on a busy machine before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

const STEP: Duration = Duration::from_millis(5);
/// For checks that look at everything that has arrived.
const CHECK_STEP: Duration = Duration::from_millis(25);

/// Polls `probe` until it gives a value, or fails with `what` once `limit` has passed.
pub fn until<T>(limit: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> Result<T> {
    every(STEP, limit, what, probe)
}

fn every<T>(
    step: Duration,
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(step);
    }
}

/// [`until`] for a condition, with [`PATIENCE`].
pub fn wait(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    until(PATIENCE, what, || condition().then_some(()))
}

/// Polls a check until it holds; once [`PATIENCE`] has passed, its last error is the result.
pub fn until_ok(mut check: impl FnMut() -> Result<()>) -> Result<()> {
    let mut last = None;
    let held = every(CHECK_STEP, PATIENCE, "the check holds", || match check() {
        Ok(()) => Some(()),
        Err(error) => {
            last = Some(error);
            None
        }
    });
    held.map_err(|late| last.unwrap_or(late))
}

/// Waits until `value` has not changed for `quiet`: for "nothing more arrives", which no
/// condition can express. Fails once [`PATIENCE`] has passed without such a silence.
pub fn settled<T: PartialEq>(quiet: Duration, mut value: impl FnMut() -> T) -> Result<T> {
    let mut last = value();
    let mut since = Instant::now();
    until(PATIENCE, "the value never settled", || {
        let now = value();
        if now != last {
            last = now;
            since = Instant::now();
        }
        (since.elapsed() >= quiet).then_some(())
    })?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_the_wait() {
        let mut calls = 0;
        let got = until(PATIENCE, "third call", || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(got.unwrap(), 3);
    }

    #[test]
    fn the_deadline_fails_with_the_reason() {
        let got = until(Duration::ZERO, "pigs fly", || None::<()>);
        assert!(got.unwrap_err().to_string().contains("pigs fly"));
    }

    #[test]
    fn settled_gives_the_last_value() {
        let mut left = 3;
        let last = settled(Duration::from_millis(20), || {
            left -= i32::from(left > 0);
            left
        });
        assert_eq!(last.unwrap(), 0);
    }
}
