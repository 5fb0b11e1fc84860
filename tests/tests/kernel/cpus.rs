//! `TASKSET`: a receiver's work in the kernel is done by its CPU.

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available_with_two_cpus};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use crate::scene::{Scene, collectors, elements, required};

const MESSAGES: usize = 300;
/// Where the exporter sends from, and with it where its packets come in; and the receiver's CPU.
const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// Messages that a CPU has forwarded for the daemon's only receiver.
fn forwarded_by(scene: &Scene<'_>, cpu: usize) -> Result<u64> {
    let elements = elements(&scene.setup.daemon, "RECEIVER_COUNTERS")?;
    let of_cpu = |element: &Value| -> Option<u64> {
        let values = element.pointer("/formatted/values")?.as_array()?;
        let ours = values
            .iter()
            .find(|value| value.get("cpu").and_then(Value::as_u64) == Some(cpu as u64))?;
        ours.pointer("/value/messages")?.as_u64()
    };
    let counts: Option<Vec<u64>> = elements.iter().map(of_cpu).collect();
    Ok(counts.with_context(|| format!("{:?}", elements.first()))?.iter().sum())
}

/// Ties the calling thread to a CPU. Packets over veth are received where they were sent.
fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

fn moved(lab: &Lab, mode: Mode, family: Family) -> Result<()> {
    let sites: Vec<_> = lab.collectors().iter().chain(lab.collectors().first()).collect();
    let to = collectors(&sites, family)?;
    let pinned = |receiver: ipfix_balancer_tests::daemon::Receiver| {
        required(receiver).set("TASKSET", RECEIVER)
    };
    let scene = Scene::configured(lab, mode, family, to, pinned)?;
    // After the daemon and the collectors, which would inherit it.
    pin(SENDER)?;
    let mut flows = Flows::new(7);
    let mut stream = scene.stream()?;
    stream.begin(&mut flows)?;
    let (elsewhere, here) = (forwarded_by(&scene, SENDER)?, forwarded_by(&scene, RECEIVER)?);
    stream.data((0..MESSAGES).map(|index| flows.data(1 + index * 7 % 31)))?;
    scene.judge(&[&stream], MESSAGES)?;
    let (elsewhere, here) =
        (forwarded_by(&scene, SENDER)? - elsewhere, forwarded_by(&scene, RECEIVER)? - here);
    ensure!(elsewhere == 0, "{elsewhere} forwarded by the wrong CPU, {here} by the right one");
    Ok(())
}

#[test]
fn the_receivers_cpu_forwards() {
    if !available_with_two_cpus() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for (mode, family) in [(Mode::RoundRobin, Family::V4), (Mode::All, Family::V6)] {
        // In a thread of its own, which is pinned and ends.
        let done = std::thread::scope(|scope| scope.spawn(|| moved(&lab, mode, family)).join());
        done.unwrap().unwrap();
    }
}
