//! Parameters of the daemon as a whole, `IPFIX_<name>` without stream and index.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    Applies, Kind, Param, Preset,
    kind::{listen, path, word},
};

const CONTROL_GROUP: &str = "CONTROL_GROUP";
pub(in crate::config) const METRICS_LISTEN: &str = "METRICS_LISTEN";
pub(in crate::config) const UI_CERT: &str = "UI_CERT";
const UI_DIR: &str = "UI_DIR";
pub(in crate::config) const UI_KEY: &str = "UI_KEY";
pub(in crate::config) const UI_LISTEN: &str = "UI_LISTEN";

/// What the parameters of this table are written into.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Globals {
    pub ui_listen: Option<SocketAddr>,
    pub ui_dir: PathBuf,
    pub ui_cert: Option<PathBuf>,
    pub ui_key: Option<PathBuf>,
    pub metrics_listen: Option<SocketAddr>,
    pub control_group: Option<String>,
}

impl Globals {
    /// All defaults.
    pub fn new() -> Globals {
        let mut globals = Globals::default();
        for param in GLOBALS {
            if let Preset::Value(text) = param.preset {
                // Every default can be read: a unit test sees to it.
                (param.read)(&param.kind, text, &mut globals).unwrap_or_default();
            }
        }
        globals
    }
}

pub(in crate::config) const GLOBALS: &[Param<Globals>] = &[
    Param {
        name: UI_LISTEN,
        aliases: &[],
        kind: Kind::Listen,
        preset: Preset::Nothing("off"),
        applies: Applies::Always,
        about: "Address and port of the web interface. On any address but loopback it is served by TLS alone.",
        example: "127.0.0.1:8080",
        read: |_, text, globals| listen(text).map(|v| globals.ui_listen = v),
        show: |globals| show(globals.ui_listen),
    },
    Param {
        name: UI_DIR,
        aliases: &[],
        kind: Kind::Path,
        preset: Preset::Value("/var/fast_ipfix_balancer/ui"),
        applies: Applies::Always,
        about: "Where the web interface keeps accounts, the list of balancers, the audit trail and what SSH \
                needs; created if it is not there.",
        example: "/srv/balancer-ui",
        read: |_, text, globals| path(text).map(|v| globals.ui_dir = v),
        show: |globals| globals.ui_dir.display().to_string(),
    },
    Param {
        name: UI_CERT,
        aliases: &[],
        kind: Kind::Path,
        preset: Preset::Nothing("self-made"),
        applies: Applies::Always,
        about: "Certificate of the web interface, with those of its issuers, as PEM.",
        example: "/etc/ssl/balancer.pem",
        read: |_, text, globals| path(text).map(|v| globals.ui_cert = Some(v)),
        show: |globals| show_path(globals.ui_cert.as_ref()),
    },
    Param {
        name: UI_KEY,
        aliases: &[],
        kind: Kind::Path,
        preset: Preset::Nothing("self-made"),
        applies: Applies::Always,
        about: "Its private key, as PEM.",
        example: "/etc/ssl/private/balancer.key",
        read: |_, text, globals| path(text).map(|v| globals.ui_key = Some(v)),
        show: |globals| show_path(globals.ui_key.as_ref()),
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

fn show_path(path: Option<&PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}
