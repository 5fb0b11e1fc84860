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
    paths::{self, Paths},
    status::{InterfaceStatus, ReceiverStatus},
};
use crate::{
    config::{Mode, Protocol, Receiver, ReceiverId},
    handler::Handler,
    kernel::Offload,
    net::socket::{self, Listening, listen},
    record::Beat,
    stats::ReceiverStats,
};

/// The receivers that are served, and those that are coming to their end.
pub struct Receivers {
    paths: Paths,
    beats: Beats,
    running: Vec<Running>,
    ending: Vec<Handler>,
}

struct Running {
    receiver: Arc<Receiver>,
    handler: Handler,
    stats: Arc<ReceiverStats>,
    /// The handler's socket: a successor on the same port takes it over, with all that waits in it.
    socket: Socket,
    address: SocketAddr,
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
    /// None yet, of the balancer with this configuration file.
    pub fn new(config: &Path) -> Receivers {
        Receivers {
            paths: Paths::new(config),
            beats: Beats::default(),
            running: Vec::new(),
            ending: Vec::new(),
        }
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
                warn!(receiver = %running.receiver.id, "can't set UDP_GRO: {error}");
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
        for receiver in wanted.iter().filter(|wanted| self.on_same_port(wanted).is_none()) {
            to_start.push((Arc::clone(receiver), self.open(receiver)?));
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
        for (receiver, listening) in to_start {
            changes.started.push(receiver.id);
            let offload = self.paths.place(&receiver).await?;
            let beat = self.beats.of(receiver.id);
            self.running.push(start(receiver, offload, beat, listening)?);
        }
        self.paths.forget_others();
        self.refresh();
        self.running.sort_by_key(|running| running.receiver.id);
        Ok(changes)
    }

    /// The socket of a receiver that is to be started: one that listens there already, or a new one.
    fn open(&self, receiver: &Receiver) -> anyhow::Result<Listening> {
        let there =
            self.running.iter().find(|running| endpoint(&running.receiver) == endpoint(receiver));
        match there {
            Some(running) => Ok(Listening {
                socket: running.socket.try_clone()?,
                address: running.address,
                capped_buffer: None,
            }),
            None => listen(receiver.protocol, receiver.bind, receiver.port)
                .with_context(|| format!("{}", receiver.id)),
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
            running.handler.stop(super::DRAIN).await;
            self.paths.remove(running.receiver.id);
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

    /// Ends all handlers; each has `drain` to send what waits. Launched subreceivers end last: they
    /// get what the others still send.
    pub async fn stop(&mut self, drain: Duration) {
        let (launched, others): (Vec<_>, Vec<_>) =
            self.running.drain(..).partition(|running| running.receiver.id.parent().is_some());
        for group in [others, launched] {
            for running in &group {
                running.handler.stop(drain).await;
            }
            for running in group {
                running.handler.join().await;
            }
        }
        for handler in self.ending.drain(..) {
            handler.join().await;
        }
    }

    /// Notices handlers that have come to an end of their own.
    ///
    /// # Errors
    ///
    /// A receiver is not served any more; the daemon has to be started anew.
    pub fn look_after(&mut self) -> anyhow::Result<()> {
        self.ending.retain(Handler::is_alive);
        match self.running.iter().find(|running| !running.handler.is_alive()) {
            Some(dead) => bail!("{}: the handler has ended unexpectedly", dead.receiver.id),
            None => Ok(()),
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

fn start(
    receiver: Arc<Receiver>,
    offload: Option<Arc<Offload>>,
    beat: Beat,
    listening: Listening,
) -> anyhow::Result<Running> {
    if let Some(granted) = listening.capped_buffer {
        warn!(
            receiver = %receiver.id, granted,
            "the receive buffer is smaller than asked for: raise net.core.rmem_max, or give CAP_NET_ADMIN"
        );
    }
    let stats = Arc::new(ReceiverStats::default());
    stats.keep_destinations(receiver.outputs());
    let socket = listening.socket.try_clone()?;
    let handler =
        Handler::start(Arc::clone(&receiver), offload, beat, listening.socket, Arc::clone(&stats))?;
    Ok(Running { receiver, handler, stats, socket, address: listening.address })
}

fn endpoint(receiver: &Receiver) -> impl PartialEq + use<> {
    (receiver.protocol, receiver.bind, receiver.port)
}
