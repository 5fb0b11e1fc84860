//! The service manager's notify protocol (sd_notify(3)): what the daemon tells systemd of itself, and
//! the descriptors that it gives it to keep.
//!
//! Without a service manager there is nobody to tell, and everything here does nothing.

use std::{
    env,
    ffi::OsStr,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{io::AsyncReadExt, net::unix::pipe, time::timeout};
use tracing::warn;

/// Where the service manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";
/// What may wait for the service manager. It reads when it has nothing better to do, and no handler
/// must wait for that.
const WAITING: usize = 65_536;
/// What the service manager hears while all is well.
const ALIVE: &str = "WATCHDOG=1";
/// How long the service manager may take to do all that it was told.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to the service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Sender>);

/// What carries notes to the service manager.
#[derive(Debug)]
pub struct Messenger(Option<(UnixDatagram, Inbox)>);

#[derive(Clone, Debug)]
struct Sender {
    notes: SyncSender<Note>,
    alive: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Inbox {
    notes: Receiver<Note>,
    /// Something that overtakes all notes: thousands of descriptors must not hold it up.
    alive: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Note {
    Text(String, Option<OwnedFd>),
    /// To look at what overtakes.
    Look,
}

impl Notifier {
    /// The service manager that has started this process, and the messenger to it, which has to be
    /// started.
    pub fn from_environment() -> (Notifier, Messenger) {
        let none = (Notifier(None), Messenger(None));
        let Some(name) = env::var_os(SOCKET).filter(|name| !name.is_empty()) else { return none };
        match connect(&name) {
            Ok(socket) => open(socket),
            Err(error) => {
                warn!(socket = ?name, "the service manager ({SOCKET}) can't be reached: {error}");
                none
            }
        }
    }

    /// Whether there is a service manager.
    pub fn is_connected(&self) -> bool {
        self.0.is_some()
    }

    /// The daemon serves all its receivers.
    pub fn ready(&self) {
        self.tell("READY=1".to_owned(), None);
    }

    /// What the daemon does at present, in one line for people.
    pub fn status(&self, text: &str) {
        self.tell(format!("STATUS={text}"), None);
    }

    /// All is well.
    pub fn alive(&self) {
        let Some(Sender { notes, alive }) = &self.0 else { return };
        alive.store(true, Relaxed);
        // Where so much waits that this does not fit, it is looked at anyway.
        let _ = notes.try_send(Note::Look);
    }

    /// The daemon reads its configuration anew, or is about to be replaced; [`Notifier::ready`] says
    /// that it is done.
    pub fn reloading(&self) {
        // The manager tells by the time which reload is meant.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"), None);
    }

    /// The daemon is coming to its end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1".to_owned(), None);
    }

    /// Gives a descriptor into the service manager's keeping under a name. It stays there even if the
    /// peer of a connection hangs up: what it has sent before may not have been read.
    pub fn keep(&self, name: &str, descriptor: OwnedFd) {
        self.tell(format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), Some(descriptor));
    }

    /// Has the service manager close what it keeps under a name.
    pub fn release(&self, name: &str) {
        self.tell(format!("FDSTOREREMOVE=1\nFDNAME={name}"), None);
    }

    /// Waits until the service manager has done all that it was told so far.
    pub async fn settled(&self) {
        if !self.is_connected() {
            return;
        }
        let closed = async {
            let (reader, writer) = io::pipe()?;
            self.tell("BARRIER=1".to_owned(), Some(writer.into()));
            // It closes its end when it comes to it.
            pipe::Receiver::from_owned_fd(reader.into())?.read(&mut [0]).await
        };
        if !matches!(timeout(PATIENCE, closed).await, Ok(Ok(_))) {
            warn!("the service manager does not answer");
        }
    }

    fn tell(&self, text: String, descriptor: Option<OwnedFd>) {
        let Some(Sender { notes, .. }) = &self.0 else { return };
        if let Err(error) = notes.try_send(Note::Text(text, descriptor)) {
            warn!("the service manager can't be told: {error}");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

fn open(socket: UnixDatagram) -> (Notifier, Messenger) {
    let (sender, receiver) = sync_channel(WAITING);
    let alive = Arc::<AtomicBool>::default();
    let inbox = Inbox { notes: receiver, alive: Arc::clone(&alive) };
    (Notifier(Some(Sender { notes: sender, alive })), Messenger(Some((socket, inbox))))
}

impl Messenger {
    /// Starts the thread that tells the service manager. What it was told before waits.
    pub fn start(self) -> io::Result<()> {
        if let Some((socket, inbox)) = self.0 {
            let tell = move || pass_on(&socket, &inbox);
            thread::Builder::new().name("notify".to_owned()).spawn(tell)?;
        }
        Ok(())
    }
}

fn pass_on(socket: &UnixDatagram, inbox: &Inbox) {
    let tell = |text: &str, descriptor| {
        if let Err(error) = send(socket, text, descriptor) {
            warn!("the service manager can't be told {text:?}: {error}");
        }
    };
    while let Ok(note) = inbox.notes.recv() {
        if inbox.alive.swap(false, Relaxed) {
            tell(ALIVE, None);
        }
        if let Note::Text(text, descriptor) = note {
            tell(&text, descriptor);
        }
    }
}

fn send(socket: &UnixDatagram, text: &str, descriptor: Option<OwnedFd>) -> io::Result<()> {
    let descriptors = descriptor.as_ref().map(AsFd::as_fd);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptor) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)));
    }
    sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_arrive_as_they_were_told_and_a_sign_of_life_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let (notifier, messenger) = open(connect(path.as_os_str()).unwrap());
        let (_, writer) = io::pipe().unwrap();
        notifier.keep("7", writer.into());
        notifier.release("7");
        notifier.alive();
        messenger.start().unwrap();
        let mut bytes = [0; 100];
        for expected in ["WATCHDOG=1", "FDSTORE=1\nFDPOLL=0\nFDNAME=7", "FDSTOREREMOVE=1\nFDNAME=7"]
        {
            let len = manager.recv(&mut bytes).unwrap();
            assert_eq!(std::str::from_utf8(&bytes[..len]).unwrap(), expected);
        }
    }

    #[test]
    fn without_a_service_manager_nothing_is_told() {
        let notifier = Notifier(None);
        notifier.ready();
        assert!(!notifier.is_connected());
    }
}
