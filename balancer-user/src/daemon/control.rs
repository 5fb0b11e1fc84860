//! The control socket: how `status`, `reload`, `rotate` and `stop` reach the daemon.
//!
//! A unix socket whose name follows from the configuration file's path, so that several daemons
//! live side by side. One JSON request a connection, one JSON reply, each on a line.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{PermissionsExt, chown},
            net::{UnixListener as StdListener, UnixStream as ClientStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::warn;

use super::{clients::Clients, status::Status};
use crate::{
    config::instance,
    log::{Level, LogLine},
    rate_limit::RateLimit,
    succession::{Archive, Left, Received, hand_on, take_over},
};

/// Where root's daemons have their sockets.
const SYSTEM_DIR: &str = "/run/ipfix-balancer";
/// The longest request, in bytes.
const MAX_REQUEST: u64 = 1024;
/// How long a client may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the daemon may take to answer: a stop drains first.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that wait for the daemon.
const PENDING: usize = 16;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Drop what is spooled, of a receiver or all, for a destination or all.
    PurgeSpool {
        /// For example `FULLFLOW[0]`.
        receiver: Option<String>,
        /// For example `10.19.3.21/1500/tcp`, or `any`.
        destination: Option<String>,
    },
    /// Read the configuration anew.
    Reload,
    /// Log the lines of this level, and of more urgent ones.
    LogLevel(Level),
    /// Begin new dump files.
    Rotate,
    /// Tell the state.
    Status,
    /// Tell the lines of the log after this one.
    Log {
        /// Its time; 0 = all that are kept.
        after: u64,
    },
    /// Give way to the client, which goes on with everything: instead of a reply it gets the sockets.
    HandOver,
    /// End.
    Stop,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done; what has changed.
    Done(String),
    /// It could not be done; why.
    Failed(String),
    /// The configuration is faulty; nothing has changed.
    Refused(String),
    /// The state.
    Status(Box<Status>),
    /// Lines of the log, the oldest first.
    Log(Vec<LogLine>),
}

