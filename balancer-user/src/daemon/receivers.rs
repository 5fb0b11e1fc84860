//! The running receivers, and the way from one configuration to the next.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use socket2::Socket;
use tracing::warn;

use super::{
    beats::Beats,
    events::KernelEvents,
    paths::{self, Paths},
    status::{InterfaceStatus, ReceiverStatus},
};
use crate::{
    config::{Mode, Protocol, Receiver, ReceiverId},
    handler::{Estate, Handler},
    kernel::Offload,
    net::socket::{self, Listening, listen},
    stats::ReceiverStats,
    succession::{Archive, Exporter, Heritage, Leaving, Left, Place, Store},
    watchdog::Watchdog,
};

/// The receivers that are served, and those that are coming to their end.
pub struct Receivers {
    paths: Paths,
    beats: Beats,
    archive: Archive,
    /// What the daemon before has left, until the first configuration is in force.
    heritage: Heritage,
    store: Store,
    watchdog: Watchdog,
    running: Vec<Running>,
    ending: Vec<Handler>,
    events: KernelEvents,
}

struct Running {
    receiver: Arc<Receiver>,
    handler: Handler,
    stats: Arc<ReceiverStats>,
    /// The handler's socket: a successor on the same port takes it over, with all that waits in it.
    socket: Socket,
    address: SocketAddr,
    /// The socket's place in the service manager's store.
    place: Option<Place>,
}

/// What a receiver begins with.
struct Opened {
    receiver: Arc<Receiver>,
    listening: Listening,
    place: Option<Place>,
    exporters: Vec<Exporter>,
}

/// What a change of the configuration has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    started: Vec<ReceiverId>,
    changed: Vec<ReceiverId>,
    stopped: Vec<ReceiverId>,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [("started", &self.started), ("changed", &self.changed), ("stopped", &self.stopped)];
        let mut some = kinds.iter().filter(|(_, ids)| !ids.is_empty()).peekable();
        if some.peek().is_none() {
            return f.write_str("nothing changed");
        }
        let mut separator = "";
        for (what, ids) in some {
            let ids: Vec<_> = ids.iter().map(ReceiverId::to_string).collect();
            write!(f, "{separator}{what} {}", ids.join(", "))?;
            separator = "; ";
        }
        Ok(())
    }
}

impl Receivers {
    /// None yet, of the balancer with this configuration file; the first go on with what a daemon
    /// before has left: sockets, and journals in `archive`.
    pub fn new(config: &Path, archive: Archive, (heritage, store): (Heritage, Store)) -> Receivers {
        Receivers {
            paths: Paths::new(config),
            beats: Beats::default(),
            archive,
            heritage,
            store,
            watchdog: Watchdog::default(),
            running: Vec::new(),
            ending: Vec::new(),
            events: KernelEvents::default(),
        }
    }

    /// What has all their handlers in view.
    pub fn watchdog(&self) -> Watchdog {
        self.watchdog.clone()
    }

    /// Waits until the network has changed, and lets the kernel path follow.
    pub async fn network_changed(&mut self) {
        self.paths.changed().await;
        self.refresh();
    }

    /// Brings the kernel path, and what the sockets do for it, in line with the network.
    fn refresh(&mut self) {
        self.paths.refresh();
        for running in self.running.iter().filter(|r| r.receiver.protocol == Protocol::Udp) {
            let joined = !self.paths.wants_single_datagrams(running.receiver.id);
            if let Err(error) = socket::join_datagrams(&running.socket, joined) {
                warn!(receiver = %running.receiver.id, "can't have datagrams joined, or not joined, by the kernel (UDP_GRO): {error}");
            }
        }
        for running in &self.running {
            running.handler.network_changed();
        }
    }

