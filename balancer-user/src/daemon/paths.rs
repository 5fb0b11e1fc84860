//! Which path each receiver takes, and why.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use common::maps::{MAX_DESTINATIONS, MAX_RECEIVERS};
use tokio::net::lookup_host;
use tracing::{info, warn};

use crate::{
    config::{Accel, Destination, Host, Mode, Protocol, Receiver, ReceiverId},
    kernel::{self, KernelPath, Offload, PathStatus},
};

/// The kernel path, if it is there, and what was decided for each receiver.
pub struct Paths {
    config: PathBuf,
    /// Set up when the first receiver wants it; `Err` says why it can't be.
    kernel: Option<Result<KernelPath, String>>,
    /// Why receivers are served in userspace.
    userspace: BTreeMap<ReceiverId, String>,
}

impl Paths {
    /// Nothing is set up yet.
    pub fn new(config: &Path) -> Paths {
        Paths { config: config.to_owned(), kernel: None, userspace: BTreeMap::new() }
    }

    /// Finds a receiver its path, and says which and why in the log. `None`: userspace.
    ///
    /// # Errors
    ///
    /// It has to be the kernel path (`ACCEL=require`), and can't be.
    pub async fn place(&mut self, receiver: &Receiver) -> anyhow::Result<Option<Arc<Offload>>> {
        match self.try_place(receiver).await {
            Ok(offload) => {
                self.userspace.remove(&receiver.id);
                info!(receiver = %receiver.id, "takes the kernel path where it can");
                Ok(Some(offload))
            }
            Err(why) if receiver.accel == Accel::Require => Err(refusal(receiver, &why)),
            Err(why) => {
                let why = format!("{why:#}");
                info!(receiver = %receiver.id, "is served in userspace: {why}");
                self.userspace.insert(receiver.id, why);
                Ok(None)
            }
        }
    }

    /// Looks whether those of a configuration's receivers that have to have the kernel path can have
    /// it, before anything is changed.
    ///
    /// # Errors
    ///
    /// One can't.
    pub async fn admit(&mut self, wanted: &[Arc<Receiver>]) -> anyhow::Result<()> {
        let crowd = wanted.iter().filter(|receiver| is_fit(receiver)).count();
        for receiver in wanted.iter().filter(|receiver| receiver.accel == Accel::Require) {
            let able = self.able(receiver).await.map(drop);
            able.and_then(|()| room_for(crowd)).map_err(|why| refusal(receiver, &why))?;
        }
        Ok(())
    }

    async fn able(
        &mut self,
        receiver: &Receiver,
    ) -> anyhow::Result<(&mut KernelPath, Vec<SocketAddr>)> {
        check(receiver)?;
        let collectors = resolve(&receiver.destinations).await?;
        let config = &self.config;
        match self.kernel.get_or_insert_with(|| start(config)) {
            Ok(kernel) => Ok((kernel, collectors)),
            Err(why) => bail!("{why}"),
        }
    }

    async fn try_place(&mut self, receiver: &Receiver) -> anyhow::Result<Arc<Offload>> {
        let (kernel, collectors) = self.able(receiver).await?;
        Ok(kernel.place(receiver, &collectors)?)
    }

    /// Takes a receiver that is served in userspace out of the kernel path, once its sessions have
    /// left it.
    pub fn retire(&mut self, id: ReceiverId) {
        if let (true, Some(Ok(kernel))) = (self.userspace.contains_key(&id), &mut self.kernel) {
            kernel.remove(id);
        }
    }

    /// Forgets a receiver, whose sessions have been closed.
    pub fn remove(&mut self, id: ReceiverId) {
        self.userspace.remove(&id);
        if let Some(Ok(kernel)) = &mut self.kernel {
            kernel.remove(id);
        }
    }

