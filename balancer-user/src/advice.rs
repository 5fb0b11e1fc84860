//! What to do about something that was dropped, refused or closed: one sentence for each reason, in
//! log lines, `doctor` and docs/troubleshooting.md.

use common::reason::Reason;

/// What an operator can do about it.
pub const fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::Malformed => {
            "Update the exporter; `ipfix-balancer inspect` says what is wrong with a capture of it."
        }
        Reason::FramingLost => {
            "Make sure that it is an IPFIX exporter that connects to this port, and update it."
        }
        Reason::MalformedRow => "Update the exporter, or set it to other fields.",
        Reason::NetflowV5 | Reason::NetflowV9 => "Set the exporter to IPFIX.",
        Reason::Version => "Set the exporter to IPFIX, and keep other programs off this port.",
        Reason::TemplateLimit => "Restart the exporter if it does not reuse template ids.",
        Reason::OptionsLimit => "Have the exporter send fewer options records.",
        Reason::DomainLimit => "Divide the exporter's observation domains among several exporters.",
        Reason::SessionLimit => {
            "Look for strangers (ALLOW_FROM), raise MAX_SESSIONS, or divide the exporters among several receivers."
        }
        Reason::NotAllowed => "If it may export here, add it to ALLOW_FROM.",
        Reason::IdleTimeout => "Look at the exporter, and at the network between it and this host.",
        Reason::Truncated => "Look whether the exporter was restarted, or lost its connection.",
        Reason::ReceiveBuffer => {
            "Raise net.core.rmem_max, or give the handler a CPU of its own (TASKSET)."
        }
        Reason::QueueFull => "Start the collector, or make it faster.",
        Reason::Oversize => {
            "Have the exporter send shorter messages, or raise the MTU on the way to the collector."
        }
        Reason::SendError => "Look at route, firewall and interface on the way to the collector.",
        Reason::Overload => {
            "Give the handler a CPU of its own (TASKSET), or divide its exporters among two receivers."
        }
        Reason::Egress => {
            "Enlarge the interface's ring (`ethtool -G`), or set ACCEL=off where there are many destinations."
        }
        Reason::Undelivered => "Start the collector.",
        Reason::Unrecorded => {
            "Make room on the disk (DUMP_KEEP_MB), or use a faster one (DUMP_DIR)."
        }
        Reason::SpoolFull => {
            "Start the collector, or let more wait: SPOOL_MAX_MB, and room on the disk of SPOOL_DIR."
        }
        Reason::SpoolAge => "Start the collector sooner, or raise SPOOL_MAX_HOURS.",
        Reason::SpoolLost => "Look at the disk of SPOOL_DIR, and at who deletes files there.",
        Reason::SpoolPurged => "Nothing: somebody wanted it so.",
    }
}
