//! Metrics of the daemon as a whole.

use super::{Alert, Kind, Metric, Severity, number, seconds};

pub const METRICS: &[Metric] = &[
    Metric {
        name: "ipfix_balancer_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        meaning: "Always 1; the label says which version runs.",
        read: |status, put| put(&[&status.version], 1.0),
        alert: Alert {
            name: "IpfixBalancerAbsent",
            when: "absent(ipfix_balancer_build_info)",
            lasting: "2m",
            severity: Severity::Critical,
            advice: "No balancer answers Prometheus: see `systemctl status ipfix-balancer`, and \
                     IPFIX_METRICS_LISTEN.",
        },
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        meaning: "When the daemon was started, in seconds since 1970.",
        read: |status, put| put(&[], number(status.started_unix_seconds)),
        alert: Alert {
            name: "IpfixBalancerRestarts",
            when: "changes(process_start_time_seconds[1h]) > 2 and on (instance, job) ipfix_balancer_build_info",
            lasting: "0s",
            severity: Severity::Critical,
            advice: "The balancer on {{ $labels.instance }} was started several times within an hour: \
                     `journalctl -u ipfix-balancer` says why it ended.",
        },
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        meaning: "CPU time of all of the daemon's threads. What programs in the kernel take is not in it.",
        read: |status, put| put(&[], seconds(status.process.cpu_milliseconds)),
        alert: Alert {
            name: "IpfixBalancerProcessorTime",
            when: "rate(process_cpu_seconds_total[15m]) > 4 * rate(process_cpu_seconds_total[15m] offset 1d) \
                   and rate(process_cpu_seconds_total[15m]) > 0.5 and on (instance, job) ipfix_balancer_build_info",
            lasting: "15m",
            severity: Severity::Warning,
            advice: "The balancer on {{ $labels.instance }} takes four times the CPU time of yesterday: \
                     `ipfix-balancer top` shows which handler, and whether it lost the kernel path.",
        },
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        meaning: "Memory that the daemon has in use.",
        read: |status, put| put(&[], number(status.process.resident_bytes)),
        alert: Alert {
            name: "IpfixBalancerMemory",
            when: "predict_linear(process_resident_memory_bytes[1h], 4 * 3600) > 8e9 \
                   and on (instance, job) ipfix_balancer_build_info",
            lasting: "30m",
            severity: Severity::Warning,
            advice: "The balancer on {{ $labels.instance }} will need 8 GB within hours: find the \
                     destination whose queue grows in `ipfix-balancer status`.",
        },
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        meaning: "Open file descriptors: one for each exporter session, and one for each of its destinations.",
        read: |status, put| put(&[], number(status.process.open_files)),
        alert: Alert {
            name: "IpfixBalancerOpenFiles",
            when: "process_open_fds > 0.8 * process_max_fds and on (instance, job) ipfix_balancer_build_info",
            lasting: "5m",
            severity: Severity::Warning,
            advice: "The balancer on {{ $labels.instance }} will soon not take new exporters: raise \
                     LimitNOFILE, or look for exporters that connect again and again.",
        },
    },
    Metric {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        meaning: "File descriptors that the daemon may have open.",
        read: |status, put| put(&[], number(status.process.max_files)),
        alert: Alert {
            name: "IpfixBalancerFileLimit",
            when: "process_max_fds < 4096 and on (instance, job) ipfix_balancer_build_info",
            lasting: "0s",
            severity: Severity::Warning,
            advice: "The balancer on {{ $labels.instance }} may open few files: raise LimitNOFILE in its unit.",
        },
    },
    Metric {
        name: "ipfix_balancer_interface_dropped_messages_total",
        kind: Kind::Counter,
        labels: &["interface", "reason"],
        meaning: "Messages that the kernel path counted as sent and an interface did not take, by reason.",
        read: |status, put| {
            for interface in &status.interfaces {
                for (reason, count) in &interface.dropped {
                    put(&[&interface.name, reason], number(*count));
                }
            }
        },
        alert: Alert {
            name: "IpfixBalancerInterfaceDrops",
            when: "rate(ipfix_balancer_interface_dropped_messages_total[5m]) > 0",
            lasting: "1m",
            severity: Severity::Critical,
            advice: "{{ $labels.interface }} on {{ $labels.instance }} does not take all that is sent by it: \
                     enlarge its ring (`ethtool -G`), or set ACCEL=off for receivers with many destinations.",
        },
    },
];
