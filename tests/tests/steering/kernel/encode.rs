//! Values of the maps as bytes, field by field, and back.

use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use common::handover::Handover;
use common::maps::{
    ALL, Destination, Domain, Flow, Listener, MAX_DESTINATIONS, ROUND_ROBIN, Receiver, Session,
    Source, options_bit,
};
use common::sequence::Sequence;

use super::super::world::{State, World, interface, interface_mac, next_hop};
use super::{RECEIVER, SESSION};
use balancer_user::config::Mode;

pub type FlowBytes = [u8; size_of::<Flow>()];
pub type ListenerBytes = [u8; size_of::<Listener>()];
pub type ReceiverBytes = [u8; size_of::<Receiver>()];
pub type DestinationBytes = [u8; size_of::<Destination>()];
pub type SessionBytes = [u8; size_of::<Session>()];
pub type DomainBytes = [u8; size_of::<Domain>()];

/// A value under construction, zeros at first.
struct Value<const N: usize>([u8; N]);

impl<const N: usize> Value<N> {
    fn new() -> Self {
        Self([0; N])
    }

    fn bytes(mut self, at: usize, bytes: &[u8]) -> Self {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self
    }

    fn word(self, at: usize, word: u32) -> Self {
        self.bytes(at, &word.to_ne_bytes())
    }

    fn words(self, at: usize, words: &[u32]) -> Self {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.bytes(at, &bytes)
    }

    /// Address and port, each where the structure has it.
    fn socket(self, (address, port): (usize, usize), socket: SocketAddr) -> Self {
        self.bytes(address, &octets(socket.ip())).bytes(port, &socket.port().to_be_bytes())
    }
}

/// As the programs have it: IPv4 is mapped into IPv6.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

pub fn flow(exporter: SocketAddr, receiver: SocketAddr, domain: u32) -> FlowBytes {
    Value::new()
        .socket((offset_of!(Flow, source), offset_of!(Flow, source_port)), exporter)
        .socket((offset_of!(Flow, destination), offset_of!(Flow, destination_port)), receiver)
        .bytes(offset_of!(Flow, domain), &domain.to_be_bytes())
        .0
}

pub fn listener(receiver: SocketAddr, bound: bool) -> ListenerBytes {
    let value =
        Value::new().socket((offset_of!(Listener, address), offset_of!(Listener, port)), receiver);
    match bound {
        true => value.0,
        false => value.bytes(offset_of!(Listener, address), &[0; 16]).0,
    }
}

pub fn receiver(world: &World) -> ReceiverBytes {
    let mode = if world.mode == Mode::All { ALL } else { ROUND_ROBIN };
    let destinations = u32::try_from(world.destinations).unwrap_or(u32::MAX);
    Value::new()
        .word(offset_of!(Receiver, mode), mode)
        .word(offset_of!(Receiver, destinations), destinations)
        .word(offset_of!(Receiver, cpu), world.cpu)
        .word(offset_of!(Receiver, places), world.second_place)
        .0
}

/// The way to a destination.
pub struct Way {
    pub collector: SocketAddr,
    pub next_hop: [u8; 6],
    pub interface_mac: [u8; 6],
    pub interface: u32,
    pub mtu: u32,
    pub reach: u32,
    pub local: bool,
}

impl Way {
    pub fn of(world: &World, destination: usize) -> Self {
        Self {
            collector: world.collector(destination),
            next_hop: next_hop(destination),
            interface_mac: interface_mac(destination),
            interface: interface(destination),
            // A mix-up of destinations must show: only the first has the case's MTU.
            mtu: if destination == 0 { world.mtu } else { 1500 },
            reach: world.reach,
            local: world.local,
        }
    }

    pub fn encode(&self) -> DestinationBytes {
        Value::new()
            .socket(
                (offset_of!(Destination, address), offset_of!(Destination, port)),
                self.collector,
            )
            .bytes(offset_of!(Destination, next_hop), &self.next_hop)
            .bytes(offset_of!(Destination, interface_mac), &self.interface_mac)
            .word(offset_of!(Destination, interface), self.interface)
            .word(offset_of!(Destination, mtu), self.mtu)
            .word(offset_of!(Destination, reach), self.reach)
            .word(offset_of!(Destination, local), self.local.into())
            .0
    }
}

/// A session whose packets come from these sockets.
pub fn session(world: &World, state: &State, sources: &[SocketAddr]) -> SessionBytes {
    let Handover { lock, passed, marked, mark_number, handled, wanted } = state.handover;
    let handover = [lock, passed, marked, mark_number, handled, wanted];
    let value = Value::new()
        .words(offset_of!(Session, handover), &handover)
        .word(offset_of!(Session, shut), world.shut.into())
        .word(offset_of!(Session, receiver), RECEIVER)
        .word(offset_of!(Session, takers), world.takers)
        .word(offset_of!(Session, turn), state.turn)
        .word(offset_of!(Session, forwarded), state.forwarded)
        .bytes(offset_of!(Session, mark), &state.mark);
    let places = (offset_of!(Session, sources)..).step_by(size_of::<Source>());
    let put = |value: Value<_>, (at, source): (usize, &SocketAddr)| {
        let place = (at + offset_of!(Source, address), at + offset_of!(Source, port));
        value.socket(place, *source)
    };
    places.zip(sources).fold(value, put).0
}

pub fn domain(world: &World, state: &State) -> DomainBytes {
    let mut options = [0_u64; common::maps::OPTIONS_WORDS];
    for id in &world.options {
        let (word, bit) = options_bit(*id);
        if let Some(word) = options.get_mut(word) {
            *word |= bit;
        }
    }
    let options: Vec<u8> = options.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Value::new()
        .word(offset_of!(Domain, session), SESSION)
        .word(offset_of!(Domain, synced), !world.unsynced)
        .words(offset_of!(Domain, line), &[state.line.credited, state.line.holder])
        .words(offset_of!(Domain, outgoing), &state.outgoing)
        .bytes(offset_of!(Domain, options), &options)
        .0
}

/// What a program may have changed.
pub fn state(session: &SessionBytes, domain: &DomainBytes) -> Result<State> {
    let [lock, passed, marked, mark_number, handled, wanted] =
        words(session, offset_of!(Session, handover))?;
    let [credited, holder] = words(domain, offset_of!(Domain, line))?;
    let [turn] = words(session, offset_of!(Session, turn))?;
    let [forwarded] = words(session, offset_of!(Session, forwarded))?;
    let mark = session.get(offset_of!(Session, mark)..).and_then(|rest| rest.first_chunk());
    Ok(State {
        turn,
        line: Sequence { credited, holder },
        outgoing: words::<MAX_DESTINATIONS>(domain, offset_of!(Domain, outgoing))?,
        forwarded,
        handover: Handover { lock, passed, marked, mark_number, handled, wanted },
        mark: *mark.context("a mark beyond the value")?,
    })
}

fn words<const N: usize>(value: &[u8], at: usize) -> Result<[u32; N]> {
    let bytes = value.get(at..at + 4 * N).context("words beyond the value")?;
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into()?);
    }
    Ok(words)
}
