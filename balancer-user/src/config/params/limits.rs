//! Parameters that bound what exporters can make a receiver take: sessions, memory, time.

use super::{Applies, Kind, Param, Preset};

pub(super) const PARAMS: &[Param] = &[
    Param {
        name: "MAX_SESSIONS",
        aliases: &[],
        kind: Kind::Number { min: 1, max: 65_536, unit: "sessions" },
        preset: Preset::Value("16384"),
        applies: Applies::Always,
        about: "Most exporter sessions at a time: TCP connections, or UDP source addresses and ports. Over it a \
                new one is refused and counted; over UDP the one that has been idle for longest makes room.",
        example: "1000",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.limits.sessions = v),
        show: |draft| draft.receiver.limits.sessions.to_string(),
    },
    Param {
        name: "TEMPLATE_MB",
        aliases: &[],
        kind: Kind::Number { min: 1, max: 65_536, unit: "MB" },
        preset: Preset::Value("256"),
        applies: Applies::Always,
        about: "Most memory for templates, options records and observation domains of all sessions together. \
                Messages that would need more are dropped and counted.",
        example: "64",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.limits.template_mb = v),
        show: |draft| draft.receiver.limits.template_mb.to_string(),
    },
    Param {
        name: "IDLE_SECONDS",
        aliases: &[],
        kind: Kind::Number { min: 10, max: 604_800, unit: "seconds" },
        preset: Preset::Value("1800"),
        applies: Applies::Udp,
        about: "A session without a datagram for so long is over. Exporters without flows repeat their templates \
                at least every half hour.",
        example: "3600",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.limits.idle_seconds = v),
        show: |draft| draft.receiver.limits.idle_seconds.to_string(),
    },
    Param {
        name: "MESSAGE_SECONDS",
        aliases: &[],
        kind: Kind::Number { min: 1, max: 3600, unit: "seconds" },
        preset: Preset::Value("60"),
        applies: Applies::Tcp,
        about: "A connection that takes longer from the first byte of a message to its last is closed.",
        example: "30",
        read: |kind, text, draft| {
            kind.number(text).map(|v| draft.receiver.limits.message_seconds = v)
        },
        show: |draft| draft.receiver.limits.message_seconds.to_string(),
    },
];
