//! What the daemon may do: after its start no more than its receivers need.
//!
//! Handlers are threads, and a thread has the privileges of the one that started it: they are given up
//! before the first.

use anyhow::Context;
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use tracing::{info, warn};

use super::paths;
use crate::config::{Config, Protocol, Receiver};

/// Something that takes privileges.
struct Need {
    what: &'static str,
    capabilities: &'static [Capability],
    /// Whether a receiver has to do it, now or after a reload.
    of: fn(&Receiver) -> bool,
    /// Whether `ROTATE_COMMAND` may have to do it as well.
    by_commands: bool,
    /// Whether it is kept while there is no receiver yet: those that a web interface adds may need it.
    at_first: bool,
}

const NEEDS: &[Need] = &[
    Need {
        what: "ports below 1024",
        capabilities: &[Capability::CAP_NET_BIND_SERVICE],
        of: |_| true,
        by_commands: false,
        at_first: true,
    },
    Need {
        what: "files in directories of other users",
        capabilities: &[Capability::CAP_DAC_OVERRIDE],
        of: |_| true,
        by_commands: true,
        at_first: true,
    },
    Need {
        what: "socket buffers above net.core.rmem_max and wmem_max",
        capabilities: &[Capability::CAP_NET_ADMIN],
        of: uses_udp,
        by_commands: false,
        at_first: true,
    },
    Need {
        what: "the kernel path",
        capabilities: &[Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON],
        of: paths::is_fit,
        by_commands: false,
        at_first: true,
    },
    Need {
        what: "ROTATE_HUP_PIDFILE",
        capabilities: &[Capability::CAP_KILL],
        of: |receiver| receiver.record.hup_pidfile.is_some(),
        by_commands: false,
        at_first: false,
    },
    Need {
        what: "ROTATE_COMMAND, which may give files to other users, or run as one",
        capabilities: &[
            Capability::CAP_CHOWN,
            Capability::CAP_FOWNER,
            Capability::CAP_SETGID,
            Capability::CAP_SETUID,
        ],
        of: |receiver| receiver.record.command.is_some(),
        by_commands: true,
        at_first: false,
    },
];

/// What the daemon had, and has not any more.
pub struct GivenUp(CapsHashSet);

/// Gives up what no receiver of `config` needs, for this thread and all that it starts, and for good.
/// To be called while there is no other thread.
///
/// # Errors
///
/// The system refuses it.
pub fn give_up(config: &Config) -> anyhow::Result<GivenUp> {
    let held = caps::read(None, CapSet::Permitted).context("can't read the capabilities")?;
    let kept: CapsHashSet = needed(config, |_| true).intersection(&held).copied().collect();
    // While it is still allowed. Without the privilege to do it, there is none that a child could get.
    if held.contains(&Capability::CAP_SETPCAP) {
        let for_commands = needed(config, |need| need.by_commands);
        for capability in caps::runtime::thread_all_supported() {
            if !for_commands.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)
                    .context("can't drop a capability from the bounding set")?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient).context("can't clear the ambient capabilities")?;
    caps::clear(None, CapSet::Inheritable).context("can't clear the inheritable capabilities")?;
    caps::set(None, CapSet::Effective, &kept).context("can't give up capabilities")?;
    caps::set(None, CapSet::Permitted, &kept).context("can't give up capabilities")?;
    prctl::set_no_new_privs().context("can't forbid new privileges")?;
    let mut names: Vec<_> = kept.iter().map(ToString::to_string).collect();
    names.sort();
    info!(kept = names.join(" "), "privileges that are not needed were given up");
    Ok(GivenUp(held.difference(&kept).copied().collect()))
}

/// Says what receivers that have come by a reload can't do, because it was given up at start.
pub fn warn_of_missing(config: &Config, GivenUp(given_up): &GivenUp) {
    for need in NEEDS.iter().filter(|need| config.receivers().any(|receiver| (need.of)(receiver))) {
        let missing: Vec<_> = need
            .capabilities
            .iter()
            .filter(|one| given_up.contains(one))
            .map(ToString::to_string)
            .collect();
        if !missing.is_empty() {
            let missing = missing.join(" ");
            warn!(
                missing,
                "the daemon has given up the privilege for {}: restart it with this configuration",
                need.what
            );
        }
    }
}

fn uses_udp(receiver: &Receiver) -> bool {
    let sends = receiver.outputs().iter().any(|output| output.protocol == Protocol::Udp);
    sends || receiver.protocol == Protocol::Udp
}

fn needed(config: &Config, which: impl Fn(&Need) -> bool) -> CapsHashSet {
    let is_first = config.receivers.is_empty();
    let is_needed = |need: &&Need| {
        (is_first && need.at_first) || config.receivers().any(|receiver| (need.of)(receiver))
    };
    let needs = NEEDS.iter().filter(|need| which(need)).filter(is_needed);
    needs.flat_map(|need| need.capabilities).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;

    fn kept(text: &str) -> Vec<String> {
        let checked = Config::parse(Path::new("test"), text, &Environment::default()).unwrap();
        let kept = needed(&checked.config, |_| true);
        let mut names: Vec<_> =
            kept.iter().map(|c| c.to_string().trim_start_matches("CAP_").to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_some_receiver_needs_is_kept() {
        let tcp = "IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_SUB=127.0.0.1/9\n";
        assert_eq!(kept(tcp), ["DAC_OVERRIDE", "NET_BIND_SERVICE"]);
        let record = "IPFIX_DNSFLOW_PORT=1\nIPFIX_DNSFLOW_ROTATE_HUP_PIDFILE=/p\n\
                      IPFIX_DNSFLOW_ROTATE_COMMAND=c\n";
        let all = kept(record);
        assert_eq!(
            all,
            ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"]
        );
        let udp =
            format!("{tcp}IPFIX_FULLFLOW_PORT_TYPE=udp\nIPFIX_FULLFLOW_BALANCER_SUB_PROTO=udp\n");
        let with_kernel = ["BPF", "DAC_OVERRIDE", "NET_ADMIN", "NET_BIND_SERVICE", "PERFMON"];
        assert_eq!(kept(&udp), with_kernel);
        assert_eq!(kept("IPFIX_UI_LISTEN=[::1]:8080"), with_kernel);
        let off = format!("{udp}IPFIX_FULLFLOW_ACCEL=off\n");
        assert_eq!(kept(&off), ["DAC_OVERRIDE", "NET_ADMIN", "NET_BIND_SERVICE"]);
    }
}
