//! Parameters of the daemon as a whole, `IPFIX_<name>` without stream and index.

use std::net::SocketAddr;

use super::{
    Applies, Kind, Param, Preset,
    kind::{listen, word},
};

const CONTROL_GROUP: &str = "CONTROL_GROUP";
pub(in crate::config) const METRICS_LISTEN: &str = "METRICS_LISTEN";
pub(in crate::config) const UI_LISTEN: &str = "UI_LISTEN";

/// What the parameters of this table are written into.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Globals {
    pub ui_listen: Option<SocketAddr>,
    pub metrics_listen: Option<SocketAddr>,
    pub control_group: Option<String>,
}

pub(in crate::config) const GLOBALS: &[Param<Globals>] = &[
    Param {
        name: UI_LISTEN,
        aliases: &[],
        kind: Kind::Listen,
        preset: Preset::Nothing("off"),
        applies: Applies::Always,
        about: "Address and port of the web interface.",
        example: "127.0.0.1:8080",
        read: |_, text, globals| listen(text).map(|v| globals.ui_listen = v),
        show: |globals| show(globals.ui_listen),
    },
    Param {
        name: METRICS_LISTEN,
        aliases: &[],
        kind: Kind::Listen,
        preset: Preset::Nothing("off"),
        applies: Applies::Always,
        about: "Address and port of the Prometheus metrics.",
        example: "[::1]:9100",
        read: |_, text, globals| listen(text).map(|v| globals.metrics_listen = v),
        show: |globals| show(globals.metrics_listen),
    },
    Param {
        name: CONTROL_GROUP,
        aliases: &[],
        kind: Kind::Word,
        preset: Preset::Nothing("ipfix-balancer, where there is such a group"),
        applies: Applies::Always,
        about: "Group whose members may use `status`, `reload`, `rotate` and `stop`, beside root and the daemon's \
                own user. Takes effect at the next start.",
        example: "operators",
        read: |_, text, globals| word(text).map(|v| globals.control_group = Some(v)),
        show: |globals| globals.control_group.clone().unwrap_or_default(),
    },
];

fn show(address: Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}
