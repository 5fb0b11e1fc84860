//! In place of the kernel path, in a daemon that is built without it: nothing of it exists.

#[path = "kernel/status.rs"]
mod status;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{Receiver, ReceiverId},
    session::{Router, Targets},
};

pub use status::{OLDEST, PathStatus, Pinned};

/// Why there is no kernel path.
#[derive(Debug, thiserror::Error)]
#[error("this daemon was built without the kernel path (cargo feature `kernel`)")]
pub struct LoadError;

/// There is none.
pub enum KernelPath {}
/// There is none.
pub enum Offload {}
/// There is none.
pub enum Session {}

/// There is none.
pub struct Orphan {
    /// Its exporter.
    pub peer: SocketAddr,
    /// Where its sockets were bound.
    pub sources: Vec<Option<SocketAddr>>,
    _none: Infallible,
}

/// Nobody needs it.
pub fn mount_bpf_fs() -> std::io::Result<()> {
    Ok(())
}

impl KernelPath {
    /// Says that there is none.
    pub fn start(_: &Path) -> Result<KernelPath, LoadError> {
        Err(LoadError)
    }

    /// Never called.
    pub fn place(&mut self, _: &Receiver, _: &[SocketAddr]) -> Result<Arc<Offload>, LoadError> {
        match *self {}
    }

    /// Never called.
    pub fn remove(&mut self, _: ReceiverId) {
        match *self {}
    }

    /// Never called.
    pub fn forget_others(&mut self) {
        match *self {}
    }

    /// Never called.
    pub fn refresh(&mut self) {
        match *self {}
    }

    /// Never called.
    pub fn comes_by_tc(&self, _: ReceiverId) -> bool {
        match *self {}
    }

    /// Never called.
    pub async fn changed(&mut self) {
        match *self {}
    }

    /// Never called.
    pub fn egress_drops(&self) -> BTreeMap<String, u64> {
        match *self {}
    }

    /// Never called.
    pub fn status(&self, _: ReceiverId) -> Option<PathStatus> {
        match *self {}
    }
}

impl Offload {
    /// Never called.
    pub fn leads_to(&self, _: &[Option<SocketAddr>]) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn is_unanswered(&self, _: usize) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn orphans(&self) -> Vec<Orphan> {
        match *self {}
    }
}

impl Session {
    /// There is none.
    pub fn open(offload: &Arc<Offload>, _: SocketAddr) -> Option<Session> {
        match **offload {}
    }

    /// There is none.
    pub fn adopt(offload: &Arc<Offload>, _: &Orphan) -> Option<Session> {
        match **offload {}
    }

    /// Never called.
    pub fn take(&mut self, _: &mut Router) {
        match *self {}
    }

    /// Never called.
    pub fn handle(&mut self, _: Option<IpAddr>, _: &[u8]) {
        match *self {}
    }

    /// Never called.
    pub fn give(&mut self, _: &Router, _: Targets, _: &[Option<SocketAddr>]) {
        match *self {}
    }

    /// Never called.
    pub fn look_after(&mut self, _: bool) {
        match *self {}
    }

    /// Never called.
    pub fn takers(&self) -> Targets {
        match *self {}
    }

    /// Never called.
    pub fn was_active(&mut self) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn close(self) {
        match self {}
    }
}

/// Takes away what another daemon may have left in the kernel: nothing that this one knows of.
pub fn purge(_: &Path) -> std::io::Result<bool> {
    Ok(false)
}

/// None that this daemon knows of.
pub fn pins(_: &Path) -> Option<PathBuf> {
    None
}

/// Nothing that this daemon knows of.
pub fn pinned(_: &Path) -> Option<Pinned> {
    None
}
