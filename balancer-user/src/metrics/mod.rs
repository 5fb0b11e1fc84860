//! The Prometheus metrics: the numbers of [`Status`] under the names of one table.
//!
//! `docs/metrics.md` and the alert rules in `packaging/prometheus/` are written from the same table.

mod daemon;
mod destination;
mod receiver;
mod recording;
mod spool;

use prometheus::{
    TextEncoder,
    proto::{self, Counter, Gauge, LabelPair, MetricFamily, MetricType},
};

use crate::daemon::Status;

/// Media type of [`text`].
pub use prometheus::TEXT_FORMAT;

/// A metric: a row of the table.
pub struct Metric {
    /// By Prometheus' conventions: `ipfix_balancer_`, what is counted, its unit, `_total`.
    pub name: &'static str,
    /// Whether it can go down.
    pub kind: Kind,
    /// Names of its labels, in the order in which `read` gives their values.
    pub labels: &'static [&'static str],
    /// One sentence: what it counts.
    pub meaning: &'static str,
    /// Puts its samples: the labels' values and the number.
    pub read: fn(&Status, Put),
    /// When somebody should look.
    pub alert: Alert,
}

/// Takes a sample of a metric: the values of its labels, and the number.
pub type Put<'a> = &'a mut dyn FnMut(&[&str], f64);

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the daemon or the receiver starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A rule for Prometheus: when to tell people, and what.
pub struct Alert {
    /// Its name.
    pub name: &'static str,
    /// The condition, in PromQL.
    pub when: &'static str,
    /// For how long it has to hold, as Prometheus writes it; `0s` = at once.
    pub lasting: &'static str,
    /// Whether messages are lost, or not delivered, while it holds.
    pub severity: Severity,
    /// What has happened, and what to do; may name labels: `{{ $labels.receiver }}`.
    pub advice: &'static str,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Messages are lost, or do not arrive.
    Critical,
    /// It may come to that.
    Warning,
}

/// Every metric, in the order of the documentation.
pub fn table() -> impl Iterator<Item = &'static Metric> {
    [daemon::METRICS, receiver::METRICS, recording::METRICS, destination::METRICS, spool::METRICS]
        .into_iter()
        .flatten()
}

/// All metrics in Prometheus' text format.
pub fn text(status: &Status) -> String {
    let families: Vec<_> = table()
        .map(|metric| metric.family(status))
        .filter(|f| !f.get_metric().is_empty())
        .collect();
    // A String takes everything, and names come from the table, whose form a test checks.
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

impl Metric {
    fn family(&self, status: &Status) -> MetricFamily {
        let mut samples = Vec::new();
        (self.read)(status, &mut |values, number| samples.push(self.sample(values, number)));
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.meaning.to_owned());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        family.set_metric(samples);
        family
    }

    fn sample(&self, values: &[&str], number: f64) -> proto::Metric {
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut sample =
            proto::Metric::from_label(self.labels.iter().zip(values).map(pair).collect());
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(number);
                sample.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(number);
                sample.set_gauge(gauge);
            }
        }
        sample
    }
}

/// A count as Prometheus has numbers: exact up to 2^53.
fn number(count: u64) -> f64 {
    count as f64
}

/// Milliseconds as seconds, the unit that Prometheus wants.
fn seconds(milliseconds: u64) -> f64 {
    number(milliseconds) / 1000.0
}
