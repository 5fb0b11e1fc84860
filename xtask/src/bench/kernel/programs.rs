//! Programs of the two objects: loaded, attached, and told where to send.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{DevMap, MapData, PerCpuArray};
use aya::programs::{Xdp, XdpMode};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use ipfix_balancer_tests::lab::Interface;
use nix::net::if_::if_nametoindex;

/// The object, as built.
pub struct Object {
    bytes: Vec<u8>,
}

impl Object {
    /// Reads it.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { bytes: fs::read(path).with_context(|| path.display().to_string())? })
    }

    /// Loads its maps, with numbers for the programs' constants.
    pub fn load(&self, constants: &[(&str, u32)]) -> Result<Ebpf> {
        let mut loader = EbpfLoader::new();
        for (name, value) in constants {
            loader.override_global(name, value, true);
        }
        Ok(loader.load(&self.bytes)?)
    }

    /// Loads the balancer's maps, which are as many CPUs as there are.
    pub fn load_balancer(&self) -> Result<Ebpf> {
        let mut loader = EbpfLoader::new();
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        loader.map_max_entries("CPUS", u32::try_from(cpus)?);
        Ok(loader.load(&self.bytes)?)
    }
}

/// Loads a program of the object.
pub fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = ebpf.program_mut(name).context(name.to_owned())?.try_into()?;
    program.load().context(name.to_owned())?;
    Ok(program)
}

/// Attaches a program at the driver of an interface. It stays as long as the object.
pub fn attach(ebpf: &mut Ebpf, name: &str, interface: &Interface) -> Result<()> {
    let program = program(ebpf, name)?;
    interface.namespace().run(|| {
        let index = if_nametoindex(interface.name())?;
        program.attach_to_if_index(index, XdpMode::Driver)?;
        Ok(())
    })
}

/// Its number, by which programs know it.
pub fn index(interface: &Interface) -> Result<u32> {
    interface.namespace().run(|| Ok(if_nametoindex(interface.name())?))
}

/// A program that counts what comes in by an interface and drops it, and keeps times on the way.
pub struct Sink {
    arrived: PerCpuArray<MapData, u64>,
    times: PerCpuArray<MapData, u64>,
    _program: Ebpf,
}

impl Sink {
    /// Attaches it.
    pub fn attach(object: &Object, interface: &Interface) -> Result<Self> {
        let mut ebpf = object.load(&[])?;
        attach(&mut ebpf, "bench_sink", interface)?;
        let arrived = ebpf.take_map("ARRIVED").context("no ARRIVED")?.try_into()?;
        let times = ebpf.take_map("TIMES").context("no TIMES")?.try_into()?;
        Ok(Self { arrived, times, _program: ebpf })
    }

    /// Datagrams so far.
    pub fn arrived(&self) -> Result<u64> {
        Ok(self.arrived.get(&0, 0)?.iter().sum())
    }

    /// How many of those with a time stamp took so many microseconds, so far. The last count is of all
    /// that took longer.
    pub fn times(&self) -> Result<Vec<u64>> {
        (0..self.times.len()).map(|micros| Ok(self.times.get(&micros, 0)?.iter().sum())).collect()
    }
}

/// Attaches what the balancer's programs are compared with: it sends every packet by `out`, in so
/// many copies.
pub fn attach_bare(object: &Object, at: &Interface, out: &Interface, copies: u32) -> Result<Ebpf> {
    let out = index(out)?;
    if copies == 1 {
        let mut ebpf = object.load(&[("INTERFACE", out)])?;
        attach(&mut ebpf, "bench_redirect", at)?;
        return Ok(ebpf);
    }
    // The kernel looks at every entry, empty ones included: no more of them than there are copies.
    let mut ebpf = EbpfLoader::new().map_max_entries("DEVICES", copies).load(&object.bytes)?;
    let mut devices: DevMap<_> = ebpf.map_mut("DEVICES").context("no DEVICES")?.try_into()?;
    at.namespace()
        .run(|| (0..copies).try_for_each(|place| Ok(devices.set(place, out, None, 0)?)))?;
    attach(&mut ebpf, "bench_broadcast", at)?;
    Ok(ebpf)
}
