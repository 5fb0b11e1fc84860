//! An exporter session in the kernel path, as its handler works with it.

use std::{
    mem::offset_of,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::SeqCst},
};

use common::{
    handover::{Daemon, Handover},
    maps::{self, Domain, Flow, MARK_LEN, MAX_DESTINATIONS, Source, mark},
    message::Header,
};

use super::{
    Offload,
    address::{address, ip, port, socket, source},
    maps::{Index, Maps, flow as maps_flow, flow_key},
};
use crate::session::{Router, Steering, Targets};

/// Looks after which a session that has stayed the daemon's is out of step: the count is no use.
const PATIENCE: u8 = 2;
/// Looks after which, while datagrams are being lost, the way is shut.
const OVERLOADED: u8 = 4;

/// A session's place in the maps, and its hand-over.
pub struct Session {
    offload: Arc<Offload>,
    index: u32,
    daemon: Daemon,
    domains: Vec<Place>,
    /// Our addresses that the exporter has sent to.
    locals: Vec<IpAddr>,
    /// The exporter.
    peer: SocketAddr,
    /// Looks since the state became the daemon's.
    looks: u8,
    shut: bool,
    forwarded: u32,
    /// There was no place for all of it: it stays in userspace.
    refused: bool,
}

/// An observation domain's place in the maps.
#[derive(Clone, Copy)]
struct Place {
    domain: u32,
    index: u32,
    /// How many of the session's addresses its flows are installed for.
    locals: usize,
}

/// A session of a daemon that is no more.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// Its place in `SESSIONS`.
    pub index: u32,
    /// The exporter.
    pub peer: SocketAddr,
    /// The receiver's port.
    port: u16,
    /// Where its sockets were bound, for each destination that it had one to.
    pub sources: Vec<Option<SocketAddr>>,
    /// Our address, observation domain, and its place in `DOMAINS`.
    flows: Vec<(IpAddr, u32, u32)>,
}

impl Session {
    /// Takes a place for a session. Nothing is forwarded before [`Session::give`] has succeeded and a
    /// marked message has come through. `None`: all places are taken.
    pub fn open(offload: &Arc<Offload>, peer: SocketAddr) -> Option<Session> {
        let maps = &offload.maps;
        let index = maps.index().free_sessions.pop_front()?;
        let forwarded = maps.sessions.load(index)?.forwarded;
        maps.sessions.store(index, &empty_session(offload.receiver, forwarded));
        let daemon = Daemon::install(maps.sessions.handover(index)?);
        Some(Session { forwarded, ..Session::new(offload, index, peer, daemon) })
    }

    /// Goes on with the session of a daemon that is no more.
    pub fn adopt(offload: &Arc<Offload>, orphan: &Orphan) -> Option<Session> {
        let daemon = Daemon::resume(offload.maps.sessions.handover(orphan.index)?);
        let mut session = Session::new(offload, orphan.index, orphan.peer, daemon);
        for (local, domain, index) in &orphan.flows {
            if !session.locals.contains(local) {
                session.locals.push(*local);
            }
            if session.place(*domain).is_none() {
                session.domains.push(Place { domain: *domain, index: *index, locals: 0 });
            }
        }
        session.set_shut(false);
        Some(session)
    }

    fn new(offload: &Arc<Offload>, index: u32, peer: SocketAddr, daemon: Daemon) -> Session {
        Session {
            offload: Arc::clone(offload),
            index,
            daemon,
            domains: Vec::new(),
            locals: Vec::new(),
            peer,
            looks: 0,
            shut: false,
            forwarded: 0,
            refused: false,
        }
    }

    /// Makes the state the daemon's, and brings `router` up to what the kernel path has done.
    pub fn take(&mut self, router: &mut Router) {
        let Some(words) = self.offload.maps.sessions.handover(self.index) else { return };
        if self.daemon.take(words) {
            self.looks = 0;
            self.read(router);
        }
    }

    /// Takes note of a datagram that is about to be routed.
    pub fn handle(&mut self, local: Option<IpAddr>, datagram: &[u8]) {
        let Some(words) = self.offload.maps.sessions.handover(self.index) else { return };
        let counted = self.is_installed(local, datagram);
        if let Some(local) = local
            && !self.locals.contains(&local)
        {
            self.locals.push(local);
        }
        let (maps, index) = (&self.offload.maps, self.index);
        self.daemon.handle(words, counted, || marked(maps, index) == Some(mark(datagram)));
    }

