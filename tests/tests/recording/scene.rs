//! A daemon that records into a directory of its own.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol;
use ipfix_balancer_tests::daemon::{Daemon, Receiver};
use ipfix_balancer_tests::dump::{self, DumpFile};
use ipfix_balancer_tests::exporter::Exporter;
use ipfix_balancer_tests::net::{V4, free_address};
use tempfile::TempDir;

/// Files rotate when they are told to, unless a test says otherwise.
pub const BY_HAND: (&str, u32) = ("ROTATE_MINUTES", 0);

pub struct Scene {
    pub daemon: Daemon,
    pub receiver: Receiver,
    folder: TempDir,
}

impl Scene {
    /// `FULLFLOW[0]`, with these parameters.
    pub fn new(protocol: Protocol, parameters: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let receiver = receiver(protocol, &directory(&folder), parameters)?;
        Self::serving(folder, receiver)
    }

    /// This receiver, which records somewhere in the folder.
    pub fn serving(folder: TempDir, receiver: Receiver) -> Result<Self> {
        let daemon = Daemon::start(std::slice::from_ref(&receiver))?;
        Ok(Self { daemon, receiver, folder })
    }

    /// Where dump files are.
    pub fn directory(&self) -> PathBuf {
        directory(&self.folder)
    }

    pub fn exporter(&self) -> Result<Exporter> {
        Exporter::connect(self.receiver.protocol(), self.receiver.address())
    }

    /// Waits until the receiver has written so many messages since its start.
    pub fn wait_for_messages(&self, count: usize) -> Result<()> {
        let count = u64::try_from(count)?;
        self.daemon.wait_for(&self.receiver.name(), &format!("{count} messages recorded"), |now| {
            now.recorded("messages") >= count
        })
    }

    /// `ipfix-balancer rotate`.
    pub fn rotate(&self) -> Result<()> {
        let outcome = self.daemon.command(&["rotate"])?;
        ensure!(outcome.code == 0, "rotate: {}{}", outcome.stdout, outcome.stderr);
        Ok(())
    }

    /// The finished files; each can be read on its own.
    pub fn files(&self) -> Result<Vec<DumpFile>> {
        let files = dump::finished(&self.directory())?;
        files.iter().try_for_each(dump::stands_alone)?;
        Ok(files)
    }
}

/// A receiver that records into `directory`.
pub fn receiver(
    protocol: Protocol,
    directory: &Path,
    parameters: &[(&str, &str)],
) -> Result<Receiver> {
    let mut receiver = Receiver::recording(protocol, free_address(V4)?, directory);
    if !parameters.iter().any(|(name, _)| name.starts_with("ROTATE_")) {
        receiver = receiver.set(BY_HAND.0, BY_HAND.1);
    }
    for (name, value) in parameters {
        receiver = receiver.set(name, value);
    }
    Ok(receiver)
}

/// The directory of the dump files in a test's folder; the daemon has to create it.
pub fn directory(folder: &TempDir) -> PathBuf {
    folder.path().join("dump/files")
}
