//! What interfaces do not take of the frames that XDP programs send by them.

use std::collections::BTreeMap;

use aya::maps::{MapData, PerCpuHashMap};
use tracing::info;

use super::{
    maps::{on_every_cpu, take},
    programs::Programs,
};
use crate::route::Interface;

/// The counters, while the daemon runs.
pub struct Egress {
    /// `EGRESS_DROPS`.
    drops: PerCpuHashMap<MapData, u32, u64>,
    /// The host's interfaces.
    names: BTreeMap<u32, String>,
}

impl Egress {
    /// Begins to count. `None` where the kernel has no trace points: nobody is served worse for it.
    pub fn start(programs: &mut Programs) -> Option<Egress> {
        let started =
            programs.count_egress().and_then(|()| take(programs.object(), "EGRESS_DROPS"));
        match started {
            Ok(drops) => Some(Egress { drops, names: BTreeMap::new() }),
            Err(error) => {
                info!("frames that an interface does not take are not counted: {error}");
                None
            }
        }
    }

    /// Counts at these of the host's interfaces, beside those where it has counted before.
    pub fn follow(&mut self, interfaces: &[Interface], used: impl Iterator<Item = u32>) {
        self.names = interfaces.iter().map(|it| (it.index, it.name.clone())).collect();
        let known: Vec<u32> = self.drops.keys().filter_map(Result::ok).collect();
        // The index of one that is no more may come to be another one's.
        for gone in known.iter().filter(|index| !self.names.contains_key(*index)) {
            let _ = self.drops.remove(gone);
        }
        for new in used.filter(|index| !known.contains(index)) {
            if let Some(nothing) = on_every_cpu(0) {
                // Without room for it, it is not counted.
                let _ = self.drops.insert(new, nothing, 0);
            }
        }
    }

    /// Frames that were not taken, by the interface's name.
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let drops = self.drops.iter().filter_map(Result::ok);
        let named = drops.filter_map(|(index, counts)| {
            Some((self.names.get(&index)?.clone(), counts.iter().sum()))
        });
        named.collect()
    }
}
