//! Which path each receiver takes, and why.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use common::maps::MAX_DESTINATIONS;
use tokio::net::lookup_host;
use tracing::{info, warn};

use crate::{
    config::{Accel, Destination, Host, Mode, Protocol, Receiver, ReceiverId},
    kernel::{KernelPath, Offload, PathStatus},
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
            Err(why) if receiver.accel == Accel::Require => {
                bail!("{}: ACCEL=require, but there is no kernel path: {why:#}", receiver.id)
            }
            Err(why) => {
                let why = format!("{why:#}");
                info!(receiver = %receiver.id, "is served in userspace: {why}");
                self.remove(receiver.id);
                self.userspace.insert(receiver.id, why);
                Ok(None)
            }
        }
    }

    async fn try_place(&mut self, receiver: &Receiver) -> anyhow::Result<Arc<Offload>> {
        check(receiver)?;
        let collectors = resolve(&receiver.destinations).await?;
        let config = &self.config;
        let kernel = self.kernel.get_or_insert_with(|| start(config));
        match kernel {
            Ok(kernel) => Ok(kernel.place(receiver, &collectors)?),
            Err(why) => bail!("{why}"),
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
            kernel.forget_others();
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

fn start(config: &Path) -> Result<KernelPath, String> {
    KernelPath::start(config).map_err(|error| {
        let error = error.to_string();
        warn!("there is no kernel path: {error}");
        error
    })
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
