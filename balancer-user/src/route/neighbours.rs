//! The neighbours that frames go to: looked up, asked for, and kept alive.
//!
//! Packets that the kernel path sends do not pass the neighbour table, so for the kernel nobody
//! uses these entries: it would neither resolve them nor notice that a neighbour is gone. Since
//! Linux 5.16 an entry can be *managed*: the kernel resolves it, and goes on probing it. Older
//! kernels are asked to use an entry whenever it has become stale.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use netlink_packet_core::{NLM_F_CREATE, Parseable};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::RouteProtocol,
};
use tracing::debug;

use super::{
    Unresolved,
    netlink::{Client, NetlinkError},
};

/// Stands at the entries that the balancer has made managed (`proto` in `ip neigh`), so that one
/// that has been killed leaves nothing behind that its successor does not find.
const OWNER: u8 = 147;
/// Where the kernel does not manage entries, one that fails is asked for again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// A neighbour's place in the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub interface: u32,
    pub address: IpAddr,
}

/// The neighbours that the balancer keeps alive.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    kept: HashMap<Key, Kept>,
    /// The kernel has been seen to manage an entry when asked to.
    manages: bool,
}

#[derive(Debug)]
struct Kept {
    /// Resolved since the last [`Neighbours::release_unused`].
    used: bool,
    asked: Option<Instant>,
}

impl Neighbours {
    /// Takes over what a process that did not come to its end in order has left managed.
    pub fn adopt(client: &mut Client) -> Result<Self, NetlinkError> {
        let mut neighbours = Self::default();
        let all = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        for answer in client.dump(all)? {
            let Ok(message) = NeighbourMessage::parse(&*answer) else { continue };
            let (entry, interface) = (Entry::from(&message), message.header.ifindex);
            if let Some(address) = entry.address.filter(|_| entry.is_ours()) {
                let kept = Kept { used: false, asked: None };
                neighbours.kept.insert(Key { interface, address }, kept);
            }
        }
        Ok(neighbours)
    }

    /// The Ethernet address of a neighbour, which from now on is kept alive.
    pub fn resolve(&mut self, client: &mut Client, key: Key) -> Result<[u8; 6], Unresolved> {
        let mut entry = find(client, key)?;
        if entry.as_ref().is_some_and(Entry::is_foreign) {
            self.kept.remove(&key);
        } else if self.keep(key, entry.as_ref(), Instant::now()) {
            order(client, key, NeighbourExtFlags::Managed, NLM_F_CREATE)?;
            entry = find(client, key)?;
            self.manages |= entry.as_ref().is_some_and(|entry| entry.managed);
        }
        let entry = entry.ok_or(Unresolved::NeighbourMissing)?;
        match entry.state {
            NeighbourState::Incomplete => Err(Unresolved::NeighbourIncomplete),
            NeighbourState::Failed => Err(Unresolved::NeighbourFailed),
            NeighbourState::None | NeighbourState::Other(_) => Err(Unresolved::NeighbourMissing),
            _ => entry.mac.ok_or(Unresolved::NeighbourMissing),
        }
    }

    /// Lets go of the neighbours that have not been resolved since the last call.
    pub fn release_unused(&mut self, client: &mut Client) {
        self.kept.retain(|key, kept| {
            if !kept.used {
                release(client, *key);
            }
            std::mem::take(&mut kept.used)
        });
    }

    /// Lets go of all neighbours.
    pub fn release_all(&mut self, client: &mut Client) {
        for (key, _) in self.kept.drain() {
            release(client, key);
        }
    }

    /// Notes that a neighbour is in use. True when the kernel has to be asked to resolve it.
    fn keep(&mut self, key: Key, entry: Option<&Entry>, now: Instant) -> bool {
        let kept = self.kept.entry(key).or_insert(Kept { used: true, asked: None });
        kept.used = true;
        let ask = match (entry, kept.asked) {
            (Some(entry), _) if entry.managed => false,
            // Nobody has been asked yet, or the kernel has dropped an entry that it managed.
            (_, None) => true,
            _ if self.manages => true,
            (Some(entry), _) if !entry.has_to_be_probed() => false,
            (_, Some(asked)) => now.duration_since(asked) >= RETRY,
        };
        if ask {
            kept.asked = Some(now);
        }
        ask
    }
}

/// What the kernel's table says of a neighbour.
#[derive(Debug)]
struct Entry {
    address: Option<IpAddr>,
    state: NeighbourState,
    mac: Option<[u8; 6]>,
    managed: bool,
    /// Has been made managed by a balancer.
    owned: bool,
    /// Set by an operator, by another program, or by the kind of the interface; not resolved.
    fixed: bool,
}

impl Entry {
    fn is_ours(&self) -> bool {
        self.managed && self.owned
    }

    /// Entries that belong to an operator or to another program are used, and never changed.
    fn is_foreign(&self) -> bool {
        !self.is_ours() && (self.fixed || self.managed)
    }

