//! One measurement's processes, set up and connected.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tempfile::TempDir;

use super::case::Route;
use super::message::templates;
use super::page::{Count, EXPORTER, FIRST_SINK, Page, Phase};
use super::side::{Side, Task, free_address};
use super::{Mode, Plan, Protocol, cpu, value};
use crate::process::{Output, Placement, Process, family, wait_until};

/// How long anything of the rig may take.
const LIMIT: Duration = Duration::from_secs(20);
/// What is added to the nice value of an exporter at full speed: the sinks go first.
pub const EXPORTER_NICE: i32 = 10;

/// More CPUs than this taken by others, and a run says little.
pub const DISTURBED: f64 = 0.1;
/// How often a disturbed run is repeated before it counts all the same.
const REPEATS: u32 = 3;

/// How the exporter sends.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Messages per second; 0 for as many as go out.
    pub rate: u32,
    /// Whether the sinks keep times on the way.
    pub times: bool,
}

impl Load {
    /// So many messages per second.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    pub fn steady(rate: f64, times: bool) -> Self {
        Self { rate: (rate as u32).max(1), times }
    }
}

/// The processes of a measurement. Dropping it ends them.
pub struct Rig {
    // In the order in which they end.
    exporter: Process,
    measured: Option<Process>,
    sinks: Vec<Process>,
    /// The processes of the program under measurement.
    family: Vec<u32>,
    page: Page,
    output: Protocol,
    directory: TempDir,
}

/// What had been counted at an instant.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    pub time: Instant,
    /// Messages sent by the exporter, and received by all sinks.
    pub sent: u64,
    pub received: u64,
    /// CPU time of the program under measurement, of all of the rig, and of the machine.
    pub measured_cpu: Duration,
    pub rig_cpu: Duration,
    pub machine_cpu: Duration,
}

/// What the sinks found wrong.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Faults {
    pub gaps: u64,
    pub missing_records: u64,
    pub malformed: u64,
    /// Datagrams that sinks were too slow for.
    pub sink_drops: u64,
}

