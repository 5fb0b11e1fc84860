//! Who may control the daemon: root, its own user, and the members of one group.

use std::{fs, io};

use anyhow::{Context, bail};
use nix::unistd::{Gid, Group, Uid, geteuid};
use tokio::net::unix::UCred;
use tracing::info;

/// The group where `IPFIX_CONTROL_GROUP` names none.
const GROUP: &str = "ipfix-balancer";

/// Who may use the control socket.
#[derive(Clone, Debug)]
pub struct Clients {
    daemon: Uid,
    group: Option<Group>,
}

impl Clients {
    /// Root, the user of this process, and the members of the group: this one, which must be there, or
    /// the usual one if it is.
    ///
    /// # Errors
    ///
    /// There is no such group.
    pub fn of(configured: Option<&str>) -> anyhow::Result<Clients> {
        let name = configured.unwrap_or(GROUP);
        let group = Group::from_name(name).map_err(io::Error::from);
        let group = group.with_context(|| format!("can't look up the group {name}"))?;
        match (&group, configured) {
            (None, Some(name)) => bail!(
                "IPFIX_CONTROL_GROUP: there is no group {name}; create it (groupadd --system {name})"
            ),
            (None, None) => info!("no group {GROUP} on this host: root alone controls the daemon"),
            (Some(_), _) => {}
        }
        Ok(Clients { daemon: geteuid(), group })
    }

    /// The group.
    pub fn group(&self) -> Option<Gid> {
        self.group.as_ref().map(|group| group.gid)
    }

    /// Whether a process may.
    pub fn allow(&self, peer: &UCred) -> bool {
        let uid = Uid::from_raw(peer.uid());
        let member = |group: Gid| peer.gid() == group.as_raw() || has_group(peer.pid(), group);
        uid.is_root() || uid == self.daemon || self.group().is_some_and(member)
    }

    /// What somebody else is told.
    pub fn refusal(&self) -> String {
        match &self.group {
            Some(group) => format!("only root and the group {} may control the daemon", group.name),
            None => "only root may control the daemon".to_owned(),
        }
    }
}

/// Whether a process has a group beside the one that a socket tells. The user database would not do: it
/// may be far away, and need not know what a service was started with.
fn has_group(pid: Option<i32>, group: Gid) -> bool {
    let status = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
    let status = status.unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    groups.unwrap_or_default().split_whitespace().any(|one| one.parse() == Ok(group.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_configured_must_be_there() {
        let error = Clients::of(Some("no-such-group-here")).unwrap_err().to_string();
        assert!(error.contains("IPFIX_CONTROL_GROUP") && error.contains("groupadd"), "{error}");
    }

    #[test]
    fn without_a_group_only_root_is_named() {
        let clients = Clients { daemon: geteuid(), group: None };
        assert_eq!(clients.refusal(), "only root may control the daemon");
    }
}
