//! What the programs cost before the first packet: the verifier's work, and memory.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use ipfix_balancer_tests::lab::available;

use super::kernel::{self, Kernel};

/// Instructions that the verifier may look at, for each program. It gives up at a million, and other
/// kernels see more states than this one: so much must be left to them. A daemon waits for it at
/// each start, about two seconds for a million.
const VERIFIED: u32 = 250_000;
/// Octets of machine code for each program: more than the first cache of a CPU holds (32 KiB) would
/// cost at every packet.
const JITED: u32 = 24 * 1024;
/// Octets of all maps together, on a machine with two CPUs: fixed by the limits in `common::maps`,
/// whatever is configured.
const MEMORY: u64 = 4 << 20;
/// Octets that every further CPU may add: its counters.
const MEMORY_EACH_CPU: u64 = 64 << 10;

#[test]
fn programs_stay_within_their_budget() {
    if !available() {
        return;
    }
    let kernel = Kernel::shared().unwrap();
    for (name, program) in kernel.ebpf.programs() {
        let info = program.info().unwrap();
        let verified = info.verified_instruction_count().unwrap();
        let jited = info.size_jitted();
        println!("{name}: {verified} instructions verified, {jited} octets of machine code");
        assert!(verified <= VERIFIED, "{name}");
        assert!((1..=JITED).contains(&jited), "{name}");
    }
}

#[test]
fn maps_stay_within_their_budget() {
    if !available() {
        return;
    }
    let kernel = Kernel::shared().unwrap();
    let mut sum = 0;
    for (name, map) in kernel.ebpf.maps() {
        let locked = memory(kernel::data(map).unwrap()).unwrap();
        println!("{name}: {locked} octets");
        sum += locked;
    }
    let cpus = u64::try_from(aya::util::nr_cpus().unwrap()).unwrap();
    println!("all maps: {sum} octets, {cpus} CPUs");
    assert!(sum <= MEMORY + cpus.saturating_sub(2) * MEMORY_EACH_CPU, "{sum}");
}

/// What the kernel says that it has taken for a map.
fn memory(map: &aya::maps::MapData) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let info = fs::read_to_string(path)?;
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.context("no memlock")?.trim().parse()?)
}
