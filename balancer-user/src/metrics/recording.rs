//! Metrics of receivers that record.

use super::{Alert, Kind, Metric, Put, Severity, number};
use crate::daemon::{RecordingStatus, Status};

pub const METRICS: &[Metric] = &[
    Metric {
        name: "ipfix_balancer_recording_failing",
        kind: Kind::Gauge,
        labels: &["receiver"],
        meaning: "1 while the disk takes nothing, 0 otherwise.",
        read: |status, put| each(status, put, |r| u64::from(r.state == "failing")),
        alert: Alert {
            name: "IpfixBalancerRecordingFails",
            when: "ipfix_balancer_recording_failing == 1",
            lasting: "1m",
            severity: Severity::Critical,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} can't write its dump files: \
                     `ipfix-balancer status` has the error. It goes on by itself when there is room.",
        },
    },
    Metric {
        name: "ipfix_balancer_recording_messages_total",
        kind: Kind::Counter,
        labels: &["receiver"],
        meaning: "Received messages that were written to dump files.",
        read: |status, put| each(status, put, |r| r.messages),
        alert: Alert {
            name: "IpfixBalancerNothingRecorded",
            when: "rate(ipfix_balancer_recording_messages_total[5m]) == 0 and on (instance, job, receiver) \
                   sum by (instance, job, receiver) (rate(ipfix_balancer_receiver_messages_total[5m])) > 0",
            lasting: "5m",
            severity: Severity::Critical,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} gets messages and writes none: see the disk, \
                     and `ipfix-balancer status`.",
        },
    },
    Metric {
        name: "ipfix_balancer_recording_bytes_total",
        kind: Kind::Counter,
        labels: &["receiver"],
        meaning: "Bytes written to dump files, with the messages that the balancer composed.",
        read: |status, put| each(status, put, |r| r.bytes),
        alert: Alert {
            name: "IpfixBalancerRecordingMore",
            when: "rate(ipfix_balancer_recording_bytes_total[30m]) > \
                   4 * rate(ipfix_balancer_recording_bytes_total[30m] offset 1d)",
            lasting: "30m",
            severity: Severity::Warning,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} writes four times as much as yesterday: make \
                     sure of room on the disk (DUMP_KEEP_DAYS, DUMP_KEEP_MB, DUMP_ZSTD).",
        },
    },
    Metric {
        name: "ipfix_balancer_recording_waiting_bytes",
        kind: Kind::Gauge,
        labels: &["receiver"],
        meaning: "Memory taken by what waits to be written.",
        read: |status, put| each(status, put, |r| r.waiting_bytes),
        alert: Alert {
            name: "IpfixBalancerDiskSlow",
            when: "min_over_time(ipfix_balancer_recording_waiting_bytes[5m]) > 0",
            lasting: "5m",
            severity: Severity::Warning,
            advice: "The disk of {{ $labels.receiver }} on {{ $labels.instance }} does not keep up: use a faster one \
                     (DUMP_DIR), or compress later (DUMP_ZSTD=off).",
        },
    },
    Metric {
        name: "ipfix_balancer_recording_open_files",
        kind: Kind::Gauge,
        labels: &["receiver"],
        meaning: "Dump files that are being written.",
        read: |status, put| each(status, put, |r| r.open_files),
        alert: Alert {
            name: "IpfixBalancerFilesUnfinished",
            when: "ipfix_balancer_recording_open_files > on (instance, job, receiver) ipfix_balancer_receiver_sessions",
            lasting: "15m",
            severity: Severity::Warning,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} has more open dump files than exporter \
                     sessions: the disk does not finish them, see `ipfix-balancer status`.",
        },
    },
    Metric {
        name: "ipfix_balancer_recording_finished_files_total",
        kind: Kind::Counter,
        labels: &["receiver"],
        meaning: "Dump files that have been given their final names.",
        read: |status, put| each(status, put, |r| r.finished_files),
        alert: Alert {
            name: "IpfixBalancerNoFinishedFile",
            when: "increase(ipfix_balancer_recording_finished_files_total[2h]) == 0 and on (instance, job, receiver) \
                   ipfix_balancer_recording_open_files > 0",
            lasting: "0s",
            severity: Severity::Warning,
            advice: "{{ $labels.receiver }} on {{ $labels.instance }} has finished no dump file for two hours: check \
                     ROTATE_MINUTES and the disk.",
        },
    },
];

fn each(status: &Status, put: Put, value: fn(&RecordingStatus) -> u64) {
    for receiver in &status.receivers {
        if let Some(recording) = &receiver.recording {
            put(&[&receiver.name], number(value(recording)));
        }
    }
}
