//! The load: frames of one exporter session, made by a program in the kernel and handed to the
//! exporter's interface (`BPF_F_TEST_XDP_LIVE_FRAMES`): no socket could keep up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, anyhow};
use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};
use ipfix_balancer_tests::frame::Frame;
use ipfix_balancer_tests::lab::Site;
use nix::unistd::Pid;

use super::programs::{Object, index, program};
use crate::bench::message::{Batch, Sizes};
use crate::bench::sys;
use crate::process::pin;

/// Frames between two looks at the flag.
const ROUND: u32 = 1 << 18;
/// Frames that are handed over together: as many as an interface takes from its queue at once.
const BATCH: u32 = 64;
/// Real-time priority: before other programs, behind those who take the frames.
const PRIORITY: i32 = 1;
/// Messages of different lengths: a power of two, as the program wants.
const VARIED: usize = 32;
/// Words of the headers that the program writes.
const HEADER_WORDS: usize = 16;

/// Value of the program's `FRAMES`.
type Entry = [u32; 2 + HEADER_WORDS];

/// A running generator; dropping it stops it.
pub struct Generator {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
    progress: Array<MapData, [u64; 2]>,
}

/// The session that its frames belong to.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub exporter: SocketAddr,
    pub receiver: SocketAddr,
    /// Number of the next message.
    pub sequence: u32,
}

impl Generator {
    /// Starts to send from the site, on these CPUs.
    pub fn start(
        object: &Object,
        site: &Site,
        cpus: &[usize],
        session: Session,
        sizes: Sizes,
    ) -> Result<Self> {
        let messages = messages(site, session, sizes)?;
        let constants =
            [("INTERFACE", index(&site.interface)?), ("KINDS", u32::try_from(messages.len())?)];
        let mut ebpf = object.load(&constants)?;
        fill(&mut ebpf, &messages)?;
        program(&mut ebpf, "bench_generate")?;
        let progress = ebpf.take_map("PROGRESS").context("no PROGRESS")?;
        let mut progress: Array<_, [u64; 2]> = progress.try_into()?;
        progress.set(0, [0, session.sequence.into()], 0)?;
        let frames = messages.into_iter().map(|message| message.frame);
        let longest = frames.max_by_key(Vec::len).context("no frame")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, cpus) = (Arc::clone(&stop), cpus.to_vec());
        let namespace = Arc::clone(&site.namespace);
        let work = move || namespace.run(|| generate(&mut ebpf, &longest, &cpus, &flag));
        let thread = Some(Builder::new().name("generator".into()).spawn(work)?);
        Ok(Self { stop, thread, progress })
    }

    /// Frames so far.
    pub fn sent(&self) -> Result<u64> {
        Ok(self.progress.get(&0, 0)?[0])
    }

    /// Stops it; an error if it could not send.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the generator failed"))?
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("generator: {error:#}");
        }
    }
}

fn generate(ebpf: &mut Ebpf, frame: &[u8], cpus: &[usize], stop: &AtomicBool) -> Result<()> {
    pin(Pid::from_raw(0), cpus)?;
    sys::go_first(0, PRIORITY)?;
    let program: &mut Xdp = ebpf.program_mut("bench_generate").context("no program")?.try_into()?;
    while !stop.load(Ordering::Relaxed) {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.repeat = ROUND;
        options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        program.test_run(options)?;
    }
    Ok(())
}

/// A frame to be sent.
struct Message {
    frame: Vec<u8>,
    records: u32,
}

fn messages(site: &Site, session: Session, sizes: Sizes) -> Result<Vec<Message>> {
    let count = if sizes == Sizes::FULL { 1 } else { VARIED };
    let mut batch = Batch::new(count, sizes);
    let records = batch.records();
    let message = |(message, records): (&mut [u8], u32)| {
        let frame = Frame::udp(session.exporter, session.receiver, message)
            .macs(site.interface.mac(), site.peer.mac());
        Ok(Message { frame: frame.build()?, records })
    };
    batch.messages(count).into_iter().zip(records).map(message).collect()
}

fn fill(ebpf: &mut Ebpf, messages: &[Message]) -> Result<()> {
    let map = ebpf.map_mut("FRAMES").context("no FRAMES")?;
    let mut map: Array<_, Entry> = map.try_into()?;
    for (place, Message { frame, records }) in (0..).zip(messages) {
        let (words, _) = frame.as_chunks::<4>();
        let headers = words.iter().map(|word| u32::from_ne_bytes(*word));
        let entry = [u32::try_from(frame.len())?, *records];
        let mut entry = entry.into_iter().chain(headers);
        map.set(place, std::array::from_fn(|_| entry.next().unwrap_or_default()), 0)?;
    }
    Ok(())
}
