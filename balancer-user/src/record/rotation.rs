//! When an interval ends: by the clock, by the number of data records, because the receiver that
//! leads this one has ended its own, or because somebody asks for it. Pure: it is told the time.
//!
//! Times are durations since 1970 UTC, and intervals are aligned to multiples of their length from
//! there: to minutes and hours of the clock, and to midnight UTC. Time zones and daylight saving
//! have no part in it.

use std::time::Duration;

use crate::config::Record;

/// How far the clock may be behind an interval's start without that interval being over: clocks
/// are set back by a little all the time.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Why an interval ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its time is over, or was never to come: the clock was set.
    Time,
    /// It has as many records as it may.
    Records,
    /// Somebody wants it so.
    Asked,
    /// The receiver that leads this one has ended its own.
    Led,
}

/// The interval of now, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    period: Option<Duration>,
    max_records: u64,
    start: Duration,
    records: u64,
    /// The clock does not end an interval before: a leader ends them.
    led_until: Duration,
}

impl Rotation {
    /// The first interval: from now to the next multiple of its length.
    pub fn new(settings: &Record, now: Duration) -> Rotation {
        let period = settings.rotate_seconds().map(|seconds| Duration::from_secs(seconds.into()));
        Rotation {
            period,
            max_records: settings.max_records,
            start: now,
            records: 0,
            led_until: Duration::ZERO,
        }
    }

    /// Goes on with other settings; the interval stays.
    pub fn reconfigure(&mut self, settings: &Record) {
        let Rotation { period, max_records, .. } = Rotation::new(settings, self.start);
        (self.period, self.max_records) = (period, max_records);
    }

    /// When the interval began.
    pub fn start(&self) -> Duration {
        self.start
    }

    /// Counts data records; whether there are as many as there may be.
    pub fn count(&mut self, records: u64) -> bool {
        self.records = self.records.saturating_add(records);
        self.max_records > 0 && self.records >= self.max_records
    }

    /// How long the interval still lasts by the clock, as far as that can be said; zero when it is
    /// over.
    pub fn remaining(&self, now: Duration) -> Option<Duration> {
        let period = self.period?;
        let set_back = now + TOLERANCE < self.start;
        Some(if set_back { Duration::ZERO } else { self.end(period).saturating_sub(now) })
    }

    /// Ends the interval; the next one begins.
    pub fn turn(&mut self, cause: Cause, now: Duration) {
        self.records = 0;
        self.led_until = Duration::ZERO;
        self.start = match (cause, self.period) {
            (Cause::Time, Some(period)) => align(now, period),
            (Cause::Led, Some(period)) => {
                self.led_until = now + period;
                now
            }
            _ => now,
        };
    }

    fn end(&self, period: Duration) -> Duration {
        // The first multiple after the start, but not before the leader has been silent for long.
        let earliest = self.start.max(self.led_until.saturating_sub(Duration::from_nanos(1)));
        align(earliest, period) + period
    }
}

/// The last multiple of `period` up to `time`.
fn align(time: Duration, period: Duration) -> Duration {
    let past = time.as_nanos().checked_rem(period.as_nanos()).unwrap_or(0);
    time.saturating_sub(Duration::from_nanos(u64::try_from(past).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn settings(lines: &str) -> Record {
        let text = format!("IPFIX_FULLFLOW_BALANCER=Disabled\n{lines}");
        let path = std::path::Path::new("test");
        let checked = Config::parse(path, &text, &Environment::default()).unwrap();
        checked.config.receivers[0].record.clone()
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    /// Follows the clock through `times`; the starts of the intervals that it makes.
    fn starts(rotation: &mut Rotation, times: impl IntoIterator<Item = Duration>) -> Vec<Duration> {
        let mut starts = Vec::new();
        for now in times {
            if rotation.remaining(now) == Some(Duration::ZERO) {
                rotation.turn(Cause::Time, now);
                starts.push(rotation.start());
            }
        }
        starts
    }

    #[test]
    fn intervals_are_aligned_to_the_clock() {
        let mut rotation = Rotation::new(&settings(""), minutes(1003));
        assert_eq!(rotation.start(), minutes(1003));
        assert_eq!(rotation.remaining(minutes(1003)), Some(minutes(7)));
        let every_second = (1003 * 60..1031 * 60).map(Duration::from_secs);
        let expected = [1010, 1020, 1030].map(minutes);
        assert_eq!(starts(&mut rotation, every_second), expected);
    }

    #[test]
    fn seconds_go_before_minutes_and_zero_is_not_by_time() {
        let seconds = "IPFIX_FULLFLOW_ROTATE_MINUTES=10\nIPFIX_FULLFLOW_ROTATE_DELAY_SECONDS=7";
        let rotation = Rotation::new(&settings(seconds), Duration::from_secs(50));
        assert_eq!(rotation.remaining(Duration::from_secs(50)), Some(Duration::from_secs(6)));
        let rotation = Rotation::new(&settings("IPFIX_FULLFLOW_ROTATE_MINUTES=0"), minutes(3));
        assert_eq!((rotation.start(), rotation.remaining(minutes(9))), (minutes(3), None));
    }

    #[test]
    fn records_end_an_interval_within_that_of_the_clock() {
        let mut rotation =
            Rotation::new(&settings("IPFIX_FULLFLOW_FW_MAX_QUEUE_SIZE=10"), minutes(1003));
        assert!(!rotation.count(9));
        assert!(rotation.count(1));
        rotation.turn(Cause::Records, minutes(1004));
        assert_eq!(rotation.start(), minutes(1004));
        assert!(!rotation.count(9));
        assert_eq!(rotation.remaining(minutes(1004)), Some(minutes(6)));
    }

    #[test]
    fn a_clock_that_is_set_ends_the_interval_at_once() {
        let mut rotation = Rotation::new(&settings(""), minutes(1003));
        // Ahead over several boundaries, back by hours, and on from there.
        let times = [1004, 1042, 1043, 900, 901, 910].map(minutes);
        assert_eq!(starts(&mut rotation, times), [1040, 900, 910].map(minutes));
    }

    #[test]
    fn a_clock_that_is_put_right_by_little_does_not() {
        let mut rotation = Rotation::new(&settings(""), minutes(1003));
        let back = minutes(1010) - Duration::from_millis(1500);
        let times = [minutes(1010), back, minutes(1010), minutes(1020)];
        assert_eq!(starts(&mut rotation, times), [1010, 1020].map(minutes));
    }

    #[test]
    fn a_receiver_that_is_led_follows_its_own_clock_when_the_leader_is_silent() {
        let lines = "IPFIX_FULLFLOW_ROTATE_MINUTES=12";
        let mut rotation = Rotation::new(&settings(lines), minutes(0));
        for led in [10, 20, 30] {
            assert!(rotation.remaining(minutes(led)) > Some(Duration::ZERO));
            rotation.turn(Cause::Led, minutes(led));
            assert_eq!(rotation.start(), minutes(led));
        }
        // 30 and 12 are 42; 48 is the next of its own.
        assert_eq!(starts(&mut rotation, (31..80).map(minutes)), [48, 60, 72].map(minutes));
    }

    #[test]
    fn other_settings_leave_the_interval_as_it_is() {
        let mut rotation = Rotation::new(&settings(""), minutes(1003));
        rotation.count(5);
        rotation.reconfigure(&settings("IPFIX_FULLFLOW_ROTATE_MINUTES=30"));
        assert_eq!(rotation.start(), minutes(1003));
        assert_eq!(rotation.remaining(minutes(1003)), Some(minutes(17)));
    }
}
