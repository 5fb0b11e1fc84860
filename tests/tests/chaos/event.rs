//! What may happen in a run.

use crate::malformed::Fault;
use crate::wiring::RECEIVERS;

/// One collector: that of a receiver on a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub receiver: usize,
    pub site: usize,
}

/// An event begins, and ends in its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A collector crashes, and is started again.
    Kill(Place),
    /// A collector resets its connections.
    Reset(Place),
    /// A collector reads nothing.
    Stall(Place),
    /// A host has lost its address: nobody answers, nobody says so.
    BlackHole(usize),
    /// The balancer's interface towards a host is off.
    LinkDown(usize),
    /// The balancer has no route to a host.
    RouteGone(usize),
    /// The balancer's neighbour entry of a host is deleted.
    Forgotten(usize),
    /// A host has another MAC address, which the balancer may learn when the event ends.
    NewMac(usize),
    /// The disk of the dump files is full.
    DiskFull,
    /// A receiver has a destination more.
    Reload(usize),
    /// The daemon is replaced in order: by its service manager, or by another daemon.
    Restart,
    /// The daemon is killed, and its service manager starts the next.
    KillDaemon,
    /// One more exporter of a receiver sends something wrong.
    Malformed(usize, Fault),
}

impl Kind {
    /// Whether two events may not be under way together: the end of one would undo the other.
    pub fn excludes(&self, other: &Kind) -> bool {
        let both = |one: Option<usize>, other: Option<usize>| one.is_some() && one == other;
        let daemon = |kind: &Kind| kind.ends_the_daemon() || matches!(kind, Kind::Reload(_));
        both(self.network(), other.network())
            || self.place().is_some_and(|place| other.place() == Some(place))
            || (daemon(self) && daemon(other))
            || (*self == Kind::DiskFull && *other == Kind::DiskFull)
    }

    /// Whether datagrams to this collector can be lost by it, and nobody could have kept them.
    pub fn loses_datagrams_to(&self, place: Place) -> bool {
        match self {
            Kind::Kill(at) => *at == place,
            Kind::BlackHole(site) | Kind::LinkDown(site) | Kind::NewMac(site) => {
                *site == place.site
            }
            _ => false,
        }
    }

    /// Whether datagrams to this collector may have to wait because of it.
    pub fn keeps_away(&self, place: Place) -> bool {
        self.loses_datagrams_to(place) || *self == Kind::RouteGone(place.site)
    }

    /// Whether messages to this collector, or to the files of a receiver that records, may have to wait in
    /// the daemon because of it.
    pub fn holds_up(&self, place: Place) -> bool {
        match self {
            Kind::Kill(at) | Kind::Reset(at) | Kind::Stall(at) => *at == place,
            Kind::DiskFull => RECEIVERS[place.receiver].mode.is_none(),
            _ => self.keeps_away(place),
        }
    }

    /// Whether TCP connections to this collector break by it, or may.
    pub fn breaks_connections_to(&self, place: Place) -> bool {
        match self {
            Kind::Kill(at) | Kind::Reset(at) => *at == place,
            _ => self.keeps_away(place),
        }
    }

    /// Whether a host is not there and nobody says so.
    pub fn silences(&self, host: usize) -> bool {
        matches!(self, Kind::BlackHole(site) | Kind::NewMac(site) if *site == host)
    }

    /// Whether a daemon's life ends by it.
    pub fn ends_the_daemon(&self) -> bool {
        matches!(self, Kind::Restart | Kind::KillDaemon)
    }

    /// The host whose network it changes.
    fn network(&self) -> Option<usize> {
        match self {
            Kind::BlackHole(site)
            | Kind::LinkDown(site)
            | Kind::RouteGone(site)
            | Kind::Forgotten(site)
            | Kind::NewMac(site) => Some(*site),
            _ => None,
        }
    }

    /// The collector that it befalls.
    fn place(&self) -> Option<Place> {
        match self {
            Kind::Kill(place) | Kind::Reset(place) | Kind::Stall(place) => Some(*place),
            _ => None,
        }
    }
}