    /// Gives the state to the kernel path, if all that came up has been handled. Everything that was
    /// routed must have been sent. `takers` are those that take turns, or get everything.
    pub fn give(&mut self, router: &Router, takers: Targets, sources: &[Option<SocketAddr>]) {
        if self.refused || !self.daemon.owns() {
            return;
        }
        self.write(router, takers, sources);
        let Some(words) = self.offload.maps.sessions.handover(self.index) else { return };
        if !self.refused && self.daemon.give(words) && self.shut {
            self.set_shut(false);
        }
    }

    /// Looks after the session, many times a second: a count that stays behind is wrong, and one that
    /// can't be caught up with while datagrams are being lost (`overloaded`) needs a pause.
    pub fn look_after(&mut self, overloaded: bool) {
        if !self.daemon.owns() || self.refused {
            return;
        }
        self.looks = self.looks.saturating_add(1);
        if self.looks.is_multiple_of(PATIENCE)
            && let Some(words) = self.offload.maps.sessions.handover(self.index)
        {
            self.daemon.ask(words);
        }
        if overloaded && self.looks >= OVERLOADED && !self.shut {
            self.set_shut(true);
        }
    }

    /// The destinations that take turns, or get everything, as they were last written.
    pub fn takers(&self) -> Targets {
        let word = self.offload.maps.sessions.word(self.index, offset_of!(maps::Session, takers));
        word.map_or(0, |word| word.load(SeqCst).into())
    }

    /// Whether the kernel path has forwarded anything since the last call.
    pub fn was_active(&mut self) -> bool {
        let word =
            self.offload.maps.sessions.word(self.index, offset_of!(maps::Session, forwarded));
        let forwarded = word.map_or(0, |word| word.load(SeqCst));
        std::mem::replace(&mut self.forwarded, forwarded) != forwarded
    }

    /// Takes the session out of the kernel path.
    pub fn close(self) {
        let maps = &self.offload.maps;
        let mut index = maps.index();
        for place in &self.domains {
            for local in &self.locals {
                index.evict(&self.flow(*local, place.domain));
            }
            index.free_domains.push_back(place.index);
        }
        index.free_sessions.push_back(self.index);
    }

    fn is_installed(&self, local: Option<IpAddr>, datagram: &[u8]) -> bool {
        let Some((local, header)) = local.zip(Header::read(datagram)) else { return false };
        let Some(place) = self.place(header.domain) else { return false };
        self.locals.iter().take(place.locals).any(|known| *known == local)
    }

    fn place(&self, domain: u32) -> Option<&Place> {
        self.domains.iter().find(|place| place.domain == domain)
    }

    fn read(&self, router: &mut Router) {
        let sessions = &self.offload.maps.sessions;
        let turn = sessions.word(self.index, offset_of!(maps::Session, turn));
        let states = self.domains.iter().filter_map(|place| {
            let state = self.offload.maps.domains.load(place.index)?;
            Some((place.domain, state.line, state.outgoing))
        });
        router.resume(turn.map_or(0, |turn| turn.load(SeqCst)), states);
    }

    fn write(&mut self, router: &Router, takers: Targets, sources: &[Option<SocketAddr>]) {
        let sessions = &self.offload.maps.sessions;
        let turn = u32::try_from(router.turn()).unwrap_or(0);
        sessions.store_part(self.index, offset_of!(maps::Session, turn), &turn);
        sessions.store_part(self.index, offset_of!(maps::Session, takers), &low_bits(takers));
        for (destination, socket) in sources.iter().enumerate().take(MAX_DESTINATIONS) {
            let at = offset_of!(maps::Session, sources) + destination * size_of::<Source>();
            sessions.store_part(self.index, at, &socket.map(source).unwrap_or_default());
        }
        for (place, state) in router.steering().enumerate() {
            if self.refused {
                return;
            }
            self.write_domain(place, &state);
        }
    }

    /// Writes the router's `nth` domain; we have it at the same place, as a rule.
    fn write_domain(&mut self, nth: usize, state: &Steering<'_>) {
        let known = |place: &Place| place.domain == state.domain;
        let at = match self.domains.get(nth) {
            Some(place) if known(place) => Some(nth),
            _ => self.domains.iter().position(known).or_else(|| self.add_domain(state.domain)),
        };
        let Some((at, place)) = at.and_then(|at| Some((at, *self.domains.get(at)?))) else {
            return self.refuse();
        };
        let mut outgoing = [0; MAX_DESTINATIONS];
        for (to, from) in outgoing.iter_mut().zip(state.outgoing) {
            *to = *from;
        }
        let domain = Domain {
            session: self.index,
            synced: low_bits(state.synced),
            options: state.options,
            line: state.line,
            outgoing,
        };
        self.offload.maps.domains.store(place.index, &domain);
        if place.locals < self.locals.len() {
            self.install(at, place);
        }
    }