    /// Brings the receivers in line with `wanted`. When one can't have the kernel path that it has to
    /// have, or a socket can't be opened, nothing has changed. Receivers whose parameters are the same are not touched.
    pub async fn apply(&mut self, wanted: &[Arc<Receiver>]) -> anyhow::Result<Changes> {
        self.paths.admit(wanted).await?;
        let mut changes = Changes::default();
        let mut to_start = Vec::new();
        if self.heritage.close_others(wanted) {
            // Until it has closed its copies the ports are taken.
            self.store.settled().await;
        }
        let new: Vec<_> =
            wanted.iter().filter(|wanted| self.on_same_port(wanted).is_none()).cloned().collect();
        for receiver in new {
            to_start.push(self.open(receiver)?);
        }
        self.stop_unwanted(wanted, &mut changes).await;
        let successor = |running: &Running| wanted.iter().find(|w| w.id == running.receiver.id);
        // Those that leave the kernel path make room there for others.
        self.running.sort_by_key(|running| successor(running).is_some_and(|w| paths::is_fit(w)));
        for running in &mut self.running {
            let Some(receiver) = successor(running) else { continue };
            if **receiver != *running.receiver {
                // While the ways change nothing may take them.
                running.handler.suspend().await?;
                let offload = self.paths.place(receiver).await?;
                running.handler.reconfigure(Arc::clone(receiver), offload).await?;
                self.paths.retire(receiver.id);
                running.receiver = Arc::clone(receiver);
                changes.changed.push(receiver.id);
            }
        }
        for opened in to_start {
            let id = opened.receiver.id;
            changes.started.push(id);
            let offload = self.paths.place(&opened.receiver).await?;
            let running = self.start(opened, offload)?;
            self.running.push(running);
        }
        self.paths.forget_others();
        self.forget_journals();
        self.refresh();
        self.running.sort_by_key(|running| running.receiver.id);
        Ok(changes)
    }

    /// The sockets of a receiver that is to be started: those that the daemon before has left, one that
    /// listens there already, or a new one.
    fn open(&mut self, receiver: Arc<Receiver>) -> anyhow::Result<Opened> {
        if let Some((socket, place)) = self.heritage.listening(&receiver) {
            let address =
                socket.local_addr()?.as_socket().context("not a socket of the internet")?;
            let listening = Listening { socket, address, capped_buffer: None };
            let exporters = self.heritage.exporters(&receiver);
            return Ok(Opened { receiver, listening, place, exporters });
        }
        let there =
            self.running.iter().find(|running| endpoint(&running.receiver) == endpoint(&receiver));
        let listening = match there {
            Some(running) => Listening {
                socket: running.socket.try_clone()?,
                address: running.address,
                capped_buffer: None,
            },
            None => listen(receiver.protocol, receiver.bind, receiver.port)
                .with_context(|| format!("{}", receiver.id))?,
        };
        let exporters = self.heritage.exporters(&receiver);
        Ok(Opened { receiver, listening, place: None, exporters })
    }

    fn start(&mut self, opened: Opened, offload: Option<Arc<Offload>>) -> anyhow::Result<Running> {
        let Opened { receiver, listening, place, exporters } = opened;
        if let Some(granted) = listening.capped_buffer {
            warn!(
                receiver = %receiver.id, granted,
                "the receive buffer is smaller than asked for: raise net.core.rmem_max, or give CAP_NET_ADMIN"
            );
        }
        let stats = Arc::new(ReceiverStats::default());
        stats.keep_destinations(receiver.outputs());
        let Listening { socket, address, .. } = listening;
        let place = place.or_else(|| self.store.keep(&socket));
        let estate = Estate {
            exporters,
            journal: self.archive.journal(receiver.protocol, receiver.port),
            store: self.store.clone(),
            pulse: self.watchdog.watch(receiver.id),
        };
        let handler = Handler::start(
            Arc::clone(&receiver),
            offload,
            self.beats.of(receiver.id),
            socket.try_clone()?,
            Arc::clone(&stats),
            estate,
        )?;
        Ok(Running { receiver, handler, stats, socket, address, place })
    }

    /// Removes journals of receivers that are no more.
    fn forget_journals(&self) {
        let running = self.running.iter().map(|running| &running.receiver);
        let journals: Vec<_> = running
            .map(|receiver| self.archive.journal(receiver.protocol, receiver.port))
            .collect();
        if let Err(error) = self.archive.keep_only(&journals) {
            warn!("old journals can't be removed: {error}");
        }
    }

    /// The running receiver of the same name and endpoint: it can go on with other parameters.
    fn on_same_port(&self, wanted: &Receiver) -> Option<&Running> {
        self.running.iter().find(|running| {
            running.receiver.id == wanted.id && endpoint(&running.receiver) == endpoint(wanted)
        })
    }

