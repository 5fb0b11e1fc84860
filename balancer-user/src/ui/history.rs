//! The last hour of every balancer, for charts.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use utoipa::ToSchema;

use crate::daemon::Status;

/// Time between two samples.
pub const STEP: Duration = Duration::from_secs(10);
/// Samples that are kept: an hour's, and one more for the first rate.
const MAX_SAMPLES: usize = 361;
/// Receivers and destinations of a balancer that are kept; of more, the first.
const MAX_SERIES: usize = 512;

/// Samples of all balancers, by name.
#[derive(Debug, Default)]
pub struct History(Mutex<HashMap<String, VecDeque<Sample>>>);

/// Counters at one time.
#[derive(Debug)]
struct Sample {
    milliseconds: u64,
    /// When the daemon was started: another one counts from 0.
    started: u64,
    counters: BTreeMap<Name, Counters>,
}

/// A receiver, or a destination of it.
type Name = (String, Option<String>);

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    messages: u64,
    bytes: u64,
    dropped: u64,
    cpu_milliseconds: u64,
}

/// The last hour of a balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Hour {
    /// Ends of the intervals, in seconds since 1970.
    pub times: Vec<f64>,
    /// Rates of receivers and destinations in each interval.
    pub series: Vec<Series>,
}

/// Rates of one receiver or destination; `null` where they are not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Series {
    /// The receiver.
    pub receiver: String,
    /// The destination; `null` for the receiver itself.
    pub destination: Option<String>,
    /// Messages a second.
    pub messages: Vec<Option<f64>>,
    /// Bytes a second.
    pub bytes: Vec<Option<f64>>,
    /// Dropped messages a second.
    pub dropped: Vec<Option<f64>>,
    /// CPU time of the handler, in percent of one CPU.
    pub cpu: Vec<Option<f64>>,
}

impl History {
    /// Takes a balancer's state of now.
    pub fn add(&self, server: &str, status: &Status) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.add_at(server, status, u64::try_from(now.as_millis()).unwrap_or_default());
    }

    fn add_at(&self, server: &str, status: &Status, milliseconds: u64) {
        let sample = Sample {
            milliseconds,
            started: status.started_unix_seconds,
            counters: counters(status).take(MAX_SERIES).collect(),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = all.entry(server.to_owned()).or_default();
        if samples.len() >= MAX_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Forgets balancers that are not in the list any more.
    pub fn keep_only(&self, servers: &HashSet<&str>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| servers.contains(name.as_str()));
    }

    /// The last hour of a balancer.
    pub fn hour(&self, server: &str) -> Hour {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(server).map(hour).unwrap_or_default()
    }
}

fn counters(status: &Status) -> impl Iterator<Item = (Name, Counters)> {
    status.receivers.iter().flat_map(|receiver| {
        let own = Counters {
            messages: receiver.messages,
            bytes: receiver.bytes,
            dropped: receiver.dropped.values().sum(),
            cpu_milliseconds: receiver.cpu_milliseconds,
        };
        let destinations = receiver.destinations.iter().map(|destination| {
            let name = format!("{}/{}", destination.address, destination.protocol);
            let (messages, bytes) = (destination.messages, destination.bytes);
            let dropped = destination.dropped.values().sum();
            let counters = Counters { messages, bytes, dropped, cpu_milliseconds: 0 };
            ((receiver.name.clone(), Some(name)), counters)
        });
        std::iter::once(((receiver.name.clone(), None), own)).chain(destinations)
    })
}

fn hour(samples: &VecDeque<Sample>) -> Hour {
    let pairs: Vec<_> = samples.iter().zip(samples.iter().skip(1)).collect();
    let names: Vec<_> =
        samples.back().into_iter().flat_map(|sample| sample.counters.keys()).collect();
    let series = names.into_iter().map(|name| {
        let (receiver, destination) = name.clone();
        let mut series = Series { receiver, destination, ..Series::default() };
        for (before, after) in &pairs {
            let rate = |of: fn(&Counters) -> u64| rate(before, after, name, of);
            series.messages.push(rate(|it| it.messages));
            series.bytes.push(rate(|it| it.bytes));
            series.dropped.push(rate(|it| it.dropped));
            // Milliseconds of a second are tenths of a percent.
            series.cpu.push(rate(|it| it.cpu_milliseconds).map(|rate| rate / 10.0));
        }
        series
    });
    Hour {
        series: series.collect(),
        times: pairs.iter().map(|(_, after)| seconds(after.milliseconds)).collect(),
    }
}

fn rate(before: &Sample, after: &Sample, name: &Name, of: fn(&Counters) -> u64) -> Option<f64> {
    let (old, new) = (of(before.counters.get(name)?), of(after.counters.get(name)?));
    let elapsed = seconds(after.milliseconds.checked_sub(before.milliseconds)?);
    // A receiver that was changed counts anew.
    let more = new.checked_sub(old).filter(|_| before.started == after.started && elapsed > 0.0)?;
    #[expect(clippy::cast_precision_loss, reason = "what is lost can't be seen in a chart")]
    Some((more as f64 / elapsed * 1000.0).round() / 1000.0)
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(milliseconds: u64, started: u64, messages: u64) -> Sample {
        let name = ("DNSFLOW[0]".to_owned(), None);
        let counters = Counters { messages, cpu_milliseconds: messages, ..Counters::default() };
        Sample { milliseconds, started, counters: BTreeMap::from([(name, counters)]) }
    }

    #[test]
    fn rates_are_those_between_samples_and_unknown_over_a_restart() {
        let samples = VecDeque::from([
            sample(10_000, 1, 100),
            sample(20_000, 1, 150),
            // The receiver was changed, and counts anew.
            sample(30_000, 1, 7),
            // Another daemon.
            sample(40_000, 2, 1000),
            sample(42_000, 2, 1001),
        ]);
        let hour = hour(&samples);
        assert_eq!(hour.times, [20.0, 30.0, 40.0, 42.0]);
        let [series] = hour.series.as_slice() else { panic!("{hour:?}") };
        assert_eq!(series.messages, [Some(5.0), None, None, Some(0.5)]);
        assert_eq!(series.cpu, [Some(0.5), None, None, Some(0.05)]);
    }

    #[test]
    fn servers_that_are_gone_are_forgotten() {
        let history = History::default();
        history.0.lock().unwrap().insert("gone".to_owned(), VecDeque::from([sample(1, 1, 1)]));
        history.keep_only(&HashSet::from(["local"]));
        assert!(history.0.lock().unwrap().is_empty());
        assert_eq!(history.hour("gone"), Hour::default());
    }
}
