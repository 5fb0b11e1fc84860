//! The interfaces that XDP programs send by, and where copies for receivers of All go out.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{ArrayOfMaps, DevMap, Map, MapData, MapError},
    programs::ProgramFd,
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_DEVMAP;

use super::{LoadError, maps::take};
use crate::net::barrier::wait_for_packets_in_hand;

/// The device maps.
///
/// The kernel collects what the programs of one poll send to an interface. When the poll ends it runs all
/// of that through the program which the first packet's device map has for the interface, or through none
/// (`bq_enqueue` in kernel/bpf/devmap.c). So an interface has the program of copies in `DEVICES` as well,
/// by which everything else goes out, before any copy does and until after the last one.
pub struct Devices {
    /// `BROADCASTS`.
    broadcasts: ArrayOfMaps<MapData, DevMap<MapData>>,
    /// `DEVICES`.
    devices: DevMap<MapData>,
    /// What is in it: interfaces, and whether copies go out there.
    entered: BTreeMap<u32, bool>,
    /// The program that copies run through.
    copier: ProgramFd,
}

impl Devices {
    /// Takes the maps out of a loaded object. The interfaces that a daemon before this one has entered
    /// stay, where copies go out with this one's program.
    pub fn take(ebpf: &mut Ebpf, copier: ProgramFd) -> Result<Devices, LoadError> {
        let (broadcasts, devices) = (take(ebpf, "BROADCASTS")?, take(ebpf, "DEVICES")?);
        let mut devices = Devices { broadcasts, devices, entered: BTreeMap::new(), copier };
        for interface in 0..devices.devices.len() {
            if let Ok(entry) = devices.devices.get(interface, 0)
                && devices.enter(interface, entry.prog_id.is_some()).is_err()
            {
                // It is of another network namespace.
                devices.leave(interface);
            }
        }
        Ok(devices)
    }

    /// Lets copies for a receiver go out by these interfaces, one entry for each destination.
    pub fn broadcast(&mut self, receiver: u32, interfaces: &[u32]) -> Result<(), LoadError> {
        let mut changed = false;
        for interface in interfaces {
            if self.entered.get(interface) != Some(&true) {
                self.enter(*interface, true)?;
                changed = true;
            }
        }
        if changed {
            wait_for_packets_in_hand();
        }
        let copies = self.copies(interfaces)?;
        self.broadcasts.set(receiver, &copies, 0).map_err(LoadError::map("BROADCASTS"))
    }

    /// These are the interfaces that anything is sent by now, and whether copies go out there.
    pub fn keep(&mut self, used: &BTreeMap<u32, bool>) {
        if self.entered == *used {
            return;
        }
        wait_for_packets_in_hand();
        let unused: Vec<u32> = self
            .entered
            .keys()
            .filter(|interface| !used.contains_key(*interface))
            .copied()
            .collect();
        unused.into_iter().for_each(|interface| self.leave(interface));
        for (interface, copies) in used {
            if self.entered.get(interface) != Some(copies) {
                // One that is not entered is found by its number.
                let _ = self.enter(*interface, *copies);
            }
        }
    }

    fn enter(&mut self, interface: u32, copies: bool) -> Result<(), LoadError> {
        let program = copies.then_some(&self.copier);
        let set = self.devices.set(interface, interface, program, 0);
        set.map_err(LoadError::map("DEVICES"))?;
        self.entered.insert(interface, copies);
        Ok(())
    }

    fn leave(&mut self, interface: u32) {
        // 0: none. An interface that stays costs time, and nothing else.
        let _ = self.devices.set(interface, 0, None, 0);
        self.entered.remove(&interface);
    }

    fn copies(&self, interfaces: &[u32]) -> Result<DevMap<MapData>, LoadError> {
        // The kernel looks at every entry for each packet, empty ones included.
        let entries = u32::try_from(interfaces.len().max(1)).unwrap_or(1);
        // Key: four bytes; value: an interface and a program, four bytes each.
        let shape = aya_obj::Map::new_from_params(BPF_MAP_TYPE_DEVMAP as u32, 4, 8, entries, 0);
        let data =
            MapData::create(shape, "BROADCAST", None).map_err(LoadError::map("BROADCAST"))?;
        let devices: Result<DevMap<MapData>, MapError> = Map::DevMap(data).try_into();
        let mut devices = devices.map_err(LoadError::map("BROADCAST"))?;
        for (place, interface) in (0..).zip(interfaces) {
            let set = devices.set(place, *interface, Some(&self.copier), 0);
            set.map_err(LoadError::map("BROADCAST"))?;
        }
        Ok(devices)
    }
}
