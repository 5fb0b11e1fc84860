//! Metrics of receivers.

use common::reason::{PassUp, Reason};

use super::{Alert, Kind, Metric, Severity, number, seconds};

pub const METRICS: &[Metric] = &[
    Metric {
        name: "ipfix_balancer_receiver_info",
        kind: Kind::Gauge,
        labels: &["receiver", "mode", "protocol", "listen", "thread", "path"],
        meaning: "Always 1; the labels say how the receiver works. `path` is `kernel` or `userspace`.",
        read: |status, put| {
            for r in &status.receivers {
                put(&[&r.name, &r.mode, &r.protocol, &r.listen, &r.thread, &r.path], 1.0);
            }
        },
        alert: Alert {
            name: "IpfixBalancerKernelPathLost",
            when: "ipfix_balancer_receiver_info{path=\"userspace\"} and on (instance, job, receiver) \
                   (ipfix_balancer_receiver_info{path=\"kernel\"} offset 1h)",
            lasting: "5m",
            severity: Severity::Warning,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} was forwarded in the kernel an hour ago: \
                     `ipfix-balancer status` says why it is not any more, `ipfix-balancer doctor` what to do.",
        },
    },
    Metric {
        name: "ipfix_balancer_receiver_sessions",
        kind: Kind::Gauge,
        labels: &["receiver"],
        meaning: "Exporter sessions now.",
        read: |status, put| {
            for r in &status.receivers {
                put(&[&r.name], number(r.sessions));
            }
        },
        alert: Alert {
            name: "IpfixBalancerNoExporter",
            when: "ipfix_balancer_receiver_sessions == 0",
            lasting: "15m",
            severity: Severity::Warning,
            advice: "Nobody exports to {{ $labels.receiver }} on {{ $labels.instance }}: check the exporter's \
                     destination, firewalls, and ALLOW_FROM.",
        },
    },
    Metric {
        name: "ipfix_balancer_receiver_messages_total",
        kind: Kind::Counter,
        labels: &["receiver", "path"],
        meaning: "IPFIX messages received, dropped ones included, by the path that they took.",
        read: |status, put| {
            for r in &status.receivers {
                put(&[&r.name, "kernel"], number(r.kernel_messages));
                put(&[&r.name, "userspace"], number(r.messages.saturating_sub(r.kernel_messages)));
            }
        },
        alert: Alert {
            name: "IpfixBalancerSilentExporters",
            when: "sum by (instance, job, receiver) (rate(ipfix_balancer_receiver_messages_total[5m])) == 0 \
                   and on (instance, job, receiver) ipfix_balancer_receiver_sessions > 0",
            lasting: "10m",
            severity: Severity::Warning,
            advice: "Exporters are connected to {{ $labels.receiver }} on {{ $labels.instance }} and send nothing: \
                     look at the exporter.",
        },
    },
    Metric {
        name: "ipfix_balancer_receiver_bytes_total",
        kind: Kind::Counter,
        labels: &["receiver"],
        meaning: "Their bytes.",
        read: |status, put| {
            for r in &status.receivers {
                put(&[&r.name], number(r.bytes));
            }
        },
        alert: Alert {
            name: "IpfixBalancerLessTraffic",
            when: "rate(ipfix_balancer_receiver_bytes_total[30m]) < \
                   0.25 * rate(ipfix_balancer_receiver_bytes_total[30m] offset 1d)",
            lasting: "30m",
            severity: Severity::Warning,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} gets less than a quarter of what it got \
                     yesterday at this time: an exporter may have stopped.",
        },
    },
    Metric {
        name: "ipfix_balancer_receiver_passed_up_total",
        kind: Kind::Counter,
        labels: &["receiver", "reason"],
        meaning: "Datagrams that the kernel path left to userspace, by reason. None of them is lost.",
        read: |status, put| {
            for r in status.receivers.iter().filter(|r| r.path == "kernel") {
                for reason in PassUp::ALL.map(PassUp::as_str) {
                    put(&[&r.name, reason], number(r.passed_up.get(reason).copied().unwrap_or(0)));
                }
            }
        },
        alert: Alert {
            name: "IpfixBalancerKernelPathUnused",
            when: "sum by (instance, job, receiver) (rate(ipfix_balancer_receiver_passed_up_total[15m])) > \
                   0.5 * sum by (instance, job, receiver) (rate(ipfix_balancer_receiver_messages_total[15m]))",
            lasting: "15m",
            severity: Severity::Warning,
            advice: "Most of what {{ $labels.receiver }} on {{ $labels.instance }} gets is not forwarded in the \
                     kernel: docs/bpf-maps.md explains the reasons in `status`.",
        },
    },
    Metric {
        name: "ipfix_balancer_receiver_waiting_messages",
        kind: Kind::Gauge,
        labels: &["receiver"],
        meaning: "Messages that wait because no destination can take a turn.",
        read: |status, put| {
            for r in &status.receivers {
                put(&[&r.name], number(r.waiting_messages));
            }
        },
        alert: Alert {
            name: "IpfixBalancerNoDestination",
            when: "ipfix_balancer_receiver_waiting_messages > 0",
            lasting: "2m",
            severity: Severity::Critical,
            advice: "No destination of {{ $labels.receiver }} on {{ $labels.instance }} takes messages: start \
                     the collectors; `ipfix-balancer status` has the last error of each.",
        },
    },
    Metric {
        name: "ipfix_balancer_receiver_dropped_total",
        kind: Kind::Counter,
        labels: &["receiver", "reason"],
        meaning: "What was dropped, refused or closed at the input, by reason (docs/status.md).",
        read: |status, put| {
            for r in &status.receivers {
                for reason in Reason::ALL.map(Reason::as_str) {
                    put(&[&r.name, reason], number(r.dropped.get(reason).copied().unwrap_or(0)));
                }
            }
        },
        alert: Alert {
            name: "IpfixBalancerInputDrops",
            when: "increase(ipfix_balancer_receiver_dropped_total[5m]) > 0",
            lasting: "0s",
            severity: Severity::Critical,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} drops input: {{ $labels.reason }}. \
                     docs/troubleshooting.md says what to do for this reason.",
        },
    },
    Metric {
        name: "ipfix_balancer_receiver_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &["receiver"],
        meaning: "CPU time of the receiver's handler thread.",
        read: |status, put| {
            for r in &status.receivers {
                put(&[&r.name], seconds(r.cpu_milliseconds));
            }
        },
        alert: Alert {
            name: "IpfixBalancerHandlerBusy",
            when: "rate(ipfix_balancer_receiver_cpu_seconds_total[5m]) > 0.9",
            lasting: "10m",
            severity: Severity::Warning,
            advice: "The handler of {{ $labels.receiver }} on {{ $labels.instance }} has no CPU time left: give it a \
                     CPU of its own (TASKSET), or divide its exporters among two receivers.",
        },
    },
];