    fn add_domain(&mut self, domain: u32) -> Option<usize> {
        let index = self.offload.maps.index().free_domains.pop_front()?;
        self.domains.push(Place { domain, index, locals: 0 });
        Some(self.domains.len() - 1)
    }

    /// Lets the program find a domain by every address that the exporter sends to. Messages that are
    /// on their way now have not been counted.
    fn install(&mut self, at: usize, place: Place) {
        let offload = Arc::clone(&self.offload);
        let mut maps = offload.maps.index();
        for local in self.locals.iter().skip(place.locals) {
            let key = flow_key(&self.flow(*local, place.domain));
            self.refused |= maps.flows.insert(key, place.index, 0).is_err();
        }
        drop(maps);
        if let Some(place) = self.domains.get_mut(at) {
            place.locals = self.locals.len();
        }
        if let Some(words) = offload.maps.sessions.handover(self.index) {
            self.daemon.ask(words);
        }
        if self.refused {
            self.refuse();
        }
    }

    /// Leaves the session to userspace for good.
    fn refuse(&mut self) {
        self.refused = true;
        let mut index = self.offload.maps.index();
        for place in &self.domains {
            for local in &self.locals {
                index.evict(&self.flow(*local, place.domain));
            }
        }
    }

    fn flow(&self, local: IpAddr, domain: u32) -> Flow {
        flow(self.peer, self.offload.port, local, domain)
    }

    fn set_shut(&mut self, shut: bool) {
        self.shut = shut;
        if let Some(word) =
            self.offload.maps.sessions.word(self.index, offset_of!(maps::Session, shut))
        {
            word.store(shut.into(), SeqCst);
        }
    }
}

impl Orphan {
    /// Takes it out of the maps.
    pub(super) fn evict(&self, index: &mut Index) {
        for (local, domain, place) in &self.flows {
            index.evict(&flow(self.peer, self.port, *local, *domain));
            if !index.free_domains.contains(place) {
                index.free_domains.push_back(*place);
            }
        }
        index.free_sessions.push_back(self.index);
    }
}

/// The sessions that the maps have for a receiver.
pub fn orphans(maps: &Maps, index: &Index, receiver: u32) -> Vec<Orphan> {
    let mut found: Vec<Orphan> = Vec::new();
    for (key, domain) in index.flows.iter().filter_map(Result::ok) {
        let flow = maps_flow(&key);
        let Some(place) = maps.domains.load(domain) else { continue };
        let Some(session) = maps.sessions.load(place.session) else { continue };
        if session.receiver != receiver {
            continue;
        }
        let [high, low] = flow.domain.map(u16::to_ne_bytes);
        let [a, b] = high;
        let [c, d] = low;
        let entry = (ip(flow.destination), u32::from_be_bytes([a, b, c, d]), domain);
        match found.iter_mut().find(|orphan| orphan.index == place.session) {
            Some(orphan) => orphan.flows.push(entry),
            None => found.push(Orphan {
                index: place.session,
                peer: socket(flow.source, flow.source_port),
                port: u16::from_be(flow.destination_port),
                sources: session.sources.iter().map(bound).collect(),
                flows: vec![entry],
            }),
        }
    }
    found
}

fn flow(peer: SocketAddr, listening: u16, local: IpAddr, domain: u32) -> Flow {
    let [a, b, c, d] = domain.to_be_bytes();
    Flow {
        source: address(peer.ip()),
        destination: address(local),
        source_port: port(peer.port()),
        destination_port: port(listening),
        domain: [[a, b], [c, d]].map(u16::from_ne_bytes),
    }
}

fn bound(source: &Source) -> Option<SocketAddr> {
    (source.port != 0).then(|| socket(source.address, source.port))
}

fn marked(maps: &Maps, index: u32) -> Option<[u8; MARK_LEN]> {
    maps.sessions.load(index).map(|session| session.mark)
}

fn empty_session(receiver: u32, forwarded: u32) -> maps::Session {
    maps::Session {
        handover: Handover::default(),
        shut: 0,
        receiver,
        takers: 0,
        turn: 0,
        forwarded,
        zeros: [0; 5],
        sources: [Source::default(); MAX_DESTINATIONS],
        mark: [0; MARK_LEN],
    }
}

fn low_bits(targets: Targets) -> u32 {
    u32::try_from(targets & u64::from(u32::MAX)).unwrap_or(0)
}
