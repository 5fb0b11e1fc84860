//! The maps. `docs/bpf-maps.md` explains each to operators; their contents are in `common::maps`.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, ArrayOfMaps, CpuMap, DevMap, HashMap, PerCpuArray, PerCpuHashMap},
    macros::btf_map,
};
use common::{
    maps::{
        DESTINATION_PLACES, Destination, DestinationCounters, Domain, Flow, Listener,
        MAX_DESTINATIONS, MAX_DOMAINS, MAX_INTERFACES, MAX_RECEIVERS, MAX_SESSIONS, Receiver,
        Session,
    },
    reason::ReceiverCounters,
};

use super::packet::Key;

/// CPUs that a receiver can be bound to.
const MAX_CPUS: usize = 1024;
/// Interfaces whose drops are counted.
const MAX_WATCHED: usize = 256;
/// Elements of `FLOWS` that a CPU remembers: a power of two.
pub const RECENT_PLACES: usize = 256;
/// The daemon works on these through a memory mapping.
const SHARED: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
pub static FLOWS: HashMap<Flow, u32, MAX_DOMAINS> = HashMap::new();
#[btf_map]
pub static EVICTIONS: Array<u32, 1, SHARED> = Array::new();
#[btf_map]
pub static RECENT: PerCpuArray<Recent, RECENT_PLACES> = PerCpuArray::new();
#[btf_map]
pub static LISTENERS: HashMap<Listener, u32, MAX_RECEIVERS> = HashMap::new();
#[btf_map]
pub static DOMAINS: Array<Domain, MAX_DOMAINS, SHARED> = Array::new();
#[btf_map]
pub static SESSIONS: Array<Session, MAX_SESSIONS, SHARED> = Array::new();
#[btf_map]
pub static RECEIVERS: Array<Receiver, MAX_RECEIVERS, SHARED> = Array::new();
#[btf_map]
pub static DESTINATIONS: Array<Destination, DESTINATION_PLACES, SHARED> = Array::new();
#[btf_map]
pub static BROADCASTS: ArrayOfMaps<DevMap<MAX_DESTINATIONS>, MAX_RECEIVERS> = ArrayOfMaps::new();
#[btf_map]
pub static DEVICES: DevMap<MAX_INTERFACES> = DevMap::new();
#[btf_map]
pub static CPUS: CpuMap<MAX_CPUS> = CpuMap::new();
#[btf_map]
pub static COPIES: PerCpuArray<Copies, MAX_INTERFACES> = PerCpuArray::new();
#[btf_map]
pub static EGRESS_DROPS: PerCpuHashMap<u32, u64, MAX_WATCHED> = PerCpuHashMap::new();
#[btf_map]
pub static RECEIVER_COUNTERS: PerCpuArray<ReceiverCounters, MAX_RECEIVERS> = PerCpuArray::new();
#[btf_map]
pub static DESTINATION_COUNTERS: PerCpuArray<
    DestinationCounters,
    { MAX_RECEIVERS * MAX_DESTINATIONS },
> = PerCpuArray::new();

/// Value of `RECENT`, the key is a hash: an element of `FLOWS` that this CPU has found.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Recent {
    /// Its key.
    pub key: Key,
    /// The number in `EVICTIONS` when it was there.
    pub evictions: u32,
    /// Its value.
    pub domain: u32,
}

/// Value of `COPIES`, the key is an interface: the copies of a message that were sent by it.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Copies {
    /// The message: its number in its session.
    pub number: u32,
    /// The session's place.
    pub session: u16,
    /// The destination after the one that the last copy went to.
    pub next: u16,
}
