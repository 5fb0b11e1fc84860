//! What stands in the maps that the kernel programs and the daemon share.
//!
//! Addresses and ports are 16-bit words in network byte order, as programs find them in packets;
//! everything else is in the host's. IPv4 addresses are mapped into IPv6 (RFC 4291 section
//! 2.5.5.2). No value has padding. What programs need for each message stands in as few cache lines of
//! 64 bytes as may be.

use crate::{handover::Handover, sequence::Sequence};

/// Version of everything in this module, and of what programs tell each other. It stands in the pins' directory: a program of another
/// version must not work on these maps.
pub const ABI: u32 = 3;
/// Receivers that the kernel path serves.
pub const MAX_RECEIVERS: usize = 64;
/// Destinations of a receiver that the kernel path serves.
pub const MAX_DESTINATIONS: usize = 16;
/// Exporter sessions in the kernel path, over all receivers.
pub const MAX_SESSIONS: usize = 4096;
/// Observation domains of these sessions, together.
pub const MAX_DOMAINS: usize = 8192;
/// Interfaces that copies of All leave by have lower numbers than this.
pub const MAX_INTERFACES: usize = 1024;
/// Words of [`Domain::options`].
pub const OPTIONS_WORDS: usize = 4;
/// First bytes of a message by which the daemon recognises it.
pub const MARK_LEN: usize = 64;
/// [`Receiver::cpu`] of a receiver without `TASKSET`.
pub const ANY_CPU: u32 = u32::MAX;

/// An IP address; IPv4 is mapped into IPv6.
pub type Address = [u16; 8];
/// A port in network byte order.
pub type Port = u16;
/// An Ethernet address.
pub type Mac = [u16; 3];

/// Key of `FLOWS`: an observation domain of an exporter session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// The exporter's address.
    pub source: Address,
    /// Our address that it exports to.
    pub destination: Address,
    /// The exporter's port.
    pub source_port: Port,
    /// The receiver's port.
    pub destination_port: Port,
    /// Observation domain id, as it stands in the message.
    pub domain: [u16; 2],
}

/// Key of `LISTENERS`: where a receiver listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Listener {
    /// Its address; all zeros for any.
    pub address: Address,
    /// Its port.
    pub port: Port,
    /// Zeros.
    pub zeros: u16,
}

/// Value of `RECEIVERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Receiver {
    /// 0: RoundRobin, 1: All.
    pub mode: u32,
    /// How many destinations it has.
    pub destinations: u32,
    /// The CPU that its work is to be done on, or [`ANY_CPU`].
    pub cpu: u32,
    /// For each destination one bit: in which of its two places in `DESTINATIONS` it stands.
    pub places: u32,
}

/// [`Receiver::mode`] of RoundRobin.
pub const ROUND_ROBIN: u32 = 0;
/// [`Receiver::mode`] of All.
pub const ALL: u32 = 1;

/// Value of `DESTINATIONS`: the way to a destination.
///
/// A destination has two places, see [`place`]: the daemon writes the one that is not in use, and
/// then changes [`Receiver::places`]. So no program sees half a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Destination {
    /// The collector's address.
    pub address: Address,
    /// The collector's port.
    pub port: Port,
    /// Ethernet address of the next hop.
    pub next_hop: Mac,
    /// Ethernet address of our interface.
    pub interface_mac: Mac,
    /// Zeros.
    pub zeros: [u16; 9],
    /// Interface that packets leave by.
    pub interface: u32,
    /// Longest IP packet that the way takes.
    pub mtu: u32,
    /// From where there is a way at present: [`FROM_XDP`], [`FROM_TC`], [`FROM_HOST`] added up.
    pub reach: u32,
    /// 1: the collector is on this host.
    pub local: u32,
}

/// [`Destination::reach`]: for packets that an XDP program redirects.
pub const FROM_XDP: u32 = 1;
/// [`Destination::reach`]: for packets that come in at a TC hook.
pub const FROM_TC: u32 = 2;
/// [`Destination::reach`]: for packets of exporters on this host.
pub const FROM_HOST: u32 = 4;

/// Where a destination of a receiver stands in `DESTINATIONS`.
#[inline(always)]
pub const fn place(receiver: u32, destination: u32, bit: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "16")]
    let row = MAX_DESTINATIONS as u32;
    (receiver * row + destination) * 2 + bit
}

/// Places in `DESTINATIONS`.
pub const DESTINATION_PLACES: usize = MAX_RECEIVERS * MAX_DESTINATIONS * 2;

/// Value of `SESSIONS`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Session {
    /// Who may touch `turn` and the domains' state.
    pub handover: Handover<u32>,
    /// 1: what can't be forwarded is dropped, until the daemon has caught up.
    pub shut: u32,
    /// The receiver's index in `RECEIVERS`.
    pub receiver: u32,
    /// One bit for each destination that takes turns (RoundRobin).
    pub takers: u32,
    /// Destination from which on the next turn is looked for (RoundRobin).
    pub turn: u32,
    /// Messages forwarded, modulo 2^32: a sign of life. It goes on in the next session that has the
    /// place: copies know the message by it (All).
    pub forwarded: u32,
    /// Zeros.
    pub zeros: [u32; 5],
    /// Address and port of the session's socket to each destination.
    pub sources: [Source; MAX_DESTINATIONS],
    /// First bytes of the marked message, see [`mark`].
    pub mark: [u8; MARK_LEN],
}

/// Where a session's packets to a destination come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Source {
    /// Our address.
    pub address: Address,
    /// Our port.
    pub port: Port,
    /// Zeros.
    pub zeros: u16,
}

/// Value of `DOMAINS`: an observation domain of a session.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Domain {
    /// The session's index in `SESSIONS`.
    pub session: u32,
    /// Destinations that have its templates and options, one bit each.
    pub synced: u32,
    /// One bit for each options template's id, modulo 256, see [`options_bit`]. A set of flow data
    /// that shares a bit with one goes up like options data: slower, never wrong.
    pub options: [u64; OPTIONS_WORDS],
    /// The incoming number line (RoundRobin).
    pub line: Sequence,
    /// Number of the next record for each destination (RoundRobin).
    pub outgoing: [u32; MAX_DESTINATIONS],
}

/// Word and bit of [`Domain::options`] that the set id `id` has.
#[inline(always)]
pub const fn options_bit(id: u16) -> (usize, u64) {
    ((id >> 6) as usize & (OPTIONS_WORDS - 1), 1 << (id & 63))
}

/// The first bytes of `message`, by which the daemon recognises it: 64, or those of the header
/// where there are fewer, and zeros.
pub fn mark(message: &[u8]) -> [u8; MARK_LEN] {
    let mut mark = [0; MARK_LEN];
    let len = if message.len() >= MARK_LEN { MARK_LEN } else { crate::message::HEADER_LEN };
    if let (Some(to), Some(from)) = (mark.get_mut(..len), message.get(..len)) {
        to.copy_from_slice(from);
    }
    mark
}

/// Value of `DESTINATION_COUNTERS`, one for each CPU; the key is [`place`] without the bit.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct DestinationCounters {
    /// Messages sent.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

const _: () = {
    assert!(size_of::<Flow>() == 40);
    assert!(size_of::<Listener>() == 20);
    assert!(size_of::<Receiver>() == 16);
    assert!(size_of::<Destination>() == 64);
    assert!(size_of::<Session>() == 24 + 40 + 16 * 20 + 64);
    assert!(size_of::<Domain>() == 8 + 32 + 8 + 64);
};