    /// Whether the kernel would leave it as it is until somebody uses it.
    fn has_to_be_probed(&self) -> bool {
        use NeighbourState::{Failed, None, Stale};
        matches!(self.state, Stale | Failed | None)
    }
}

impl From<&NeighbourMessage> for Entry {
    fn from(message: &NeighbourMessage) -> Self {
        let NeighbourMessage { header, attributes, .. } = message;
        let fixed_state = matches!(header.state, NeighbourState::Permanent | NeighbourState::Noarp);
        let mut entry = Self {
            address: None,
            state: header.state,
            mac: None,
            managed: false,
            owned: false,
            fixed: fixed_state || header.flags.contains(NeighbourFlags::ExtLearned),
        };
        for attribute in attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                    entry.address = Some(IpAddr::V4(*address));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                    entry.address = Some(IpAddr::V6(*address));
                }
                NeighbourAttribute::LinkLayerAddress(mac) => {
                    entry.mac = mac.as_slice().try_into().ok();
                }
                NeighbourAttribute::ExtFlags(flags) => {
                    entry.managed = flags.contains(NeighbourExtFlags::Managed);
                }
                NeighbourAttribute::Protocol(protocol) => {
                    entry.owned = *protocol == RouteProtocol::from(OWNER);
                }
                _ => {}
            }
        }
        entry
    }
}

fn find(client: &mut Client, key: Key) -> Result<Option<Entry>, NetlinkError> {
    match client.ask_one(RouteNetlinkMessage::GetNeighbour(message(key))) {
        Err(error) if error.refusal() == Some(libc::ENOENT) => Ok(None),
        answer => {
            let message = NeighbourMessage::parse(&*answer?).map_err(NetlinkError::Answer)?;
            Ok(Some(Entry::from(&message)))
        }
    }
}

/// Has the kernel use an entry now, and manage it or not. `NTF_USE` goes with every order: it
/// leaves state and address alone. Without it a kernel that does not know of managed entries would
/// take the order for a new entry of no state. It would also make a permanent entry one that
/// expires, so that nothing is ordered for entries that are fixed.
fn order(
    client: &mut Client,
    key: Key,
    management: NeighbourExtFlags,
    flags: u16,
) -> Result<(), NetlinkError> {
    let mut message = message(key);
    message.header.flags = NeighbourFlags::Use;
    message.attributes.push(NeighbourAttribute::ExtFlags(management));
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::from(OWNER)));
    client.ask(RouteNetlinkMessage::NewNeighbour(message), flags)?;
    Ok(())
}

/// Gives an entry back to the kernel's usual ageing.
fn release(client: &mut Client, key: Key) {
    let released = match find(client, key) {
        Ok(Some(entry)) if entry.is_ours() => order(client, key, NeighbourExtFlags::empty(), 0),
        found => found.map(|_| ()),
    };
    // Entries go with their interface.
    if let Err(error) = released {
        debug!(neighbour = %key.address, %error, "a neighbour could not be released");
    }
}

fn message(key: Key) -> NeighbourMessage {
    let (family, address) = match key.address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = key.interface;
    message.attributes = vec![NeighbourAttribute::Destination(address)];
    message
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn entry(state: NeighbourState) -> Entry {
        Entry { address: None, state, mac: None, managed: false, owned: false, fixed: false }
    }

    #[test]
    fn kernels_that_manage_no_entries_are_asked_when_an_entry_is_stale_or_fails() {
        let mut neighbours = Neighbours::default();
        let key = Key { interface: 1, address: Ipv4Addr::LOCALHOST.into() };
        let start = Instant::now();
        let mut asks = |entry: Option<NeighbourState>, seconds| {
            let entry = entry.map(self::entry);
            neighbours.keep(key, entry.as_ref(), start + Duration::from_secs(seconds))
        };
        assert!(asks(None, 0), "not known");
        assert!(!asks(Some(NeighbourState::Incomplete), 1));
        assert!(!asks(Some(NeighbourState::Failed), 3), "asked a moment ago");
        assert!(!asks(None, 3), "asked a moment ago");
        assert!(asks(Some(NeighbourState::Failed), 6));
        assert!(!asks(Some(NeighbourState::Reachable), 20));
        assert!(asks(Some(NeighbourState::Stale), 30));
        assert!(!asks(Some(NeighbourState::Delay), 40));
        assert!(!asks(Some(NeighbourState::Probe), 41));
    }

    #[test]
    fn kernels_that_manage_entries_are_asked_whenever_they_have_dropped_one() {
        let mut neighbours = Neighbours { manages: true, ..Neighbours::default() };
        let key = Key { interface: 1, address: Ipv4Addr::LOCALHOST.into() };
        let now = Instant::now();
        assert!(neighbours.keep(key, Some(&entry(NeighbourState::Reachable)), now));
        let managed = Entry { managed: true, ..entry(NeighbourState::Failed) };
        assert!(!neighbours.keep(key, Some(&managed), now));
        assert!(neighbours.keep(key, None, now));
    }
}