impl Rig {
    /// Starts everything, and returns when every template has come all the way.
    pub fn start(plan: &Plan, side: &Side, route: &Route, load: Load) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("ipfix-bench-").tempdir()?;
        let page = Page::open(&directory.path().join("page"))?;
        let output = if *side == Side::Direct { route.input } else { route.output };
        let build = Builder { plan, route, load, directory: &directory, page: &page };
        let sinks = build.sinks(side.destinations(route), output)?;
        let destinations = &build.sink_addresses(sinks.len())?;
        let listen = free_address(route.input)?;
        let task = Task { route, listen, destinations, directory: directory.path() };
        let measured = side.start(plan, &task)?;
        let targets = match measured {
            Some(_) => task.receivers(),
            None => destinations.iter().take(1).copied().collect(),
        };
        let exporter = build.exporter(&targets)?;
        let mut rig =
            Self { exporter, measured, sinks, family: Vec::new(), page, output, directory };
        rig.wait_for_templates(side, route)?;
        rig.family = match &rig.measured {
            Some(process) => family(process.id())?,
            None => Vec::new(),
        };
        Ok(rig)
    }

    /// Templates go to everyone through the balancer; others give them to anyone.
    fn wait_for_templates(&mut self, side: &Side, route: &Route) -> Result<()> {
        let all = side.is_balancer() || route.mode == Mode::All;
        let exporters = u64::from(route.exporters);
        let messages = exporters * u64::try_from(templates(route.sizes, route.templates).len())?;
        wait_until("templates arrive at the sinks", LIMIT, || {
            self.check_running()?;
            let opened = self.page.part(EXPORTER)?.read(Count::Connections) == exporters;
            let counts =
                self.sink_places().map(|place| Ok(self.page.part(place)?.read(Count::Templates)));
            let counts = counts.collect::<Result<Vec<u64>>>()?;
            let there = match all {
                true => counts.iter().all(|count| *count >= messages),
                false => counts.iter().sum::<u64>() >= messages,
            };
            Ok((opened && there).then_some(()))
        })
    }

    /// Tells the exporter what to do.
    pub fn set_phase(&self, phase: Phase) {
        self.page.set_phase(phase);
    }

    /// Process id of the program under measurement.
    pub fn measured_id(&self) -> Result<u32> {
        Ok(self.measured.as_ref().context("nothing is measured here")?.id())
    }

    /// Resident memory of the program under measurement, its processes together, in KiB.
    pub fn resident_kib(&self) -> Result<u32> {
        self.family.iter().map(|process| cpu::memory_kib(*process, "VmRSS")).sum()
    }

    /// Reads every counter.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut rig_cpu =
            cpu::of_process(self.exporter.id())? + cpu::of_process(std::process::id())?;
        let times = self.family.iter().map(|process| cpu::of_process(*process));
        let measured_cpu = times.sum::<Result<Duration>>()?;
        for sink in &self.sinks {
            rig_cpu += cpu::of_process(sink.id())?;
        }
        Ok(Snapshot {
            time: Instant::now(),
            sent: self.page.part(EXPORTER)?.read(Count::Messages),
            received: self.sum(Count::Messages)?,
            measured_cpu,
            rig_cpu: rig_cpu + measured_cpu,
            machine_cpu: cpu::of_machine()?,
        })
    }

    /// Stops the exporter and waits until nothing arrives any more; sent and received in all.
    pub fn drain(&self) -> Result<(u64, u64)> {
        self.set_phase(Phase::Stop);
        let exporter = self.page.part(EXPORTER)?;
        wait_until("the exporter ends", LIMIT, || {
            Ok((exporter.read(Count::Done) == 1).then_some(()))
        })?;
        let (mut last, mut since) = (self.sum(Count::Messages)?, Instant::now());
        wait_until("the last messages arrive", LIMIT, || {
            let received = self.sum(Count::Messages)?;
            if received != last {
                (last, since) = (received, Instant::now());
            }
            Ok((since.elapsed() > Duration::from_millis(100)).then_some(()))
        })?;
        Ok((exporter.read(Count::Messages), last))
    }

    /// Drains, and gives the share of the messages that did not arrive so many times.
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
    pub fn drain_loss(&self, copies: u32) -> Result<f64> {
        let (sent, received) = self.drain()?;
        Ok(1.0 - received as f64 / (sent * u64::from(copies)).max(1) as f64)
    }

    /// What the sinks found wrong so far. Sequence numbers mean something behind the balancer and
    /// behind what passes on every message.
    pub fn faults(&self) -> Result<Faults> {
        let mut drops = 0;
        if self.output == Protocol::Udp {
            for place in self.sink_places() {
                drops += cpu::udp_drops(address(&self.page, place)?.context("no port")?)?;
            }
        }
        Ok(Faults {
            gaps: self.sum(Count::Gaps)?,
            missing_records: self.sum(Count::Missing)?,
            malformed: self.sum(Count::Malformed)?,
            sink_drops: drops,
        })
    }

    /// All times on the way, in nanoseconds, sorted; the sinks end with it.
    pub fn into_times(mut self) -> Result<Vec<u32>> {
        let mut times = Vec::new();
        self.set_phase(Phase::Finish);
        for place in self.sink_places() {
            let done = self.page.part(place)?;
            wait_until("the sinks end", LIMIT, || Ok((done.read(Count::Done) == 1).then_some(())))?;
            let bytes = std::fs::read(times_file(&self.directory, place))?;
            times.extend(bytes.chunks_exact(4).filter_map(|b| b.first_chunk().copied()));
        }
        self.sinks.clear();
        let mut times: Vec<u32> = times.into_iter().map(u32::from_le_bytes).collect();
        times.sort_unstable();
        Ok(times)
    }

    fn check_running(&mut self) -> Result<()> {
        for process in self.measured.iter_mut().chain(&mut self.sinks) {
            process.check_running()?;
        }
        Ok(())
    }

    fn sink_places(&self) -> std::ops::Range<usize> {
        FIRST_SINK..FIRST_SINK + self.sinks.len()
    }

    fn sum(&self, count: Count) -> Result<u64> {
        let mut sum = 0;
        for place in self.sink_places() {
            sum += self.page.part(place)?.read(count);
        }
        Ok(sum)
    }
}

