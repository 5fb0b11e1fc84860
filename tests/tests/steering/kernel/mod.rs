//! The programs in the kernel, with their maps.

mod after;
mod check;
mod counters;
pub mod encode;
mod run;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::{Program, ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use balancer_user::kernel::object::OBJECT;
use common::maps::{MAX_DESTINATIONS, place};

pub use check::check;
pub use counters::Counters;
pub use run::{Arrival, Ran, skb_context};

use super::world::{DOMAIN, State, World};
use encode::Way;

/// Where the one receiver stands, and its session, and its domain. None of them at 0, where an index
/// that was forgotten would find it.
pub const RECEIVER: u32 = 3;
pub const SESSION: u32 = 5;
pub const DOMAIN_PLACE: u32 = 9;
/// The type of a map for redirection to devices, as `linux/bpf.h` numbers it.
const DEVMAP: u32 = 14;

/// Programs that are loaded, and the maps they work on.
pub struct Kernel {
    pub ebpf: Ebpf,
}

impl Kernel {
    /// The one of this process: loading takes the verifier a while.
    pub fn shared() -> Result<MutexGuard<'static, Kernel>> {
        static KERNEL: LazyLock<Result<Mutex<Kernel>>> = LazyLock::new(|| {
            let mut kernel = Kernel::load()?;
            // In a test run it may stay empty.
            kernel.broadcast()?;
            Ok(Mutex::new(kernel))
        });
        let kernel = KERNEL.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        // A case that failed leaves nothing behind that the next one does not set anew.
        Ok(kernel.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loads every program.
    pub fn load() -> Result<Self> {
        let cpus =
            aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("CPUS", u32::try_from(cpus)?)
            .load(OBJECT)
            .context("is the kernel without BPF?")?;
        for (name, program) in ebpf.programs_mut() {
            load(program).with_context(|| format!("loading {name}"))?;
        }
        Ok(Self { ebpf })
    }

    /// Sets everything as the world says.
    pub fn enter(&mut self, world: &World) -> Result<()> {
        let flow = encode::flow(world.exporter(), world.receiver(), DOMAIN);
        match world.known {
            true => self.hash::<encode::FlowBytes, u32>("FLOWS")?.insert(flow, DOMAIN_PLACE, 0)?,
            false => self.evict(&flow)?,
        }
        self.listen(world)?;
        self.set("RECEIVERS", RECEIVER, encode::receiver(world))?;
        for destination in 0..MAX_DESTINATIONS {
            let way = Way::of(world, destination);
            let bit = world.second_place >> destination & 1;
            self.set_way(destination, bit, &way)?;
            // What stands in the other place must not be used.
            self.set_way(destination, bit ^ 1, &Way { reach: 0, ..way })?;
        }
        self.set_state(world, &world.state)
    }

    /// Takes an element out of `FLOWS`, as the daemon does.
    fn evict(&mut self, flow: &encode::FlowBytes) -> Result<()> {
        // It may not be there.
        let _ = self.hash::<encode::FlowBytes, u32>("FLOWS")?.remove(flow);
        let mut evictions = self.array::<u32>("EVICTIONS")?;
        let count = evictions.get(&0, 0)?;
        Ok(evictions.set(0, count.wrapping_add(1), 0)?)
    }

    fn listen(&mut self, world: &World) -> Result<()> {
        let mut listeners = self.hash::<encode::ListenerBytes, u32>("LISTENERS")?;
        for bound in [true, false] {
            let key = encode::listener(world.receiver(), bound);
            match bound == world.bound {
                true => listeners.insert(key, RECEIVER, 0)?,
                false => drop(listeners.remove(&key)),
            }
        }
        Ok(())
    }

    /// Writes one of the two places of a destination.
    pub fn set_way(&mut self, destination: usize, bit: u32, way: &Way) -> Result<()> {
        let place = place(RECEIVER, u32::try_from(destination)?, bit);
        self.set("DESTINATIONS", place, way.encode())
    }

    /// Sets what programs change.
    pub fn set_state(&mut self, world: &World, state: &State) -> Result<()> {
        let sources: Vec<_> = (0..MAX_DESTINATIONS).map(|number| world.source(number)).collect();
        self.set("SESSIONS", SESSION, encode::session(world, state, &sources))?;
        self.set("DOMAINS", DOMAIN_PLACE, encode::domain(world, state))
    }

    /// What programs have changed.
    pub fn state(&mut self) -> Result<State> {
        let session = self.array("SESSIONS")?.get(&SESSION, 0)?;
        let domain = self.array("DOMAINS")?.get(&DOMAIN_PLACE, 0)?;
        encode::state(&session, &domain)
    }

    /// A map for copies of the receiver's packets, which has no device yet.
    pub fn broadcast(&mut self) -> Result<aya::maps::DevMap<MapData>> {
        let entries = u32::try_from(MAX_DESTINATIONS)?;
        let devices = aya_obj::Map::new_from_params(DEVMAP, 4, 8, entries, 0);
        let devices = Map::from_map_data(MapData::create(devices, "devices", None)?)?;
        let devices = aya::maps::DevMap::try_from(devices)?;
        let mut broadcasts: ArrayOfMaps<_, aya::maps::DevMap<MapData>> =
            self.map("BROADCASTS")?.try_into()?;
        broadcasts.set(RECEIVER, &devices, 0)?;
        Ok(devices)
    }

    /// An XDP program.
    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        Ok(self.program(name)?.try_into()?)
    }

    /// The program for traffic control.
    pub fn tc(&mut self) -> Result<&mut SchedClassifier> {
        Ok(self.program("ipfix_tc")?.try_into()?)
    }

    pub fn set<V: Pod>(&mut self, name: &str, index: u32, value: V) -> Result<()> {
        Ok(self.array::<V>(name)?.set(index, value, 0)?)
    }

    pub fn array<V: Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>> {
        Ok(self.map(name)?.try_into()?)
    }

    pub fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> Result<HashMap<&mut MapData, K, V>> {
        Ok(self.map(name)?.try_into()?)
    }

    pub fn per_cpu<V: Pod>(&mut self, name: &str) -> Result<PerCpuArray<&mut MapData, V>> {
        Ok(self.map(name)?.try_into()?)
    }

    pub fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))
    }

    fn program(&mut self, name: &str) -> Result<&mut Program> {
        self.ebpf.program_mut(name).with_context(|| format!("no program {name}"))
    }
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::TracePoint(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// What stands behind every handle to a map.
pub fn data(map: &Map) -> Result<&MapData, MapError> {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::CpuMap(data)
        | Map::DevMap(data)
        | Map::HashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data) => Ok(data),
        _ => Err(MapError::InvalidMapType { map_type: 0 }),
    }
}
