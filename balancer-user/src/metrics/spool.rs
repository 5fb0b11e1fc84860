//! Metrics of spools. What no destination has had a turn for goes by the destination `any`.

use super::{Alert, Kind, Metric, Put, Severity, number};
use crate::{daemon::Status, spool::ANY};

pub const METRICS: &[Metric] = &[
    Metric {
        name: "ipfix_balancer_spool_messages",
        kind: Kind::Gauge,
        labels: &["receiver", "destination"],
        meaning: "Messages on disk that have not arrived; destination `any`: that have had no turn.",
        read: |status, put| each(status, put, |messages, _, _| messages),
        alert: Alert {
            name: "IpfixBalancerSpooling",
            when: "min_over_time(ipfix_balancer_spool_messages[15m]) > 0",
            lasting: "0s",
            severity: Severity::Warning,
            advice: "Messages for {{ $labels.destination }} of {{ $labels.receiver }} on {{ $labels.instance }} wait on \
                     disk: start the collector, or make it faster.",
        },
    },
    Metric {
        name: "ipfix_balancer_spool_bytes",
        kind: Kind::Gauge,
        labels: &["receiver", "destination"],
        meaning: "Bytes that they take on disk, up to SPOOL_MAX_MB.",
        read: |status, put| each(status, put, |_, bytes, _| bytes),
        alert: Alert {
            name: "IpfixBalancerSpoolGrows",
            when: "predict_linear(ipfix_balancer_spool_bytes[30m], 4 * 3600) > 1e9",
            lasting: "15m",
            severity: Severity::Warning,
            advice: "In four hours more than 1 GB will wait for {{ $labels.destination }} of {{ $labels.receiver }} on \
                     {{ $labels.instance }}: look whether SPOOL_MAX_MB and the disk allow it.",
        },
    },
    Metric {
        name: "ipfix_balancer_spool_oldest_seconds",
        kind: Kind::Gauge,
        labels: &["receiver", "destination"],
        meaning: "For how long the oldest of them has waited.",
        read: |status, put| each(status, put, |_, _, seconds| seconds),
        alert: Alert {
            name: "IpfixBalancerSpoolOld",
            when: "ipfix_balancer_spool_oldest_seconds > 86400",
            lasting: "0s",
            severity: Severity::Warning,
            advice: "Messages for {{ $labels.destination }} of {{ $labels.receiver }} on {{ $labels.instance }} have \
                     waited for a day: start the collector, or `ipfix-balancer spool purge`.",
        },
    },
    Metric {
        name: "ipfix_balancer_spool_failing",
        kind: Kind::Gauge,
        labels: &["receiver"],
        meaning: "1 while there is no spool on disk, or the disk refuses something; 0 otherwise.",
        read: |status, put| {
            for receiver in &status.receivers {
                if let Some(spool) = &receiver.spool {
                    put(&[&receiver.name], number(u64::from(spool.state != "ready")));
                }
            }
        },
        alert: Alert {
            name: "IpfixBalancerSpoolFails",
            when: "ipfix_balancer_spool_failing == 1",
            lasting: "1m",
            severity: Severity::Warning,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} can't put messages on disk: `ipfix-balancer \
                     status` has the error. Until it can, what waits has to fit into memory.",
        },
    },
];

/// Messages, bytes and age of every spool.
fn each(status: &Status, put: Put, number_of: fn(u64, u64, u64) -> u64) {
    for receiver in &status.receivers {
        for d in &receiver.destinations {
            let value = number_of(d.spooled_messages, d.spooled_bytes, d.spooled_seconds);
            put(&[&receiver.name, &d.address], number(value));
        }
        if let Some(spool) = &receiver.spool {
            let value = number_of(spool.messages, spool.bytes, spool.oldest_seconds);
            put(&[&receiver.name, ANY], number(value));
        }
    }
}