fn times_file(directory: &TempDir, place: usize) -> PathBuf {
    directory.path().join(format!("times-{place}"))
}

/// Where a part listens, once it does.
fn address(page: &Page, place: usize) -> Result<Option<SocketAddr>> {
    let port = u16::try_from(page.part(place)?.read(Count::Port))?;
    Ok((port != 0).then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

/// Starts the parts.
struct Builder<'a> {
    plan: &'a Plan,
    route: &'a Route,
    load: Load,
    directory: &'a TempDir,
    page: &'a Page,
}

impl Builder<'_> {
    fn sinks(&self, count: u32, protocol: Protocol) -> Result<Vec<Process>> {
        let count = usize::try_from(count)?;
        (FIRST_SINK..FIRST_SINK + count)
            .map(|place| {
                let mut arguments = vec![format!("--place={place}")];
                if self.load.times {
                    let file = times_file(self.directory, place);
                    arguments.push(format!("--times={}", file.display()));
                }
                self.part("sink", protocol, &self.plan.load, arguments)
            })
            .collect()
    }

    fn sink_addresses(&self, count: usize) -> Result<Vec<SocketAddr>> {
        (FIRST_SINK..FIRST_SINK + count).map(|place| self.listening(place)).collect()
    }

    fn exporter(&self, targets: &[SocketAddr]) -> Result<Process> {
        let mut arguments = vec![
            format!("--sizes={}", self.route.sizes),
            format!("--templates={}", self.route.templates),
            format!("--rate={}", self.load.rate),
            format!("--sessions={}", self.route.exporters),
        ];
        arguments.extend(targets.iter().map(|target| format!("--target={target}")));
        let nice = if self.load.rate == 0 { EXPORTER_NICE } else { 0 };
        let placement = Placement { nice, ..self.plan.load.clone() };
        self.part("exporter", self.route.input, &placement, arguments)
    }

    fn part(
        &self,
        name: &str,
        protocol: Protocol,
        placement: &Placement,
        arguments: Vec<String>,
    ) -> Result<Process> {
        let page = self.directory.path().join("page");
        let protocol = value(protocol);
        let common = ["bench-part".into(), name.into(), format!("--page={}", page.display())];
        let all = common.into_iter().chain([format!("--protocol={protocol}")]).chain(arguments);
        let program = &self.plan.parts;
        Process::start(name, placement, program, all.map(OsString::from), Output::Shown)
    }

    fn listening(&self, place: usize) -> Result<SocketAddr> {
        wait_until("a part listens", LIMIT, || address(self.page, place))
    }
}

/// CPUs that programs other than the rig's used between two snapshots.
pub fn others_between(start: &Snapshot, end: &Snapshot) -> f64 {
    let rig = end.rig_cpu.saturating_sub(start.rig_cpu);
    let others = end.machine_cpu.saturating_sub(start.machine_cpu).saturating_sub(rig);
    others.as_secs_f64() / (end.time - start.time).as_secs_f64()
}

/// Repeats a run while others use the machine, but not for ever; the least disturbed one counts.
/// `run` gives its figures and the CPUs that others used.
pub fn undisturbed<T>(mut run: impl FnMut() -> Result<(T, f64)>) -> Result<T> {
    let mut best = run()?;
    for _ in 0..REPEATS {
        if best.1 <= DISTURBED {
            break;
        }
        let next = run()?;
        if next.1 < best.1 {
            best = next;
        }
    }
    Ok(best.0)
}

/// Runs for a while, but not beyond an interrupt.
pub fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if crate::interrupt::requested() {
            bail!("interrupted");
        }
        let left = end.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
    Ok(())
}