/// Why the control socket is of no use.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Another daemon answers on it.
    #[error("the daemon is running already with this configuration ({})", .0.display())]
    AlreadyRunning(PathBuf),
    /// There is no place for it.
    #[error("can't make the control socket {}: {source}; run as root, or set XDG_RUNTIME_DIR", path.display())]
    NoPlace {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answers on it.
    #[error("no daemon is running with the configuration {}: start it with `ipfix-balancer run`", config.display())]
    NotRunning {
        /// The configuration file.
        config: PathBuf,
    },
    /// Somebody else's.
    #[error(
        "the daemon's control socket is not for you: use root, or a member of the group in IPFIX_CONTROL_GROUP"
    )]
    Denied,
    /// It does not give way to another one.
    #[error("the running daemon can't be replaced: {0}")]
    Refused(String),
    /// The connection broke.
    #[error("the daemon did not answer: {0}")]
    Broken(#[from] io::Error),
    /// Not an answer of this version's daemon.
    #[error("the daemon's answer can't be understood: {0}")]
    Answer(#[from] serde_json::Error),
}

/// Sends a request to the daemon that runs with `config`, and waits for its reply.
pub fn ask(config: &Path, request: Request) -> Result<Reply, ControlError> {
    let mut answer = Vec::new();
    BufReader::new(send(config, request)?).read_until(b'\n', &mut answer)?;
    read_reply(&answer)
}

/// Has the daemon that runs with `config` give way, and takes over its sockets.
pub fn take_over_from(config: &Path) -> Result<Vec<OwnedFd>, ControlError> {
    match take_over(&send(config, Request::HandOver)?)? {
        Received::Sockets(sockets) => Ok(sockets),
        Received::Text(answer) => match read_reply(&answer)? {
            Reply::Failed(why) | Reply::Refused(why) => Err(ControlError::Refused(why)),
            Reply::Done(_) | Reply::Status(_) | Reply::Log(_) => {
                Err(io::Error::from(io::ErrorKind::InvalidData).into())
            }
        },
    }
}

fn send(config: &Path, request: Request) -> Result<ClientStream, ControlError> {
    let not_running = || ControlError::NotRunning { config: config.to_owned() };
    let mut stream = Err(not_running());
    for dir in directories() {
        match ClientStream::connect(dir.join(socket_name(config))) {
            Ok(connected) => {
                stream = Ok(connected);
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                stream = Err(ControlError::Denied);
            }
            Err(_) => {}
        }
    }
    let mut stream = stream?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(stream)
}

fn read_reply(answer: &[u8]) -> Result<Reply, ControlError> {
    if answer.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(serde_json::from_slice(answer)?)
}

/// Removes what the daemons that ran with `config` have noted for the next one.
pub fn forget(config: &Path) -> io::Result<()> {
    for dir in directories() {
        match Archive::new(&dir, config).keep_only(&[]) {
            // Who may not look there has left nothing there.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) => {}
            result => result?,
        }
    }
    Ok(())
}

/// The daemon's end, before it is served. The socket's file is removed with it.
pub struct Socket {
    path: Removed,
    listener: StdListener,
    clients: Clients,
}

/// The daemon's end.
pub struct Server {
    path: Removed,
    requests: mpsc::Receiver<(Request, Client)>,
    asker: Asker,
}

/// Asks the daemon from within: what the control socket is for other processes.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<(Request, Client)>);

impl Asker {
    /// Waits for the daemon's reply; `None` when it comes to its end first.
    pub async fn ask(&self, request: Request) -> Option<Reply> {
        let (sender, reply) = oneshot::channel();
        self.0.send((request, Client::Within(sender))).await.ok()?;
        reply.await.ok()
    }
}

impl Socket {
    /// Opens the socket of the daemon that runs with `config`, for these clients. Giving it to a group
    /// may take privileges that the daemon has only at its start.
    pub fn open(config: &Path, clients: Clients) -> Result<Socket, ControlError> {
        let name = socket_name(config);
        let mut refused = None;
        for dir in directories() {
            let path = dir.join(&name);
            if ClientStream::connect(&path).is_ok() {
                return Err(ControlError::AlreadyRunning(config.to_owned()));
            }
            match bind(&dir, &path, &clients) {
                Ok(listener) => return Ok(Socket { path: Removed(path), listener, clients }),
                Err(source) => refused = refused.or(Some((path, source))),
            }
        }
        let (path, source) =
            refused.unwrap_or_else(|| (PathBuf::new(), io::ErrorKind::NotFound.into()));
        Err(ControlError::NoPlace { path, source })
    }

    /// Serves clients.
    pub fn serve(self) -> io::Result<Server> {
        let (sender, requests) = mpsc::channel(PENDING);
        let listener = UnixListener::from_std(self.listener)?;
        tokio::spawn(accept(listener, self.clients, sender.clone()));
        Ok(Server { path: self.path, requests, asker: Asker(sender) })
    }
}

impl Server {
    /// A way to ask from within.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Where the socket is: a directory of files that are gone when the host restarts.
    pub fn directory(&self) -> &Path {
        self.path.0.parent().unwrap_or(Path::new("/"))
    }

    /// The next request, and who waits for the reply.
    pub async fn next(&mut self) -> (Request, Client) {
        match self.requests.recv().await {
            Some(request) => request,
            // This very server holds the other end.
            None => std::future::pending().await,
        }
    }
}

/// A file that goes with this.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Who waits for a reply.
pub enum Client {
    /// Another process, by the control socket.
    Process(UnixStream),
    /// A task of the daemon.
    Within(oneshot::Sender<Reply>),
}

impl Client {
    /// Hands the daemon's sockets on to the client: it goes on with them.
    pub async fn hand_on(self, sockets: Vec<Left>) -> io::Result<()> {
        let Client::Process(stream) = self else { return Ok(()) };
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
        hand_on(&stream, &sockets)
    }

    /// Replies. A client that has gone away needs no answer, one that does not read gets none.
    pub async fn answer(self, reply: Reply) {
        match self {
            Client::Process(mut stream) => {
                if let Ok(mut bytes) = serde_json::to_vec(&reply) {
                    bytes.push(b'\n');
                    let _ = timeout(REQUEST_TIMEOUT, stream.write_all(&bytes)).await;
                }
            }
            Client::Within(sender) => drop(sender.send(reply)),
        }
    }
}

fn bind(dir: &Path, path: &Path, clients: &Clients) -> io::Result<StdListener> {
    fs::create_dir_all(dir)?;
    // A daemon that was killed has left its socket behind.
    let _ = fs::remove_file(path);
    let listener = StdListener::bind(path)?;
    listener.set_nonblocking(true)?;
    if let Some(group) = clients.group() {
        // A daemon that is nobody special can't: then only its own user may.
        if let Err(error) = chown(path, None, Some(group.as_raw())) {
            warn!("the control socket can't be given to its group (IPFIX_CONTROL_GROUP): {error}");
        }
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

async fn accept(
    listener: UnixListener,
    clients: Clients,
    requests: mpsc::Sender<(Request, Client)>,
) {
    let log = RateLimit::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(peer) => {
                    let allowed = clients.allow(&peer);
                    if !allowed && let Some(left_out) = log.pass() {
                        warn!(
                            uid = peer.uid(),
                            left_out, "a control connection was refused (IPFIX_CONTROL_GROUP)"
                        );
                    }
                    let refusal = (!allowed).then(|| clients.refusal());
                    tokio::spawn(serve(stream, refusal, requests.clone()));
                }
                Err(error) => warn!("a control connection can't tell who it is from: {error}"),
            },
            Err(error) => {
                warn!(
                    "can't accept a control connection, raise LimitNOFILE if files are short: {error}"
                );
                tokio::time::sleep(REQUEST_TIMEOUT).await;
            }
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    refusal: Option<String>,
    requests: mpsc::Sender<(Request, Client)>,
) {
    let mut line = String::new();
    let mut reader = AsyncBufReader::new((&mut stream).take(MAX_REQUEST));
    let read = timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await;
    if !matches!(read, Ok(Ok(_))) {
        return;
    }
    let client = Client::Process(stream);
    // Only then: who is answered before he has asked finds the connection broken.
    if let Some(refusal) = refusal {
        return client.answer(Reply::Failed(refusal)).await;
    }
    match serde_json::from_str(&line) {
        // With the daemon at its end nobody answers, and the client sees the connection close.
        Ok(request) => drop(requests.send((request, client)).await),
        Err(error) => client.answer(Reply::Failed(format!("not a request: {error}"))).await,
    }
}

/// Where sockets can be, the best place first.
fn directories() -> Vec<PathBuf> {
    let user = env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("ipfix-balancer"));
    [Some(PathBuf::from(SYSTEM_DIR)), user].into_iter().flatten().collect()
}

/// File name of the socket for a configuration file.
fn socket_name(config: &Path) -> String {
    format!("control-{}.sock", instance(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_has_a_socket_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.env"), dir.path().join("b.env"));
        fs::write(&a, "").unwrap();
        fs::write(&b, "").unwrap();
        assert_ne!(socket_name(&a), socket_name(&b));
        assert_eq!(
            socket_name(&a),
            socket_name(&dir.path().join("./b.env/../a.env").canonicalize().unwrap_or(a.clone()))
        );
    }

    #[test]
    fn without_a_daemon_the_client_says_so() {
        let error = ask(Path::new("/nonexistent/.env"), Request::Status).unwrap_err();
        assert!(error.to_string().contains("no daemon is running"), "{error}");
    }
}
