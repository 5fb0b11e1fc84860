//! What a run of the balancer's program takes, by `BPF_PROG_TEST_RUN`: without driver and redirect.
//!
//! The kernel runs the program again and again on the packet that the run before has changed. So the
//! packet is made to stay what it is: the destination is the balancer itself, at the exporter's end.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use common::handover::Handover;
use common::maps::{
    ANY_CPU, Address, Destination, Domain, FROM_XDP, Flow, MARK_LEN, MAX_DESTINATIONS,
    OPTIONS_WORDS, ROUND_ROBIN, Receiver, Session, Source, place,
};
use common::reason::ReceiverCounters;
use common::sequence::Sequence;
use ipfix_balancer_tests::frame::Frame;
use ipfix_balancer_tests::lab::Family;
use nix::unistd::Pid;
use serde::Serialize;

use super::programs::{Object, program};
use crate::bench::Plan;
use crate::bench::message::{DOMAIN, sets};
use crate::bench::stats::Spread;
use crate::bench::sys::Plain;
use crate::process::pin;

/// Runs of the program in one measurement.
const REPEAT: u32 = 100_000;
/// Destinations that take turns.
const TAKERS: u32 = 2;
/// The exporter's port, and the receiver's.
const PORTS: (u16, u16) = (40_000, 4739);
const XDP_REDIRECT: u32 = 4;

/// What is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Message {
    #[serde(skip)]
    pub family: Family,
    pub name: &'static str,
    pub sets: usize,
    /// Most nanoseconds that a run may take, where there is a requirement.
    pub target_ns: Option<f64>,
}

/// The messages.
pub const MESSAGES: [Message; 4] = [
    Message { family: Family::V4, name: "IPv4, 1 set", sets: 1, target_ns: Some(100.0) },
    Message { family: Family::V4, name: "IPv4, 4 sets", sets: 4, target_ns: None },
    Message { family: Family::V6, name: "IPv6, 1 set", sets: 1, target_ns: Some(100.0) },
    Message { family: Family::V6, name: "IPv6, 4 sets", sets: 4, target_ns: None },
];

/// Nanoseconds that a run takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MessageResult {
    pub message: Message,
    pub ns: Spread,
}

/// All messages, and a program that does nothing but redirect.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub redirect_ns: Spread,
    pub messages: Vec<MessageResult>,
}

/// Measures the messages in turns.
pub fn measure(
    plan: &Plan,
    name: &'static str,
    bench: &Object,
    own: &Object,
) -> Result<CaseResult> {
    let placed = || {
        pin(Pid::from_raw(0), &plan.measured.cpus)?;
        in_turns(plan.runs, bench, own)
    };
    let joined = std::thread::scope(|scope| scope.spawn(placed).join());
    let (redirect, messages) = match joined {
        Ok(result) => result?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let messages = MESSAGES.iter().zip(messages);
    Ok(CaseResult {
        name,
        redirect_ns: Spread::of(redirect),
        messages: messages
            .map(|(message, ns)| MessageResult { message: *message, ns: Spread::of(ns) })
            .collect(),
    })
}

type Times = Vec<f64>;

fn in_turns(runs: usize, bench: &Object, own: &Object) -> Result<(Times, Vec<Times>)> {
    let mut bare = bench.load(&[])?;
    let bare = program(&mut bare, "bench_redirect")?;
    let packet = packet(&MESSAGES[0])?;
    let mut scenes = MESSAGES.iter().map(|m| Scene::new(own, m)).collect::<Result<Vec<_>>>()?;
    let mut times = (Vec::new(), vec![Vec::new(); scenes.len()]);
    for _ in 0..runs {
        crate::interrupt::check()?;
        times.0.push(run(bare, &packet)?);
        for (scene, times) in scenes.iter_mut().zip(&mut times.1) {
            times.push(scene.run()?);
        }
    }
    Ok(times)
}

/// The balancer's program, with a session of this message in its maps.
struct Scene {
    ebpf: Ebpf,
    packet: Vec<u8>,
    forwarded: u64,
}

impl Scene {
    fn new(object: &Object, message: &Message) -> Result<Self> {
        let mut ebpf = object.load_balancer()?;
        program(&mut ebpf, "ipfix_xdp")?;
        install(&mut ebpf, message.family)?;
        Ok(Self { ebpf, packet: packet(message)?, forwarded: 0 })
    }

    fn run(&mut self) -> Result<f64> {
        let program: &mut Xdp =
            self.ebpf.program_mut("ipfix_xdp").context("no ipfix_xdp")?.try_into()?;
        let time = run(program, &self.packet)?;
        self.forwarded += u64::from(REPEAT);
        let counters = self.ebpf.map("RECEIVER_COUNTERS").context("no RECEIVER_COUNTERS")?;
        let counters: PerCpuArray<_, [u64; ReceiverCounters::LEN]> = counters.try_into()?;
        let forwarded: u64 = counters.get(&0, 0)?.iter().map(|[messages, ..]| messages).sum();
        ensure!(
            forwarded == self.forwarded,
            "{forwarded} of {} messages were forwarded",
            self.forwarded
        );
        Ok(time)
    }
}

fn run(program: &Xdp, packet: &[u8]) -> Result<f64> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(packet);
    options.repeat = REPEAT;
    let result = program.test_run(options)?;
    ensure!(result.return_value == XDP_REDIRECT, "verdict {}", result.return_value);
    Ok(result.duration.as_secs_f64() * 1e9)
}

