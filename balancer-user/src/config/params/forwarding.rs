//! Parameters that say where messages go, and how.

use super::{
    Applies, BALANCER_AUTO, BALANCER_SUB, BALANCER_SUB_PROTO, Kind, Param, Preset,
    kind::{path, store},
};
use crate::config::{
    Protocol, SpoolFull,
    destinations::{show_subreceivers, subreceivers},
    names::Switch,
};

pub(super) const PARAMS: &[Param] = &[
    Param {
        name: BALANCER_SUB,
        aliases: &[],
        kind: Kind::Destinations,
        preset: Preset::Nothing("none"),
        applies: Applies::Balance,
        about: "The subreceivers: IPv4 or IPv6 addresses or host names, each with its port. \
                Required unless BALANCER is Disabled.",
        example: "10.19.3.21/1500, [2001:db8::23]/1600",
        read: |_, text, draft| store(&mut draft.receiver.destinations, subreceivers(text)),
        show: |draft| show_subreceivers(&draft.receiver.destinations),
    },
    Param {
        name: BALANCER_SUB_PROTO,
        aliases: &[],
        kind: Kind::Choice(Protocol::NAMES),
        preset: Preset::Value("tcp"),
        applies: Applies::Balance,
        about: "Transport protocol towards the subreceivers.",
        example: "tcp",
        read: |kind, text, draft| kind.choice(text).map(|v| draft.sub_protocol = v),
        show: |draft| draft.sub_protocol.to_string(),
    },
    Param {
        name: BALANCER_AUTO,
        aliases: &[],
        kind: Kind::Choice(Switch::NAMES),
        preset: Preset::Value("Disabled"),
        applies: Applies::Balance,
        about: "Create and launch the subreceivers on this host, each a recording receiver.",
        example: "Enabled",
        read: |kind, text, draft| kind.switch(text).map(|v| draft.receiver.auto = v),
        show: |draft| switch(draft.receiver.auto).to_string(),
    },
    Param {
        name: "RECONNECT_SECONDS",
        aliases: &[],
        kind: Kind::Number { min: 1, max: 3600, unit: "seconds" },
        preset: Preset::Value("10"),
        applies: Applies::Output,
        about: "Longest pause between two attempts to connect to a destination.",
        example: "10",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.reconnect_seconds = v),
        show: |draft| draft.receiver.reconnect_seconds.to_string(),
    },
    Param {
        name: "TEMPLATE_SECONDS",
        aliases: &[],
        kind: Kind::Number { min: 1, max: 86_400, unit: "seconds" },
        preset: Preset::Value("600"),
        applies: Applies::Refresh,
        about: "Templates and options are repeated after this time.",
        example: "600",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.template_seconds = v),
        show: |draft| draft.receiver.template_seconds.to_string(),
    },
    Param {
        name: "TEMPLATE_MESSAGES",
        aliases: &[],
        kind: Kind::Number { min: 1, max: 1_000_000, unit: "messages" },
        preset: Preset::Value("5000"),
        applies: Applies::Refresh,
        about: "Templates and options are repeated after so many messages.",
        example: "5000",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.template_messages = v),
        show: |draft| draft.receiver.template_messages.to_string(),
    },
    Param {
        name: "SPOOL_DIR",
        aliases: &[],
        kind: Kind::Path,
        preset: Preset::Value("/var/fast_ipfix_balancer/spool"),
        applies: Applies::Output,
        about: "Where messages wait for a destination that is away.",
        example: "/data/spool",
        read: |_, text, draft| path(text).map(|v| draft.receiver.spool.dir = v),
        show: |draft| draft.receiver.spool.dir.display().to_string(),
    },
    Param {
        name: "SPOOL_MAX_MB",
        aliases: &[],
        kind: Kind::Number { min: 1, max: 16_777_216, unit: "MB" },
        preset: Preset::Value("1024"),
        applies: Applies::Output,
        about: "Most that waits on disk for one destination.",
        example: "8192",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.spool.max_mb = v),
        show: |draft| draft.receiver.spool.max_mb.to_string(),
    },
    Param {
        name: "SPOOL_FULL",
        aliases: &[],
        kind: Kind::Choice(SpoolFull::NAMES),
        preset: Preset::Value("drop-oldest"),
        applies: Applies::Output,
        about: "When that is full: drop the oldest messages and count them, or hold the TCP \
                exporter back.",
        example: "hold",
        read: |kind, text, draft| kind.choice(text).map(|v| draft.receiver.spool.full = v),
        show: |draft| draft.receiver.spool.full.to_string(),
    },
];

fn switch(on: bool) -> Switch {
    if on { Switch::Enabled } else { Switch::Disabled }
}
