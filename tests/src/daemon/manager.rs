//! A service manager as far as a daemon can tell: listens on `NOTIFY_SOCKET`, keeps descriptors, and
//! passes them to the next daemon, as systemd does (sd_notify(3), sd_listen_fds(3)).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::poll;

/// Runs the daemon: only the process itself knows the number that it has to be told.
pub(super) const SHELL: [&str; 3] = ["sh", "-c", "export LISTEN_PID=$$; exec \"$0\" \"$@\""];
/// Where passed descriptors begin.
const FIRST: i32 = 3;
const TICK: Duration = Duration::from_millis(20);

/// The service manager of one daemon after the other.
#[derive(Debug)]
pub struct Manager {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Descriptors with their names, in the order in which they came.
    kept: Vec<(String, OwnedFd)>,
    /// What else it was told.
    told: Vec<String>,
}

impl Manager {
    /// How long it would wait for `WATCHDOG=1`. It does nothing when that is over.
    pub const PATIENCE: Duration = Duration::from_secs(2);

    /// A manager whose socket is in `folder`.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let socket = folder.join("notify");
        let listening = UnixDatagram::bind(&socket)?;
        listening.set_read_timeout(Some(TICK))?;
        let (state, stop) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let thread = {
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    receive(&listening, &state);
                }
            })
        };
        Ok(Self { socket, state, stop, thread: Some(thread) })
    }

    /// How many descriptors it keeps.
    pub fn kept(&self) -> usize {
        self.state().kept.len()
    }

    /// Waits until it keeps this many.
    pub fn wait_until_kept(&self, count: usize) -> Result<()> {
        poll::wait("descriptors in the store", || self.kept() == count)
            .map_err(|error| error.context(format!("{} instead of {count}", self.kept())))
    }

    /// Whether it was told something: `READY=1`.
    pub fn was_told(&self, what: &str) -> bool {
        self.state().told.iter().any(|told| told == what)
    }

    /// All that it was told, line by line, but for descriptors.
    pub fn told(&self) -> Vec<String> {
        self.state().told.clone()
    }

    /// Tells the next daemon where it is, and passes it what is kept.
    pub(super) fn prepare(&self, command: &mut Command) -> Result<()> {
        let state = self.state();
        let names: Vec<&str> = state.kept.iter().map(|(name, _)| name.as_str()).collect();
        command.env("NOTIFY_SOCKET", &self.socket);
        command.env("WATCHDOG_USEC", Self::PATIENCE.as_micros().to_string());
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        let mut mappings = Vec::new();
        for (child_fd, (_, descriptor)) in (FIRST..).zip(&state.kept) {
            mappings.push(FdMapping { parent_fd: descriptor.try_clone()?, child_fd });
        }
        command.fd_mappings(mappings).map_err(|error| anyhow!("{error}"))?;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // One that panicked keeps nothing any more.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Takes one message, if there is one.
fn receive(socket: &UnixDatagram, state: &Mutex<State>) {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let buffers = &mut [IoSliceMut::new(&mut bytes)];
    let Ok(received) = recvmsg(socket, buffers, &mut control, RecvFlags::CMSG_CLOEXEC) else {
        return;
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let text = String::from_utf8_lossy(bytes.get(..received.bytes).unwrap_or_default());
    let has = |line: &str| text.lines().any(|it| it == line);
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match descriptor {
        Some(descriptor) if has("FDSTORE=1") => state.kept.push((name.to_owned(), descriptor)),
        // A barrier: that it is closed is the answer.
        Some(_) => {}
        None if has("FDSTOREREMOVE=1") => state.kept.retain(|(kept, _)| kept != name),
        None => state.told.extend(text.lines().map(str::to_owned)),
    }
}
