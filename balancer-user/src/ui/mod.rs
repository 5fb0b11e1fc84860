//! The web interface: pages for operators, and the HTTP API that they use.
//!
//! It asks a balancer what [`crate::manage`] answers: that of this host by a call, others over
//! SSH. It runs in a thread of its own, as part of the daemon or alone (`ipfix-balancer ui`).

pub mod accounts;
mod api;
mod assets;
mod attempts;
mod audit;
pub mod data;
mod equipment;
mod history;
mod remote;
mod sessions;
mod tls;

use std::{
    collections::HashSet,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::{
    config, http,
    manage::{self, Answer, Question},
};
use accounts::Accounts;
use attempts::Attempts;
use audit::Audit;
use data::Data;
use equipment::{Equipment, LOCAL, Server};
use history::History;
use remote::Remotes;
use sessions::Sessions;

/// Passwords that are hashed at a time: each takes 19 MiB.
const HASHING: usize = 2;
/// Threads for questions to the balancer of this host, and for passwords.
const BLOCKING_THREADS: usize = 16;
/// How long answers that are under way may take when the interface ends.
const DRAIN: Duration = Duration::from_secs(5);
/// How long its port may take to be closed.
const CLOSING: Duration = Duration::from_secs(1);
/// A balancer on another host that could not be reached is left alone for so many samples.
const PAUSE: u32 = 6;

/// Everything that requests share.
struct Ui {
    /// The configuration file of the balancer on this host.
    config: PathBuf,
    /// Where it is served; in the name of its cookie, since cookies do not tell ports apart.
    address: SocketAddr,
    secure: bool,
    accounts: Accounts,
    sessions: Sessions,
    attempts: Attempts,
    hashing: Semaphore,
    audit: Audit,
    equipment: Equipment,
    remotes: Remotes,
    history: History,
}

/// A web interface that runs. Dropped, it ends.
#[derive(Debug)]
pub struct Running {
    end: Option<oneshot::Sender<()>>,
    closed: mpsc::Receiver<()>,
}

/// Serves the interface of the balancer that runs with `config` at `address`.
///
/// # Errors
///
/// The port is taken, the data directory can't be made, the certificate can't be used.
pub fn start(config: &Path, settings: &config::Ui, address: SocketAddr) -> anyhow::Result<Running> {
    let data = Data::open(&settings.dir)?;
    // What a browser sends to loopback nobody else sees.
    let open = address.ip().is_loopback() && settings.identity.is_none();
    let tls = match open {
        true => None,
        false => Some(tls::acceptor(&data, settings.identity.as_ref(), address)?),
    };
    let ui = Arc::new(Ui {
        config: config.to_owned(),
        address,
        secure: tls.is_some(),
        accounts: Accounts::new(data.clone()),
        sessions: Sessions::default(),
        attempts: Attempts::default(),
        hashing: Semaphore::new(HASHING),
        audit: Audit::new(data.clone()),
        equipment: Equipment::new(data.clone()),
        remotes: Remotes::new(data.clone()),
        history: History::default(),
    });
    let listener = TcpListener::bind(address).with_context(|| {
        format!("the web interface can't listen on {address}; is the port taken?")
    })?;
    listener.set_nonblocking(true)?;
    if ui.accounts.all()?.is_empty() {
        warn!(
            "nobody can sign in to the web interface yet: run `ipfix-balancer ui-account add NAME`"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let (end, ended) = oneshot::channel();
    let (closed, closing) = mpsc::channel();
    let serve = move || runtime.block_on(serve(ui, listener, tls, ended, closed));
    thread::Builder::new().name("web-interface".to_owned()).spawn(serve)?;
    let scheme = if open { "http" } else { "https" };
    info!("the web interface is served at {scheme}://{address}/");
    Ok(Running { end: Some(end), closed: closing })
}

impl Drop for Running {
    /// Waits until the port is closed, and not for answers under way: one of them may be to who asks
    /// for this.
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.closed.recv_timeout(CLOSING);
    }
}

async fn serve(
    ui: Arc<Ui>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    ended: oneshot::Receiver<()>,
    closed: mpsc::Sender<()>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!("the web interface can't be served: {error}"),
    };
    let samples = tokio::spawn(take_samples(ui.clone()));
    let end = async { drop(ended.await) };
    let connections = http::serve(listener, tls, api::router(ui), end).await;
    let _ = closed.send(());
    samples.abort();
    let _ = timeout(DRAIN, connections.join_all()).await;
}

impl Ui {
    /// Asks a balancer. `None`: there is none of this name.
    async fn ask(self: &Arc<Self>, server: &str, question: Question) -> Option<Answer> {
        let answer = if server == LOCAL {
            let ui = self.clone();
            let asked = tokio::task::spawn_blocking(move || manage::answer(&ui.config, &question));
            asked.await.context("the question was given up")
        } else {
            match self.find(server) {
                Ok(server) => self.remotes.ask(&server?, &question).await,
                Err(error) => Err(error),
            }
        };
        Some(answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}"))))
    }

    fn find(&self, server: &str) -> anyhow::Result<Option<Server>> {
        Ok(self.equipment.all()?.into_iter().find(|one| one.name == server))
    }

    /// All balancers, the one of this host first.
    fn servers(&self) -> Vec<String> {
        let remote = self.equipment.all().unwrap_or_default().into_iter().map(|one| one.name);
        std::iter::once(LOCAL.to_owned()).chain(remote).collect()
    }
}

/// Looks at all balancers now and then, each by itself: one that is slow holds up no other.
async fn take_samples(ui: Arc<Ui>) {
    let mut ticks = interval(history::STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut pauses = std::collections::HashMap::<String, u32>::new();
    let mut under_way = tokio::task::JoinSet::new();
    let mut busy = HashSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let servers = ui.servers();
                ui.history.keep_only(&servers.iter().map(String::as_str).collect());
                pauses.retain(|name, _| servers.contains(name));
                for server in servers {
                    match pauses.get_mut(&server) {
                        Some(left) if *left > 0 => *left -= 1,
                        _ if !busy.insert(server.clone()) => {}
                        _ => { under_way.spawn(sample(ui.clone(), server)); }
                    }
                }
            }
            Some(Ok((server, seen))) = under_way.join_next() => {
                busy.remove(&server);
                let pause = if seen || server == LOCAL { 0 } else { PAUSE };
                pauses.insert(server, pause);
            }
        }
    }
}

async fn sample(ui: Arc<Ui>, server: String) -> (String, bool) {
    let answer = ui.ask(&server, Question::Status).await;
    if let Some(Answer::Status(status)) = &answer {
        ui.history.add(&server, status);
    }
    (server, !matches!(answer, None | Some(Answer::Failed(_))))
}
