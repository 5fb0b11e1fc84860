//! `TASKSET`: packets that are decided about on another CPU.

use anyhow::Result;
use aya::maps::CpuMap;
use ipfix_balancer_tests::lab::available;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::case::{Case, Daemon, Packet, Verdict, flow, message};
use super::kernel::{Kernel, check};
use super::world::{FLOW, Hook, World};

/// Packets that wait for a CPU at most.
const QUEUE: u32 = 64;

/// Runs this thread, and the programs that it runs, on one CPU.
pub fn on_cpu(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Lets a CPU take packets from others.
pub fn open_cpu(kernel: &mut Kernel, cpu: u32) -> Result<()> {
    let program = kernel.xdp("ipfix_cpu")?.fd()?.try_clone()?;
    let mut cpus: CpuMap<_> = kernel.map("CPUS")?.try_into()?;
    Ok(cpus.set(cpu, QUEUE, Some(&program), 0)?)
}

/// Of a known session everything is moved, whatever it is.
fn everything_is_moved(cpu: u32) -> Case {
    let case = Case::new("another CPU's", World::round_robin(2).with(|world| world.cpu = cpu));
    [flow(5010), message(5020).set(FLOW, &[0; 3]).build(), message(5030).build()].into_iter().fold(
        case,
        |case, message| {
            let frame = Packet::Frame(case.world.frame(&message));
            case.step(frame, message, Verdict::Moved, Daemon::NotAsked)
        },
    )
}

#[test]
fn packets_go_to_the_receivers_cpu() {
    if !available() || aya::util::nr_cpus().unwrap() < 2 {
        return;
    }
    let mut kernel = Kernel::shared().unwrap();
    open_cpu(&mut kernel, 1).unwrap();
    on_cpu(0).unwrap();
    check(&mut kernel, Hook::Xdp, &everything_is_moved(1)).unwrap();
    let here = Case::new("this CPU's", World::round_robin(2).with(|world| world.cpu = 0));
    check(&mut kernel, Hook::Xdp, &here.flow(5010, 0, 100).flow(5020, 1, 210)).unwrap();
}
