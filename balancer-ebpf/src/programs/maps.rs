//! The maps. `docs/bpf-maps.md` explains each to operators; their contents are in `common::maps`.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{
        Array, ArrayOfMaps, CpuMap, DevMap, HashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap,
    },
    macros::btf_map,
};
use common::{
    maps::{
        DESTINATION_PLACES, Destination, DestinationCounters, Domain, Flow, Listener,
        MAX_DESTINATIONS, MAX_DOMAINS, MAX_RECEIVERS, MAX_SESSIONS, Receiver, Session,
    },
    reason::ReceiverCounters,
};

/// CPUs that a receiver can be bound to.
const MAX_CPUS: usize = 1024;
/// Interfaces that packets leave by.
const MAX_INTERFACES: usize = 256;
/// The daemon works on these through a memory mapping.
const SHARED: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
pub static FLOWS: HashMap<Flow, u32, MAX_DOMAINS> = HashMap::new();
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
pub static CPUS: CpuMap<MAX_CPUS> = CpuMap::new();
#[btf_map]
pub static COPIES: LruPerCpuHashMap<u32, Copies, MAX_INTERFACES> = LruPerCpuHashMap::new();
#[btf_map]
pub static PACKETS: PerCpuArray<Packets, 1> = PerCpuArray::new();
#[btf_map]
pub static EGRESS_DROPS: PerCpuHashMap<u32, u64, MAX_INTERFACES> = PerCpuHashMap::new();
#[btf_map]
pub static RECEIVER_COUNTERS: PerCpuArray<ReceiverCounters, MAX_RECEIVERS> = PerCpuArray::new();
#[btf_map]
pub static DESTINATION_COUNTERS: PerCpuArray<
    DestinationCounters,
    { MAX_RECEIVERS * MAX_DESTINATIONS },
> = PerCpuArray::new();

/// Value of `COPIES`, the key is an interface: the copies of a packet that were sent by it.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Copies {
    /// The packet's number.
    pub packet: u64,
    /// The destination after the one that the last copy went to.
    pub next: u32,
    /// Zeros.
    pub zeros: u32,
}

/// Value of `PACKETS`.
#[repr(C)]
pub struct Packets {
    /// Packets that were copied by this CPU.
    pub copied: u64,
}
