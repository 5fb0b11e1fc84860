//! Parameters that say where a receiver listens, and what it does with messages.

use super::{
    ACCEL, Applies, BALANCER, BIND, Kind, PORT, PORT_TYPE, Param, Preset, TASKSET,
    kind::{address, cpu_list, cpu_ranges, networks, store},
};
use crate::config::{Accel, Mode, Protocol};

pub(super) const PARAMS: &[Param] = &[
    Param {
        name: PORT_TYPE,
        aliases: &[],
        kind: Kind::Choice(Protocol::NAMES),
        preset: Preset::Value("tcp"),
        applies: Applies::Always,
        about: "Transport protocol of the exporters.",
        example: "tcp",
        read: |kind, text, draft| kind.choice(text).map(|v| draft.receiver.protocol = v),
        show: |draft| draft.receiver.protocol.to_string(),
    },
    Param {
        name: PORT,
        aliases: &[],
        kind: Kind::Number { min: 1, max: 65_535, unit: "" },
        preset: Preset::Stream(|stream| stream.port.map(|port| port.to_string())),
        applies: Applies::Always,
        about: "Listening port, unique per protocol across the whole file.",
        example: "1500",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.port = v),
        show: |draft| draft.receiver.port.to_string(),
    },
    Param {
        name: BIND,
        aliases: &[],
        kind: Kind::Address,
        preset: Preset::Nothing("all addresses, IPv4 and IPv6"),
        applies: Applies::Always,
        about: "Listening address.",
        example: "10.19.3.20",
        read: |_, text, draft| address(text).map(|v| draft.receiver.bind = v),
        show: |draft| draft.receiver.bind.map(|ip| ip.to_string()).unwrap_or_default(),
    },
    Param {
        name: "ALLOW_FROM",
        aliases: &[],
        kind: Kind::Networks,
        preset: Preset::Nothing("everyone"),
        applies: Applies::Always,
        about: "Exporters that are accepted.",
        example: "10.19.0.0/16, 2001:db8::/32",
        read: |_, text, draft| store(&mut draft.receiver.allow_from, networks(text)),
        show: |draft| {
            let networks = draft.receiver.allow_from.iter().map(ToString::to_string);
            networks.collect::<Vec<_>>().join(", ")
        },
    },
    Param {
        name: TASKSET,
        aliases: &["BALANCER_TASKSET"],
        kind: Kind::Cpus,
        preset: Preset::Nothing("not pinned"),
        applies: Applies::Always,
        about: "CPUs that the receiver's handler is bound to. The kernel path uses the first of them at \
                XDP, and none of them at TC, where it stays on the CPU that a packet comes in by.",
        example: "61",
        read: |_, text, draft| store(&mut draft.receiver.cpus, cpu_list(text)),
        show: |draft| cpu_ranges(&draft.receiver.cpus),
    },
    Param {
        name: BALANCER,
        aliases: &[],
        kind: Kind::Choice(Mode::NAMES),
        preset: Preset::Value("Disabled"),
        applies: Applies::Always,
        about: "What happens to a message: recorded (Disabled), sent to the next available \
                subreceiver in turn (RoundRobin), or sent to all of them (All).",
        example: "RoundRobin",
        read: |kind, text, draft| kind.choice(text).map(|v| draft.receiver.mode = v),
        show: |draft| draft.receiver.mode.to_string(),
    },
    Param {
        name: ACCEL,
        aliases: &[],
        kind: Kind::Choice(Accel::NAMES),
        preset: Preset::Value("auto"),
        applies: Applies::Balance,
        about: "Forwarding inside the kernel, UDP to UDP: where possible (auto), never (off), or \
                no start without it (require).",
        example: "auto",
        read: |kind, text, draft| kind.choice(text).map(|v| draft.receiver.accel = v),
        show: |draft| draft.receiver.accel.to_string(),
    },
];