fn packet(message: &Message) -> Result<Vec<u8>> {
    let (exporter, balancer) = ends(message.family);
    Frame::udp(exporter, balancer, &sets(message.sets)).build()
}

fn ends(family: Family) -> (SocketAddr, SocketAddr) {
    let (exporter, balancer): (IpAddr, IpAddr) = match family {
        Family::V4 => ([10, 77, 0, 2].into(), [10, 77, 0, 1].into()),
        Family::V6 => ([0xfd77, 0, 0, 0, 0, 0, 0, 2].into(), [0xfd77, 0, 0, 0, 0, 0, 0, 1].into()),
    };
    (SocketAddr::new(exporter, PORTS.0), SocketAddr::new(balancer, PORTS.1))
}

/// One session with one domain, open, all at place 0.
fn install(ebpf: &mut Ebpf, family: Family) -> Result<()> {
    let (exporter, balancer) = ends(family);
    let flow = Flow {
        source: address(exporter.ip()),
        destination: address(balancer.ip()),
        source_port: exporter.port().to_be(),
        destination_port: balancer.port().to_be(),
        domain: words(DOMAIN.to_be_bytes()),
    };
    let map = ebpf.map_mut("FLOWS").context("no FLOWS")?;
    HashMap::<_, Plain<Flow>, u32>::try_from(map)?.insert(Plain(flow), 0, 0)?;
    set(ebpf, "DOMAINS", 0, domain())?;
    set(ebpf, "SESSIONS", 0, session(exporter))?;
    let row = Receiver { mode: ROUND_ROBIN, destinations: TAKERS, cpu: ANY_CPU, places: 0 };
    set(ebpf, "RECEIVERS", 0, row)?;
    (0..TAKERS).try_for_each(|taker| set(ebpf, "DESTINATIONS", place(0, taker, 0), way(balancer)))
}

fn set<T>(ebpf: &mut Ebpf, name: &str, index: u32, value: T) -> Result<()>
where
    Plain<T>: aya::Pod,
{
    let map = ebpf.map_mut(name).context(name.to_owned())?;
    Ok(Array::try_from(map)?.set(index, Plain(value), 0)?)
}

fn domain() -> Domain {
    Domain {
        session: 0,
        synced: u32::MAX,
        options: [0; OPTIONS_WORDS],
        line: Sequence::starting_at(0),
        outgoing: [0; MAX_DESTINATIONS],
    }
}

fn session(exporter: SocketAddr) -> Session {
    let source =
        Source { address: address(exporter.ip()), port: exporter.port().to_be(), zeros: 0 };
    Session {
        handover: Handover::default(),
        shut: 0,
        receiver: 0,
        takers: (1 << TAKERS) - 1,
        turn: 0,
        forwarded: 0,
        zeros: [0; 5],
        sources: [source; MAX_DESTINATIONS],
        mark: [0; MARK_LEN],
    }
}

fn way(balancer: SocketAddr) -> Destination {
    Destination {
        address: address(balancer.ip()),
        port: balancer.port().to_be(),
        interface: 1,
        mtu: 1500,
        reach: FROM_XDP,
        ..Destination::default()
    }
}

fn address(ip: IpAddr) -> Address {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    words(ip.octets())
}

/// Bytes of the network as words in memory.
fn words<const N: usize, const M: usize>(bytes: [u8; N]) -> [u16; M] {
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut pairs = pairs.iter().map(|pair| u16::from_ne_bytes(*pair));
    std::array::from_fn(|_| pairs.next().unwrap_or_default())
}
