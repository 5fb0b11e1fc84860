//! The maps, as the daemon works with them.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use aya::{
    Ebpf, Pod,
    maps::{CpuMap, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use common::{
    maps::{
        DESTINATION_PLACES, Destination, DestinationCounters, Domain, Flow, Listener,
        MAX_DESTINATIONS, MAX_DOMAINS, MAX_RECEIVERS, MAX_SESSIONS, Receiver, Session,
    },
    reason::ReceiverCounters,
};

use super::{
    LoadError,
    shared::{SharedArray, Words},
};

/// Names of the maps, which are their pins' as well.
pub const NAMES: [&str; 15] = [
    "BROADCASTS",
    "COPIES",
    "CPUS",
    "DESTINATIONS",
    "DESTINATION_COUNTERS",
    "DEVICES",
    "DOMAINS",
    "EGRESS_DROPS",
    "EVICTIONS",
    "FLOWS",
    "LISTENERS",
    "RECENT",
    "RECEIVERS",
    "RECEIVER_COUNTERS",
    "SESSIONS",
];

/// Bytes of a [`Flow`].
pub type FlowKey = [u8; 40];
/// Bytes of a [`Listener`].
pub type ListenerKey = [u8; 20];
type ReceiverWords = [u64; ReceiverCounters::LEN];
type DestinationWords = [u64; size_of::<DestinationCounters>() / 8];

/// What handlers and the control thread share.
pub struct Maps {
    /// `SESSIONS`.
    pub sessions: SharedArray<Session>,
    /// `DOMAINS`.
    pub domains: SharedArray<Domain>,
    /// `RECEIVERS`.
    pub receivers: SharedArray<Receiver>,
    /// `DESTINATIONS`.
    pub destinations: SharedArray<Destination>,
    /// For each receiver, the destinations whose neighbour does not answer: this one is for handlers, not
    /// for programs.
    pub unanswered: [AtomicU32; MAX_RECEIVERS],
    index: Mutex<Index>,
}

/// `FLOWS`, and which sessions and domains are free. Those that have been free for longest are taken
/// first: a program may still look at one that was in use a moment ago.
pub struct Index {
    /// `FLOWS`.
    pub flows: HashMap<MapData, FlowKey, u32>,
    evictions: SharedArray<u32>,
    /// Free places in `SESSIONS`.
    pub free_sessions: VecDeque<u32>,
    /// Free places in `DOMAINS`.
    pub free_domains: VecDeque<u32>,
}

/// What the control thread alone works with.
pub struct ControlMaps {
    /// `LISTENERS`.
    pub listeners: HashMap<MapData, ListenerKey, u32>,
    /// `CPUS`.
    pub cpus: CpuMap<MapData>,
    receiver_counters: PerCpuArray<MapData, ReceiverWords>,
    destination_counters: PerCpuArray<MapData, DestinationWords>,
}

impl Maps {
    /// Takes the maps out of a loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<(Maps, ControlMaps), LoadError> {
        let index = Index {
            flows: take(ebpf, "FLOWS")?,
            evictions: shared(ebpf, "EVICTIONS", 1)?,
            free_sessions: VecDeque::new(),
            free_domains: VecDeque::new(),
        };
        // An empty place in `RECENT` says 0: that is never the present number.
        index.count_eviction();
        let maps = Maps {
            sessions: shared(ebpf, "SESSIONS", MAX_SESSIONS)?,
            domains: shared(ebpf, "DOMAINS", MAX_DOMAINS)?,
            receivers: shared(ebpf, "RECEIVERS", MAX_RECEIVERS)?,
            destinations: shared(ebpf, "DESTINATIONS", DESTINATION_PLACES)?,
            unanswered: std::array::from_fn(|_| AtomicU32::new(0)),
            index: Mutex::new(index),
        };
        let control = ControlMaps {
            listeners: take(ebpf, "LISTENERS")?,
            cpus: take(ebpf, "CPUS")?,
            receiver_counters: take(ebpf, "RECEIVER_COUNTERS")?,
            destination_counters: take(ebpf, "DESTINATION_COUNTERS")?,
        };
        Ok((maps, control))
    }

    /// `FLOWS` and the free places.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Takes an element out of `FLOWS`, and out of what programs remember of it. It may not be there.
    pub fn evict(&mut self, flow: &Flow) {
        let _ = self.flows.remove(&flow_key(flow));
        self.count_eviction();
    }

    fn count_eviction(&self) {
        let Some(count) = self.evictions.word(0, 0) else { return };
        if count.fetch_add(1, SeqCst) == u32::MAX {
            count.fetch_add(1, SeqCst);
        }
    }
}