    async fn stop_unwanted(&mut self, wanted: &[Arc<Receiver>], changes: &mut Changes) {
        let goes_on = |running: &Running| {
            wanted.iter().any(|wanted| {
                wanted.id == running.receiver.id && endpoint(wanted) == endpoint(&running.receiver)
            })
        };
        let (stay, go): (Vec<_>, Vec<_>) = self.running.drain(..).partition(goes_on);
        self.running = stay;
        for running in go {
            changes.stopped.push(running.receiver.id);
            running.handler.stop(super::DRAIN, Leaving::Nothing).await;
            self.paths.remove(running.receiver.id);
            // Its successor on the same port, if there is one, puts it there anew.
            running.place.into_iter().for_each(Place::release);
            self.ending.push(running.handler);
        }
    }

    /// Begins new intervals of recording; the receivers that do, once the files of the old ones have
    /// their final names.
    ///
    /// # Errors
    ///
    /// A handler has ended.
    pub async fn rotate(&self) -> anyhow::Result<Vec<String>> {
        let mut rotated = Vec::new();
        for running in self.running.iter().filter(|r| r.receiver.mode == Mode::Disabled) {
            running.handler.rotate().await?;
            rotated.push(running.receiver.id.to_string());
        }
        Ok(rotated)
    }

    /// Drops what is spooled, of the receiver of this name or all, for one destination or all: how many
    /// messages that was.
    ///
    /// # Errors
    ///
    /// A handler has ended.
    pub async fn purge_spools(
        &self,
        receiver: Option<&str>,
        destination: Option<&str>,
    ) -> anyhow::Result<u64> {
        let mut purged = 0;
        for running in &self.running {
            if receiver.is_none_or(|name| running.receiver.id.to_string() == name) {
                purged += running.handler.purge_spools(destination.map(str::to_owned)).await?;
            }
        }
        Ok(purged)
    }

    /// Ends all handlers; each has `drain` to send what waits. Launched subreceivers end last: they
    /// get what the others still send. The sockets that are left to the next daemon.
    pub async fn stop(&mut self, drain: Duration, leaving: Leaving) -> Vec<Left> {
        let (launched, others): (Vec<_>, Vec<_>) =
            self.running.drain(..).partition(|running| running.receiver.id.parent().is_some());
        let mut left = Vec::new();
        for group in [others, launched] {
            for running in &group {
                running.handler.stop(drain, leaving).await;
            }
            for running in group {
                left.extend(running.handler.join().await);
                match leaving {
                    Leaving::Everything => {
                        left.push(Left { socket: running.socket.into(), place: running.place });
                    }
                    Leaving::Sessions | Leaving::Nothing => {
                        running.place.into_iter().for_each(Place::release);
                    }
                }
            }
        }
        for handler in self.ending.drain(..) {
            handler.join().await;
        }
        left
    }

    /// Notices handlers that have come to an end of their own.
    ///
    /// # Errors
    ///
    /// A receiver is not served any more; the daemon has to be started anew.
    pub fn look_after(&mut self) -> anyhow::Result<()> {
        self.ending.retain(Handler::is_alive);
        self.tell_kernel_events();
        match self.running.iter().find(|running| !running.handler.is_alive()) {
            Some(dead) => bail!("{}: the handler has ended unexpectedly", dead.receiver.id),
            None => Ok(()),
        }
    }

    fn tell_kernel_events(&mut self) {
        if !KernelEvents::wanted() {
            return;
        }
        for id in self.running.iter().map(|running| running.receiver.id) {
            if let Ok(status) = self.paths.status(id) {
                self.events.tell(id, &status);
            }
        }
    }

    /// Where the kernel path has its pins, if there is one.
    pub fn pins(&self) -> Option<PathBuf> {
        self.paths.pins()
    }

    /// The interfaces that the kernel path sends by.
    pub fn interfaces(&self) -> Vec<InterfaceStatus> {
        let drops = self.paths.egress_drops().into_iter();
        drops.map(|(name, refused)| InterfaceStatus::of(name, refused)).collect()
    }

    /// The state of every receiver, in the order of the configuration.
    pub fn status(&self) -> Vec<ReceiverStatus> {
        let running = self.running.iter();
        let status = |r: &Running| {
            let path = self.paths.status(r.receiver.id);
            ReceiverStatus::of(&r.receiver, r.address, &r.stats, &path)
        };
        running.map(status).collect()
    }
}

fn endpoint(receiver: &Receiver) -> impl PartialEq + use<> {
    (receiver.protocol, receiver.bind, receiver.port)
}
