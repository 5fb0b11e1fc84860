//! Metrics of destinations.

use common::reason::Reason;

use super::{Alert, Kind, Metric, Severity, number};
use crate::daemon::{DestinationStatus, Status};

pub const METRICS: &[Metric] = &[
    Metric {
        name: "ipfix_balancer_destination_connections",
        kind: Kind::Gauge,
        labels: &["receiver", "destination", "protocol", "state"],
        meaning: "Connections (UDP: sockets), one for each exporter session, by state: `up`, `connecting`, `down`.",
        read: |status, put| {
            each(status, |[receiver, address, protocol], destination| {
                let connections = &destination.connections;
                put(&[receiver, address, protocol, "up"], number(connections.up));
                put(&[receiver, address, protocol, "connecting"], number(connections.connecting));
                put(&[receiver, address, protocol, "down"], number(connections.down));
            });
        },
        alert: Alert {
            name: "IpfixBalancerDestinationDown",
            when: "ipfix_balancer_destination_connections{state=\"down\"} > 0",
            lasting: "1m",
            severity: Severity::Critical,
            advice: "{{ $labels.destination }} of {{ $labels.receiver }} on {{ $labels.instance }} can't be reached: \
                     start the collector; `ipfix-balancer status` has the error.",
        },
    },
    Metric {
        name: "ipfix_balancer_destination_messages_total",
        kind: Kind::Counter,
        labels: &["receiver", "destination", "protocol", "path"],
        meaning: "Messages sent, those that the balancer composed included, by the path that they took.",
        read: |status, put| {
            each(status, |[receiver, address, protocol], destination| {
                let DestinationStatus { messages, kernel_messages, .. } = *destination;
                let userspace = messages.saturating_sub(kernel_messages);
                put(&[receiver, address, protocol, "kernel"], number(kernel_messages));
                put(&[receiver, address, protocol, "userspace"], number(userspace));
            });
        },
        alert: Alert {
            name: "IpfixBalancerDestinationStarved",
            when: "sum by (instance, job, receiver, destination) (rate(ipfix_balancer_destination_messages_total[5m])) == 0 \
                   and on (instance, job, receiver) \
                   sum by (instance, job, receiver) (rate(ipfix_balancer_receiver_messages_total[5m])) > 0",
            lasting: "10m",
            severity: Severity::Critical,
            advice: "{{ $labels.destination }} gets nothing of what {{ $labels.receiver }} on {{ $labels.instance }} \
                     receives: see its state and last error in `ipfix-balancer status`.",
        },
    },
    Metric {
        name: "ipfix_balancer_destination_bytes_total",
        kind: Kind::Counter,
        labels: &["receiver", "destination", "protocol"],
        meaning: "Their bytes.",
        read: |status, put| each(status, |labels, d| put(&labels, number(d.bytes))),
        alert: Alert {
            name: "IpfixBalancerUnequalShares",
            when: "max by (instance, job, receiver) (rate(ipfix_balancer_destination_bytes_total[15m])) > \
                   2 * min by (instance, job, receiver) (rate(ipfix_balancer_destination_bytes_total[15m]))",
            lasting: "30m",
            severity: Severity::Warning,
            advice: "A destination of {{ $labels.receiver }} on {{ $labels.instance }} gets less than half of what \
                     another gets: it is slow or often away.",
        },
    },
    Metric {
        name: "ipfix_balancer_destination_resent_total",
        kind: Kind::Counter,
        labels: &["receiver", "destination", "protocol"],
        meaning: "Messages taken back from connections that broke before they were known to have arrived.",
        read: |status, put| each(status, |labels, d| put(&labels, number(d.resent))),
        alert: Alert {
            name: "IpfixBalancerDestinationBreaks",
            when: "increase(ipfix_balancer_destination_resent_total[15m]) > 0",
            lasting: "1h",
            severity: Severity::Warning,
            advice: "Connections to {{ $labels.destination }} of {{ $labels.receiver }} on {{ $labels.instance }} break \
                     again and again: nothing is lost by it, but some messages arrive twice.",
        },
    },
    Metric {
        name: "ipfix_balancer_destination_handed_on_total",
        kind: Kind::Counter,
        labels: &["receiver", "destination", "protocol"],
        meaning: "RoundRobin: messages of its turns that were handed to others when it was down.",
        read: |status, put| each(status, |labels, d| put(&labels, number(d.handed_on))),
        alert: Alert {
            name: "IpfixBalancerDestinationHandsOn",
            when: "increase(ipfix_balancer_destination_handed_on_total[15m]) > 0",
            lasting: "1h",
            severity: Severity::Warning,
            advice: "{{ $labels.destination }} of {{ $labels.receiver }} on {{ $labels.instance }} fails again and again, \
                     and others get its messages: nothing is lost by it, but some arrive at two collectors.",
        },
    },
    Metric {
        name: "ipfix_balancer_destination_queued_bytes",
        kind: Kind::Gauge,
        labels: &["receiver", "destination", "protocol"],
        meaning: "Bytes that wait in memory.",
        read: |status, put| each(status, |labels, d| put(&labels, number(d.queued_bytes))),
        alert: Alert {
            name: "IpfixBalancerDestinationSlow",
            when: "min_over_time(ipfix_balancer_destination_queued_bytes[5m]) > 0",
            lasting: "5m",
            severity: Severity::Warning,
            advice: "{{ $labels.destination }} of {{ $labels.receiver }} on {{ $labels.instance }} is away or does not \
                     keep up: when its queue is full, messages are dropped for it.",
        },
    },
    Metric {
        name: "ipfix_balancer_destination_dropped_total",
        kind: Kind::Counter,
        labels: &["receiver", "destination", "protocol", "reason"],
        meaning: "Messages dropped for this destination, by reason (docs/status.md).",
        read: |status, put| {
            each(status, |[receiver, address, protocol], destination| {
                for reason in Reason::ALL.map(Reason::as_str) {
                    let count = destination.dropped.get(reason).copied().unwrap_or(0);
                    put(&[receiver, address, protocol, reason], number(count));
                }
            });
        },
        alert: Alert {
            name: "IpfixBalancerDestinationDrops",
            when: "increase(ipfix_balancer_destination_dropped_total[5m]) > 0",
            lasting: "0s",
            severity: Severity::Critical,
            advice: "Messages for {{ $labels.destination }} of {{ $labels.receiver }} on {{ $labels.instance }} are \
                     dropped: {{ $labels.reason }}. docs/troubleshooting.md says what to do for this reason.",
        },
    },
];

/// Every destination with the values of its labels: receiver, destination, protocol.
fn each(status: &Status, mut take: impl FnMut([&str; 3], &DestinationStatus)) {
    for receiver in &status.receivers {
        for destination in &receiver.destinations {
            take([&receiver.name, &destination.address, &destination.protocol], destination);
        }
    }
}