impl ControlMaps {
    /// Lets what was counted for destinations follow them: `places` says where each of the receiver's
    /// destinations was before. No program may work for the receiver meanwhile.
    pub fn move_counters(&mut self, receiver: u32, places: &[Option<u32>]) {
        let row = receiver * u32::try_from(MAX_DESTINATIONS).unwrap_or(0);
        let counters = &mut self.destination_counters;
        let before = |place: &Option<u32>| counters.get(&(row + (*place)?), 0).ok();
        let moved: Vec<_> = places.iter().map(before).collect();
        let nothing = std::iter::repeat_with(|| None);
        for (place, values) in (row..).zip(moved.into_iter().chain(nothing)).take(MAX_DESTINATIONS)
        {
            // Counters that are not right are no reason not to serve.
            if let Some(values) = values.or_else(|| on_every_cpu(DestinationWords::default())) {
                let _ = counters.set(place, values, 0);
            }
        }
    }

    /// Lets a receiver begin to count at zero.
    pub fn clear_counters(&mut self, receiver: u32) {
        self.move_counters(receiver, &[]);
        if let Some(zeros) = on_every_cpu([0; ReceiverCounters::LEN]) {
            let _ = self.receiver_counters.set(receiver, zeros, 0);
        }
    }

    /// What the programs have counted for a receiver, over all CPUs.
    pub fn receiver_counters(&self, receiver: u32) -> ReceiverWords {
        let values = self.receiver_counters.get(&receiver, 0);
        values.map(|values| sum(values.iter())).unwrap_or([0; ReceiverCounters::LEN])
    }

    /// Messages and bytes that the programs have sent to a destination, over all CPUs.
    pub fn destination_counters(&self, receiver: u32, destination: u32) -> DestinationWords {
        let row = u32::try_from(MAX_DESTINATIONS).unwrap_or(0);
        let values = self.destination_counters.get(&(receiver * row + destination), 0);
        values.map(|values| sum(values.iter())).unwrap_or_default()
    }
}

/// The bytes of a [`Flow`].
pub fn flow_key(flow: &Flow) -> FlowKey {
    let Flow { source, destination, source_port, destination_port, domain } = *flow;
    let words = source.into_iter().chain(destination).chain([source_port, destination_port]);
    bytes(words.chain(domain))
}

/// The bytes of a [`Listener`].
pub fn listener_key(listener: &Listener) -> ListenerKey {
    let Listener { address, port, zeros } = *listener;
    bytes(address.into_iter().chain([port, zeros]))
}

/// The [`Flow`] that has these bytes.
pub fn flow(key: &FlowKey) -> Flow {
    let (words, _) = key.as_chunks::<2>();
    let mut words = words.iter().map(|word| u16::from_ne_bytes(*word));
    let mut next = || words.next().unwrap_or_default();
    Flow {
        source: std::array::from_fn(|_| next()),
        destination: std::array::from_fn(|_| next()),
        source_port: next(),
        destination_port: next(),
        domain: std::array::from_fn(|_| next()),
    }
}

fn bytes<const N: usize>(words: impl Iterator<Item = u16>) -> [u8; N] {
    let mut bytes = words.flat_map(u16::to_ne_bytes);
    std::array::from_fn(|_| bytes.next().unwrap_or_default())
}

/// A value for each CPU.
pub fn on_every_cpu<T: Pod>(value: T) -> Option<PerCpuValues<T>> {
    PerCpuValues::try_from(vec![value; nr_cpus().ok()?]).ok()
}

fn sum<'a, const N: usize>(values: impl Iterator<Item = &'a [u64; N]>) -> [u64; N] {
    let add = |sum: [u64; N], value: &[u64; N]| {
        let mut sums = sum.iter().zip(value).map(|(a, b)| a.wrapping_add(*b));
        std::array::from_fn(|_| sums.next().unwrap_or_default())
    };
    values.fold([0; N], add)
}

/// Takes a map out of a loaded object.
pub fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).ok_or(LoadError::Missing(name))?;
    map.try_into().map_err(LoadError::map(name))
}

fn shared<T: Words>(
    ebpf: &mut Ebpf,
    name: &'static str,
    len: usize,
) -> Result<SharedArray<T>, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => SharedArray::map(map.fd(), len).map_err(LoadError::map(name)),
        _ => Err(LoadError::Missing(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_its_bytes() {
        let flow_ = Flow {
            source: [0, 0, 0, 0, 0, 0xffff, 1, 2],
            destination: [3, 4, 5, 6, 7, 8, 9, 10],
            source_port: 11,
            destination_port: 12,
            domain: [13, 14],
        };
        assert_eq!(flow(&flow_key(&flow_)), flow_);
    }
}
