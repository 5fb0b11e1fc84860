//! What a forwarded message costs, without the wire: nanoseconds by `BPF_PROG_TEST_RUN`.
//!
//! A repeated test run gives a program the packet that it has just rewritten. So that this one is
//! forwarded again, and not passed by, exporter and receiver are also what it is rewritten to: source
//! and destination of the way. All numbers are the same, too: with others the checksum would now and
//! then look like a partial one, and take long. The session's count of forwarded messages proves that it works.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use aya::TestRunOptions;
use aya::maps::DevMap;
use common::maps::MAX_DESTINATIONS;
use ipfix_balancer_tests::lab::available;

use super::case::{content, message};
use super::kernel::encode::{self, Way};
use super::kernel::{Kernel, SESSION, skb_context};
use super::world::{FLOW, Hook, World};

/// Messages in a run, which is too short to be interrupted often, and runs of which the median counts.
const REPEAT: u32 = 5_000;
const RUNS: usize = 21;
/// Octets of a message, as exporters fill frames.
const MESSAGE: usize = 1400;
const LO: u32 = 1;

/// An exporter that never counts: every message arrives and leaves with the same number.
fn still(world: World) -> World {
    world.with(|world| world.state.outgoing = [world.state.line.credited; MAX_DESTINATIONS])
}

/// A session whose messages are sent to where they came from.
fn circle(kernel: &mut Kernel, world: &World) -> Result<()> {
    kernel.enter(world)?;
    let mut devices = DevMap::try_from(kernel.map("DEVICES")?)?;
    devices.set(LO, LO, None, 0)?;
    for number in 0..world.destinations {
        let way = Way { collector: world.receiver(), interface: LO, ..Way::of(world, number) };
        kernel.set_way(number, world.second_place >> number & 1, &way)?;
    }
    let sources = [world.exporter(); MAX_DESTINATIONS];
    kernel.set("SESSIONS", SESSION, encode::session(world, &world.state, &sources))
}

/// A frame with a message of so many sets.
fn frame(world: &World, sets: usize) -> Result<Vec<u8>> {
    let room = MESSAGE - 16 - 4 * sets;
    let each = content(room / sets);
    let message = (1..sets).fold(message(5000), |message, _| message.set(FLOW, &each));
    let rest = content(room - each.len() * (sets - 1));
    world.frame(&message.set(FLOW, &rest).build()).build()
}

/// What each message took.
fn measure(kernel: &mut Kernel, hook: Hook, world: &World, sets: usize) -> Result<String> {
    circle(kernel, world)?;
    let frame = frame(world, sets)?;
    let before = kernel.state()?.forwarded;
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let context = if hook == Hook::Xdp { None } else { skb_context(LO, 1) };
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: context.as_deref(),
            repeat: REPEAT,
            ..TestRunOptions::default()
        };
        took.push(kernel.test(hook, options)?.duration);
    }
    let forwarded = kernel.state()?.forwarded.wrapping_sub(before);
    let all = REPEAT * u32::try_from(RUNS)?;
    ensure!(forwarded == all, "{forwarded} of {all} were forwarded");
    took.sort_unstable();
    let (lowest, median) = (took.first(), took.get(RUNS / 2));
    let (lowest, median) = lowest.zip(median).context("no run")?;
    Ok(format!("{median:?} (lowest {lowest:?})"))
}

/// All of the figures, a line each.
fn report(kernel: &mut Kernel) -> Result<String> {
    let mut report = String::new();
    for hook in [Hook::Xdp, Hook::Ingress] {
        for sets in [1, 8, 32] {
            let worlds = [still(World::round_robin(4)), still(World::round_robin(4).v6())];
            let [v4, v6] = worlds.map(|world| measure(kernel, hook, &world, sets));
            writeln!(report, "{hook:?}, RoundRobin, {sets} sets: IPv4 {}, IPv6 {}", v4?, v6?)?;
        }
    }
    Ok(report)
}

#[test]
fn every_repetition_is_a_forwarded_message() {
    if available() {
        let mut kernel = Kernel::shared().unwrap();
        println!("{}", report(&mut kernel).unwrap());
    }
}
