//! More comes up than the daemon can handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::lab::available;
use ipfix_balancer_tests::poll;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::scene::{Feed, Scene};

/// The receiver's CPU, which the exporters share with it: so they send more than it can handle.
const CPU: usize = 0;
const EXPORTERS: u32 = 3;
/// Messages that the kernel path forwards to be said to have the sessions again.
const MANY: u64 = 20_000;
/// For so long nothing more is handled once the daemon has caught up.
const QUIET: Duration = Duration::from_millis(500);

/// An exporter that sends as fast as it can, on the receiver's CPU.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(Feed, u64)>>,
}

impl Flood {
    fn by(mut feed: Feed) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut cpus = CpuSet::new();
            cpus.set(CPU)?;
            sched_setaffinity(Pid::from_raw(0), &cpus)?;
            let mut sent = 0;
            let mut message = feed.flows.data(feed.records);
            while !until.load(Ordering::Relaxed) {
                // To make each message anew would take longer than to send it.
                let number = feed.flows.sequence().to_be_bytes();
                message.get_mut(8..12).context("no header")?.copy_from_slice(&number);
                feed.exporter.send(&message)?;
                feed.flows.count(feed.records);
                sent += 1;
            }
            Ok((feed, sent))
        });
        Flood { stop, thread }
    }

    /// The feed, and how many messages were sent meanwhile.
    fn end(self) -> Result<(Feed, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the exporter panicked"))?
    }
}

/// The daemon stands still until its receive buffer is full, and has no chance to catch up afterwards:
/// the sessions are shut, and return to the kernel path while the exporters go on as before.
fn sessions_are_shut_and_return() -> Result<()> {
    let mut scene = Scene::new(Mode::All)?;
    let receiver = scene.receiver(Mode::All).set("TASKSET", CPU);
    scene.apply(receiver)?;
    let feeds = (1..=EXPORTERS).map(|domain| scene.open(domain));
    let mut feeds = feeds.collect::<Result<Vec<_>>>()?;
    scene.setup.wait_until_up()?;
    feeds.iter_mut().try_for_each(|feed| scene.is_forwarded(feed))?;

    // What follows a message that has come up comes up as well.
    scene.daemon().halt()?;
    feeds.iter_mut().try_for_each(Feed::templates)?;
    let sent: usize = feeds.iter().map(|feed| feed.sent.len()).sum();
    let floods: Vec<_> = feeds.into_iter().map(Flood::by).collect();
    let balancer = scene.lab.balancer();
    poll::wait("the receive buffer is full", || {
        balancer.counters().and_then(|now| now.count("UdpRcvbufErrors")).is_ok_and(|lost| lost > 0)
    })?;
    scene.daemon().signal(Signal::SIGCONT)?;
    scene.setup.wait_for_drops("overload", 1)?;
    let before = scene.forwarded()?;
    scene.wait_for("the kernel path forwards", |now| now.kernel_messages() > before + MANY)?;

    let ended = floods.into_iter().map(Flood::end).collect::<Result<Vec<_>>>()?;
    let (mut feeds, flooded): (Vec<Feed>, Vec<u64>) = ended.into_iter().unzip();
    // The kernel tells the daemon what it has dropped with the next datagram that comes up, for which
    // there has to be room.
    poll::settled(QUIET, || scene.status().map_or(0, |now| now.messages()))?;
    feeds.iter_mut().try_for_each(Feed::templates)?;
    adds_up(&scene, u64::try_from(sent + feeds.len())? + flooded.iter().sum::<u64>())?;
    for feed in &mut feeds {
        scene.is_forwarded(feed)?;
    }
    let from: Vec<_> = feeds.iter().map(|feed| feed.sent.len()).collect();
    feeds.iter_mut().try_for_each(|feed| feed.send(50))?;
    feeds.iter().zip(from).try_for_each(|(feed, from)| scene.is_complete_from(feed, from))
}

/// Every message was forwarded, by whichever path, or is counted as dropped; the link may have lost
/// some before anybody saw them.
fn adds_up(scene: &Scene, sent: u64) -> Result<()> {
    poll::until_ok(|| {
        let status = scene.status()?;
        let lost = scene.lab.exporter().interface.counters()?.send_drops;
        let known = status.messages() + status.dropped_in_all() + lost;
        ensure!(known == sent, "{known} of {sent} are known, {lost} lost by the link: {status:?}");
        Ok(())
    })
}

#[test]
fn sessions_are_shut_until_the_daemon_has_caught_up() {
    if available() {
        sessions_are_shut_and_return().unwrap();
    }
}
