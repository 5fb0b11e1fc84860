//! A tool that runs in the background, with its output in a file.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::poll;

/// A running tool in a process group of its own, ended with all its children when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    /// Starts what `command` makes of a folder for the tool's files.
    pub(super) fn start(command: impl FnOnce(&Path) -> Result<Command>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ipfix-tool-").tempdir()?;
        let mut command = command(folder.path())?;
        let output = File::create(folder.path().join("output"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        Ok(Self { child, folder })
    }

    /// The tool's files.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything it has printed.
    pub(super) fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// Waits until it has printed `text`; fails at once if it ends before.
    pub(super) fn wait_for_output(&mut self, text: &str) -> Result<()> {
        let found = poll::until(poll::PATIENCE, &format!("`{text}` in the output"), || {
            let ended = self.child.try_wait().ok().flatten();
            (ended.is_some() || self.output().contains(text)).then_some(())
        });
        if found.is_err() || !self.output().contains(text) {
            bail!("no `{text}` in the tool's output:\n{}", self.output());
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has. It tells its children itself: nfacctd's, told
    /// by us as well, print what they have a second time.
    pub(super) fn end(&mut self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal)?;
        let child = &mut self.child;
        poll::until(poll::PATIENCE, "the tool ended", || child.try_wait().ok().flatten())?;
        Ok(())
    }

    /// Waits until it listens on `address`.
    pub(super) fn wait_until_bound(&self, address: SocketAddr) -> Result<()> {
        poll::wait(&format!("somebody listens on {address}"), || {
            self.udp_backlog(address).is_some()
        })
    }

    /// Waits until its socket on `address` has been read empty.
    pub(super) fn wait_until_read(&self, address: SocketAddr) -> Result<()> {
        poll::wait(&format!("{address} is read empty"), || self.udp_backlog(address) == Some(0))
    }

    /// Octets that wait in the UDP socket bound to `address` (IPv4) in the tool's network
    /// namespace, none if there is no such socket.
    fn udp_backlog(&self, address: SocketAddr) -> Option<u64> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/udp", self.child.id())).ok()?;
        let port = format!(":{:04X}", address.port());
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            fields.nth(1).filter(|local| local.ends_with(&port))?;
            let (_, received) = fields.nth(2)?.split_once(':')?;
            u64::from_str_radix(received, 16).ok()
        })
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either may find that it has ended already.
        drop(self.pid().map(|pid| killpg(pid, Signal::SIGKILL)));
        drop(self.child.wait());
    }
}