    /// Takes away what a daemon before this one had for receivers that are not configured any more.
    pub fn forget_others(&mut self) {
        if let Some(Ok(kernel)) = &mut self.kernel {
            return kernel.forget_others();
        }
        // Programs of that daemon would go on with its sessions, and nobody would know.
        match kernel::purge(&self.config) {
            Ok(true) => info!("the kernel path of an earlier daemon was taken away"),
            Ok(false) => {}
            // Without privilege it can't be seen whether there is anything.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => {
                warn!(
                    "what an earlier daemon has left in /sys/fs/bpf can't be taken away, run `ipfix-balancer stop --purge` as root: {error}"
                );
            }
        }
    }

    /// Brings the kernel path in line with the network.
    pub fn refresh(&mut self) {
        if let Some(Ok(kernel)) = &mut self.kernel {
            kernel.refresh();
        }
    }

    /// Whether the kernel should hand datagrams over one by one, see [`KernelPath::comes_by_tc`].
    pub fn wants_single_datagrams(&self, id: ReceiverId) -> bool {
        matches!(&self.kernel, Some(Ok(kernel)) if kernel.comes_by_tc(id))
    }

    /// Waits until the network has changed.
    pub async fn changed(&mut self) {
        match &mut self.kernel {
            Some(Ok(kernel)) => kernel.changed().await,
            _ => std::future::pending().await,
        }
    }

    /// Where the kernel path has its pins, if there is one.
    pub fn pins(&self) -> Option<PathBuf> {
        match &self.kernel {
            Some(Ok(_)) => kernel::pins(&self.config),
            _ => None,
        }
    }

    /// See [`KernelPath::egress_drops`].
    pub fn egress_drops(&self) -> BTreeMap<String, u64> {
        match &self.kernel {
            Some(Ok(kernel)) => kernel.egress_drops(),
            _ => BTreeMap::new(),
        }
    }

    /// The kernel path of a receiver, or why it has none.
    pub fn status(&self, id: ReceiverId) -> Result<PathStatus, String> {
        let kernel = match &self.kernel {
            Some(Ok(kernel)) => kernel.status(id),
            _ => None,
        };
        let why = || self.userspace.get(&id).cloned().unwrap_or_default();
        kernel.ok_or_else(why)
    }
}

fn refusal(receiver: &Receiver, why: &anyhow::Error) -> anyhow::Error {
    anyhow!("{}: ACCEL=require, but there is no kernel path: {why:#}", receiver.id)
}

fn start(config: &Path) -> Result<KernelPath, String> {
    KernelPath::start(config).map_err(|error| {
        let error = error.to_string();
        warn!("everything is forwarded in userspace, there is no kernel path: {error}");
        error
    })
}

/// With one receiver too many nobody can count on a place: it must not matter who comes first.
fn room_for(crowd: usize) -> anyhow::Result<()> {
    if crowd > MAX_RECEIVERS {
        bail!(
            "it serves {MAX_RECEIVERS} receivers, and {crowd} of this configuration could take it: \
             set ACCEL=off for some"
        );
    }
    Ok(())
}

/// Whether a receiver gets the kernel path, if there is one.
pub fn is_fit(receiver: &Receiver) -> bool {
    check(receiver).is_ok()
}

/// Whether the kernel path can do what the receiver is to do.
fn check(receiver: &Receiver) -> anyhow::Result<()> {
    let destinations = &receiver.destinations;
    match () {
        () if receiver.accel == Accel::Off => bail!("ACCEL is off"),
        () if receiver.mode == Mode::Disabled => bail!("it records"),
        () if receiver.protocol == Protocol::Tcp => bail!("its exporters use TCP"),
        () if destinations.iter().any(|d| d.protocol == Protocol::Tcp) => {
            bail!("its destinations use TCP")
        }
        () if destinations.len() > MAX_DESTINATIONS => {
            bail!("it has more than {MAX_DESTINATIONS} destinations")
        }
        () => Ok(()),
    }
}

async fn resolve(destinations: &[Destination]) -> anyhow::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::with_capacity(destinations.len());
    for destination in destinations {
        let port = destination.port;
        addresses.push(match &destination.host {
            Host::Ip(ip) => SocketAddr::new(*ip, port),
            Host::Name(name) => lookup_host((name.as_str(), port))
                .await
                .with_context(|| format!("can't resolve {name}"))?
                .next()
                .with_context(|| format!("{name} has no address"))?,
        });
    }
    Ok(addresses)
}
