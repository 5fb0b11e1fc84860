//! Starting, changing and ending a handler from another thread.

use std::{
    io,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::Context;
use socket2::Socket;
use tokio::{
    net::{TcpListener, UdpSocket},
    runtime,
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, LocalSet},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::warn;

use super::{recording, relay::Relay, shared::Shared, spooling};
use crate::{
    config::{Protocol, Receiver},
    input,
    kernel::Offload,
    net::affinity,
    record::Beat,
    stats::ReceiverStats,
    succession::{Damaged, Exporter, Heir, Journal, Leaving, Left, Store, read},
    watchdog::Pulse,
};

/// Changes that may wait for a handler.
const COMMANDS: usize = 16;
/// How often the journal is brought up to date with numbers. Templates do not wait for that.
pub const JOURNAL: Duration = Duration::from_millis(50);
/// How often it is looked after what was sent and not acknowledged, and after the spools.
const LOOK: Duration = Duration::from_secs(1);
/// How often an ending handler looks whether all is sent.
pub(super) const DRAIN_POLL: Duration = Duration::from_millis(5);

/// A running handler, held by the control thread.
pub struct Handler {
    commands: mpsc::Sender<Command>,
    thread: thread::JoinHandle<Vec<Left>>,
}

/// What a handler begins with, and ends with.
pub struct Estate {
    /// Exporters' connections of the daemon before.
    pub exporters: Vec<Exporter>,
    /// Where the journal is.
    pub journal: PathBuf,
    /// Where exporters' connections are kept.
    pub store: Store,
    /// How it shows that it makes progress.
    pub pulse: Pulse,
}

enum Command {
    NetworkChanged,
    Suspend(oneshot::Sender<()>),
    Reconfigure(Arc<Receiver>, Option<Arc<Offload>>, oneshot::Sender<()>),
    Rotate(oneshot::Sender<()>),
    PurgeSpools(Option<String>, oneshot::Sender<u64>),
    Stop { drain: Duration, leaving: Leaving, deaf: oneshot::Sender<()> },
}

impl Handler {
    /// Starts the thread that serves `receiver` on `socket`.
    pub fn start(
        receiver: Arc<Receiver>,
        offload: Option<Arc<Offload>>,
        beat: Beat,
        socket: Socket,
        stats: Arc<ReceiverStats>,
        estate: Estate,
    ) -> anyhow::Result<Handler> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (id, name) = (receiver.id, receiver.id.thread_name());
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || {
                run(receiver, offload, beat, socket, stats, estate, inbox).unwrap_or_else(|error| {
                    tracing::error!(receiver = %id, "the handler has failed, the daemon ends: {error:#}");
                    Vec::new()
                })
            })
            .context("can't start a handler's thread")?;
        Ok(Handler { commands, thread })
    }

    /// Takes all sessions out of the hands of the kernel path; comes back when it is done. They return
    /// to it after [`Handler::reconfigure`].
    pub async fn suspend(&self) -> anyhow::Result<()> {
        self.command(Command::Suspend).await
    }

    /// Applies a change of the configuration; comes back when it is in force.
    pub async fn reconfigure(
        &self,
        receiver: Arc<Receiver>,
        offload: Option<Arc<Offload>>,
    ) -> anyhow::Result<()> {
        self.command(|done| Command::Reconfigure(receiver, offload, done)).await
    }

    /// Begins a new interval of recording now; comes back when the files of the old one have their
    /// final names. A receiver that does not record has none.
    pub async fn rotate(&self) -> anyhow::Result<()> {
        self.command(Command::Rotate).await
    }

    /// Drops what is spooled for a destination, or for all: how many messages that was.
    pub async fn purge_spools(&self, destination: Option<String>) -> anyhow::Result<u64> {
        self.command(|done| Command::PurgeSpools(destination, done)).await
    }

    /// Lets the handler know that routes may have changed.
    pub fn network_changed(&self) {
        // One that has so much to do hears of the next change.
        let _ = self.commands.try_send(Command::NetworkChanged);
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> anyhow::Result<T> {
        let (done, in_force) = oneshot::channel();
        self.commands.send(command(done)).await.ok().context("the handler has ended")?;
        in_force.await.context("the handler has ended")
    }

    /// Asks the handler to end; comes back when it has stopped receiving, so that another one can
    /// have its port. It sends what waits within `drain`, meanwhile.
    pub async fn stop(&self, drain: Duration, leaving: Leaving) {
        let (deaf, receives_no_more) = oneshot::channel();
        // A handler that has ended already is what we want.
        if self.commands.send(Command::Stop { drain, leaving, deaf }).await.is_ok() {
            let _ = receives_no_more.await;
        }
    }

    /// Waits for the thread's end; the exporters' connections that it leaves.
    pub async fn join(self) -> Vec<Left> {
        let Handler { thread, commands } = self;
        let left = tokio::task::spawn_blocking(move || thread.join()).await;
        drop(commands);
        left.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Whether the thread is still there.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

fn run(
    receiver: Arc<Receiver>,
    offload: Option<Arc<Offload>>,
    beat: Beat,
    socket: Socket,
    stats: Arc<ReceiverStats>,
    estate: Estate,
    inbox: mpsc::Receiver<Command>,
) -> anyhow::Result<Vec<Left>> {
    pin(&receiver);
    stats.thread.store(nix::unistd::gettid().as_raw().unsigned_abs().into(), Relaxed);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(receiver, offload, beat, socket, stats, estate, inbox))
}

fn pin(receiver: &Receiver) {
    let pinned = match receiver.cpus.as_slice() {
        [] => affinity::unpin_current_thread(),
        cpus => affinity::pin_current_thread(cpus),
    };
    if let Err(error) = pinned {
        warn!(receiver = %receiver.id, cpus = ?receiver.cpus, "can't pin the handler (TASKSET): {error}");
    }
}

async fn serve(
    receiver: Arc<Receiver>,
    offload: Option<Arc<Offload>>,
    beat: Beat,
    socket: Socket,
    stats: Arc<ReceiverStats>,
    estate: Estate,
    mut inbox: mpsc::Receiver<Command>,
) -> anyhow::Result<Vec<Left>> {
    let (stop, stopping) = watch::channel(false);
    tokio::task::spawn_local(estate.pulse.keep());
    let protocol = receiver.protocol;
    let heirs = read(&estate.journal);
    let keeping = (Journal::new(estate.journal), estate.store);
    let shared =
        Rc::new(Shared::new(Arc::clone(&receiver), offload, beat, stats, stopping, keeping));
    recording::follow(&shared, &receiver).context("can't start the threads that record")?;
    spooling::follow(&shared, &receiver).context("can't start the thread of the spool")?;
    let input = listen(&shared, protocol, socket, heirs, estate.exporters)?;
    tokio::task::spawn_local(keep_journal(Rc::clone(&shared)));
    tokio::task::spawn_local(look_after_outlets(Rc::clone(&shared)));
    let (drain, leaving, deaf) = loop {
        match inbox.recv().await {
            Some(Command::NetworkChanged) => {
                shared.note_unanswered();
                for relay in shared.relays() {
                    relay.borrow_mut().network_changed();
                }
            }
            Some(Command::Suspend(done)) => {
                suspend(&shared);
                let _ = done.send(());
            }
            Some(Command::Reconfigure(receiver, offload, done)) => {
                reconfigure(&shared, receiver, offload)?;
                let _ = done.send(());
            }
            Some(Command::Rotate(done)) => recording::rotate(&shared, done),
            Some(Command::PurgeSpools(destination, done)) => {
                spooling::purge(&shared, destination, done);
            }
            Some(Command::Stop { drain, leaving, deaf }) => break (drain, leaving, deaf),
            None => return Ok(Vec::new()),
        }
    };
    shared.leaving.set(leaving);
    if leaving == Leaving::Nothing {
        // Before another receiver on the same port begins its own.
        shared.journal.borrow_mut().remove();
    }
    let _ = stop.send(true);
    let _ = input.await;
    let _ = deaf.send(());
    drained(&shared, Instant::now() + drain).await;
    Ok(shared.end_journal())
}

/// Keeps the journal up to date.
async fn keep_journal(shared: Rc<Shared>) {
    let mut stopping = shared.stopping.clone();
    let mut tick = interval(JOURNAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => shared.write_journal(),
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Serves what comes in; goes on with the sessions of the daemon before first.
fn listen(
    shared: &Rc<Shared>,
    protocol: Protocol,
    socket: Socket,
    heirs: Result<Vec<Heir>, Damaged>,
    exporters: Vec<Exporter>,
) -> io::Result<JoinHandle<()>> {
    if let Err(damaged) = &heirs {
        let receiver = shared.receiver().id;
        warn!(%receiver, "sessions begin anew: {damaged}");
    }
    Ok(match protocol {
        Protocol::Tcp => {
            let listener = TcpListener::from_std(socket.into())?;
            input::tcp::resume(shared, heirs.ok(), exporters);
            tokio::task::spawn_local(input::tcp::serve(Rc::clone(shared), listener))
        }
        Protocol::Udp => {
            let socket = UdpSocket::from_std(socket.into())?;
            let heirs = heirs.unwrap_or_default();
            tokio::task::spawn_local(input::udp::serve(Rc::clone(shared), socket, heirs))
        }
    })
}

/// Lets go of what has been acknowledged since the last messages were sent, and sees whether more can
/// be read from the disk, or has to be written there.
async fn look_after_outlets(shared: Rc<Shared>) {
    loop {
        sleep(LOOK).await;
        for relay in shared.relays() {
            relay.borrow_mut().look_after_outlets();
        }
        shared.probe_destinations();
        spooling::remind(&shared);
    }
}

fn suspend(shared: &Rc<Shared>) {
    *shared.offload.borrow_mut() = None;
    for relay in shared.relays() {
        relay.borrow_mut().own();
    }
}

fn reconfigure(
    shared: &Rc<Shared>,
    receiver: Arc<Receiver>,
    offload: Option<Arc<Offload>>,
) -> anyhow::Result<()> {
    *shared.offload.borrow_mut() = offload;
    if shared.receiver().cpus != receiver.cpus {
        pin(&receiver);
    }
    *shared.receiver.borrow_mut() = Arc::clone(&receiver);
    recording::follow(shared, &receiver).context("can't start the threads that record")?;
    for relay in shared.relays() {
        let peer = relay.borrow().peer;
        if shared.allows(peer) {
            Relay::reconfigure(&relay, &receiver);
            relay.borrow_mut().follow_offload();
        } else {
            relay.borrow_mut().dismiss();
        }
    }
    spooling::follow(shared, &receiver).context("can't start the thread of the spool")?;
    shared.stats.keep_destinations(receiver.outputs());
    shared.keep_health(receiver.outputs());
    Ok(())
}

/// Waits until the sessions have ended and sent what they had, or for the time limit.
async fn drained(shared: &Rc<Shared>, deadline: Instant) {
    // TCP sessions see the stop, read what is there, and end.
    tokio::task::yield_now().await;
    while Instant::now() < deadline && (!recording::is_complete(shared) || shared.has_sessions()) {
        sleep(DRAIN_POLL).await;
    }
    let receiver = shared.receiver().id;
    if !spooling::leave_all(shared).await {
        warn!(%receiver, "the end does not wait for the disk to take all of the spool");
    }
    let waiting: u64 = shared.relays().iter().map(|relay| relay.borrow().waiting()).sum();
    if waiting > 0 {
        warn!(%receiver, waiting, "messages could not be delivered before the end");
    }
    if !recording::is_complete(shared) {
        warn!(%receiver, "the end does not wait for all dump files to be finished and announced");
    }
}
