//! Questions to balancers on other hosts, over SSH: `ipfix-balancer manage` is run there.
//!
//! The system's OpenSSH does it, with the operator's keys, and with host keys that are known already:
//! nobody is there who could be asked. Where the data directory has an `ssh_config` or `known_hosts`,
//! these take the place of the user's.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use openssh::{KnownHosts, Session, SessionBuilder, Stdio};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Mutex,
    time::timeout,
};

use super::{data::Data, equipment::Server};
use crate::manage::{Answer, Question};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take: a reload takes its time.
const ANSWER: Duration = Duration::from_secs(40);
/// A connection whose other end has gone is noticed after three times this.
const ALIVE: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;
/// The most of what went wrong there that is told.
const MAX_COMPLAINT: usize = 2000;

/// The connection to one host, made when it is first needed.
type Connection = Arc<Mutex<Option<Arc<Session>>>>;

/// Connections to other hosts, one for each.
#[derive(Debug)]
pub struct Remotes {
    data: Data,
    connections: std::sync::Mutex<HashMap<Server, Connection>>,
}

impl Remotes {
    /// None is connected yet.
    pub fn new(data: Data) -> Remotes {
        Remotes { data, connections: Default::default() }
    }

    /// Asks a balancer.
    ///
    /// # Errors
    ///
    /// It can't be reached, or gives no answer.
    pub async fn ask(&self, server: &Server, question: &Question) -> anyhow::Result<Answer> {
        let session = self.session(server).await?;
        match timeout(ANSWER, ask(&session, server, question)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if session.check().await.is_err() {
                    self.forget(server);
                }
                Err(error)
            }
            Err(_) => {
                self.forget(server);
                bail!("{}: no answer within {} s", server.host, ANSWER.as_secs())
            }
        }
    }

    /// Ends the connection to a server, once nobody uses it.
    pub fn forget(&self, server: &Server) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(server);
    }

    async fn session(&self, server: &Server) -> anyhow::Result<Arc<Session>> {
        let place = {
            let mut all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(server.clone()).or_default().clone()
        };
        // Who asks meanwhile waits for the same connection.
        let mut place = place.lock().await;
        if let Some(session) = place.as_ref() {
            return Ok(session.clone());
        }
        let session = Arc::new(self.connect(server).await?);
        *place = Some(session.clone());
        Ok(session)
    }

    async fn connect(&self, server: &Server) -> anyhow::Result<Session> {
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(CONNECT)
            .server_alive_interval(ALIVE)
            .control_directory(self.data.dir())
            .clean_history_control_directory(true);
        if !server.login.is_empty() {
            builder.user(server.login.clone());
        }
        if let Some(config) = self.own("ssh_config") {
            builder.config_file(config);
        }
        if let Some(known_hosts) = self.own("known_hosts") {
            builder.user_known_hosts_file(known_hosts);
        }
        match timeout(2 * CONNECT, builder.connect(&server.host)).await {
            Ok(connected) => {
                connected.with_context(|| format!("{}: no connection over SSH", server.host))
            }
            Err(_) => {
                bail!("{}: no connection over SSH within {} s", server.host, 2 * CONNECT.as_secs())
            }
        }
    }

    fn own(&self, name: &str) -> Option<PathBuf> {
        Some(self.data.dir().join(name)).filter(|path| path.exists())
    }
}

async fn ask(session: &Session, server: &Server, question: &Question) -> anyhow::Result<Answer> {
    let mut command = session.command(if server.sudo { "sudo" } else { "ipfix-balancer" });
    if server.sudo {
        // A password can't be asked for.
        command.args(["-n", "ipfix-balancer"]);
    }
    command.arg("manage").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().await.context("ipfix-balancer can't be run there")?;
    let question = serde_json::to_vec(question)?;
    let (stdin, stdout, stderr) =
        (child.stdin().take(), child.stdout().take(), child.stderr().take());
    let ask = async {
        let mut stdin = stdin.context("no standard input")?;
        // Should it have ended, what it says tells more.
        let _ = stdin.write_all(&question).await;
        let _ = stdin.shutdown().await;
        anyhow::Ok(())
    };
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let read = async {
        stdout.context("no standard output")?.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        anyhow::Ok(())
    };
    let listen = async {
        stderr.context("no standard error")?.take(MAX_ANSWER).read_to_end(&mut complaint).await?;
        anyhow::Ok(())
    };
    tokio::try_join!(ask, read, listen)?;
    let ended = child.wait().await?;
    if !ended.success() {
        let complaint: String =
            String::from_utf8_lossy(&complaint).chars().take(MAX_COMPLAINT).collect();
        bail!(
            "{}: `ipfix-balancer manage` failed there ({ended}): {}",
            server.host,
            complaint.trim()
        );
    }
    serde_json::from_slice(&answer).with_context(|| {
        format!(
            "{}: the answer can't be understood; is another version installed there?",
            server.host
        )
    })
}
