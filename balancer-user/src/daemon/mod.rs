//! The control side of the daemon: which handlers run, with which configuration, on which sockets.

mod beats;
mod clients;
mod control;
mod events;
mod metrics;
mod paths;
mod privileges;
mod process;
mod receivers;
mod status;
mod summary;
mod ui;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{interval, timeout},
};
use tracing::{error, info, warn};

use crate::{
    config::{Checked, Config, LoadError, Receiver, ReceiverId},
    kernel,
    log::{self, Level},
    notify::Notifier,
    succession::{Archive, Heritage, Leaving, Store},
};

use clients::Clients;
use control::Client;
use control::take_over_from;
pub use control::{ControlError, Reply, Request, ask, forget};
use metrics::MetricsServer;
use paths::Paths;
pub use paths::is_fit;
use privileges::GivenUp;
use receivers::Changes;
pub use receivers::Receivers;
pub use status::{
    Connections, DestinationStatus, InterfaceStatus, ProcessStatus, ReceiverStatus,
    RecordingStatus, SpoolStatus, Status,
};
use summary::Summary;
use ui::Interface;

/// How long the handlers may take to send what waits when the daemon ends.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How long neighbours may take to answer when the kernel's part is loaded alone.
const ANSWER: Duration = Duration::from_secs(1);
/// How long dump files may take to get their names before `rotate` is answered.
const NAMING: Duration = Duration::from_secs(5);
/// How long the disk may take to let go of spooled messages before `spool purge` is answered.
const PURGING: Duration = Duration::from_secs(10);
/// How often the handlers are looked after.
const WATCH: Duration = Duration::from_secs(1);
/// How often the service manager hears what the daemon does.
const SUMMARY: Duration = Duration::from_secs(5);

/// Runs the daemon in the foreground, until it is asked to stop.
///
/// # Errors
///
/// A faulty configuration is a [`LoadError`]; anything else is what kept the daemon from running.
pub fn run(config: &Path) -> anyhow::Result<()> {
    run_with(config, Vec::new())
}

/// Takes over from the running daemon, if there is one, and runs in its place.
///
/// # Errors
///
/// As [`run`]; the running daemon goes on if the configuration is faulty or it refuses.
pub fn restart(config: &Path) -> anyhow::Result<()> {
    Config::load(config)?;
    raise_file_limit();
    let sockets = match take_over_from(config) {
        Ok(sockets) => sockets,
        Err(ControlError::NotRunning { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    run_with(config, sockets)
}

fn run_with(config: &Path, handed_on: Vec<OwnedFd>) -> anyhow::Result<()> {
    let (notifier, messenger) = Notifier::from_environment();
    let heritage = Heritage::take(notifier.clone(), handed_on);
    let checked = Config::load(config)?;
    raise_file_limit();
    let clients = Clients::of(checked.config.control_group.as_deref())?;
    let control = control::Socket::open(config, clients)?;
    if checked.config.receivers().any(|receiver| paths::is_fit(receiver)) {
        // Should it fail, the kernel path will say so.
        let _ = kernel::mount_bpf_fs();
    }
    let given_up = privileges::give_up(&checked.config)?;
    messenger.start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut daemon =
            Daemon::start(config, checked, given_up, control, notifier, heritage).await?;
        let end = daemon.serve().await;
        daemon.end(end).await
    })
}

/// Puts programs and destinations into the kernel, without serving anything: for each receiver what
/// `status` would say, or why it stays in userspace.
///
/// # Errors
///
/// A receiver has to have the kernel path (`ACCEL=require`), and can't have it.
pub async fn load(
    path: &Path,
    config: &Config,
) -> anyhow::Result<Vec<(ReceiverId, Result<String, String>)>> {
    let mut paths = Paths::new(path);
    let receivers = wanted(config)?;
    paths.admit(&receivers).await?;
    for receiver in &receivers {
        paths.place(receiver).await?;
    }
    paths.forget_others();
    paths.refresh();
    // Neighbours answer within this time, or not at all.
    let _ = timeout(ANSWER, async {
        loop {
            paths.changed().await;
            paths.refresh();
        }
    })
    .await;
    let status = |id| paths.status(id).map(|status| status.reason);
    Ok(config.receivers.iter().map(|receiver| (receiver.id, status(receiver.id))).collect())
}

struct Daemon {
    config: PathBuf,
    given_up: GivenUp,
    receivers: Receivers,
    control: control::Server,
    metrics: MetricsServer,
    ui: Interface,
    notifier: Notifier,
    summary: Summary,
    started: Started,
}

/// What the daemon is to come to.
enum End {
    /// A signal, mostly of the service manager: it may start another daemon at once.
    Signal,
    /// A client asks for its end.
    Stop(Client),
    /// A client takes over.
    HandOver(Client),
}

#[derive(Clone, Copy)]
struct Started {
    at: Instant,
    unix_seconds: u64,
}

impl Daemon {
    async fn start(
        path: &Path,
        checked: Checked,
        given_up: GivenUp,
        control: control::Socket,
        notifier: Notifier,
        heritage: (Heritage, Store),
    ) -> anyhow::Result<Daemon> {
        let control = control.serve()?;
        for note in &checked.notes {
            warn!("{note}");
        }
        let archive = Archive::new(control.directory(), path);
        let mut receivers = Receivers::new(path, archive, heritage);
        let mut metrics = MetricsServer::new(control.asker());
        let opened = metrics.open(checked.config.metrics_listen).await?;
        receivers.apply(&wanted(&checked.config)?).await?;
        metrics.apply(opened);
        let mut ui = Interface::new(path);
        ui.serve(&checked.config.ui)?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = Started { at: Instant::now(), unix_seconds: since_epoch.as_secs() };
        info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "started");
        tokio::spawn(receivers.watchdog().run(notifier.clone()));
        notifier.ready();
        let (config, summary) = (path.to_owned(), Summary::default());
        Ok(Daemon { config, given_up, receivers, control, metrics, ui, notifier, summary, started })
    }

    /// Serves signals and clients, until one asks for the daemon's end.
    async fn serve(&mut self) -> anyhow::Result<End> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (mut watch, mut summary) = (interval(WATCH), interval(SUMMARY));
        loop {
            tokio::select! {
                _ = hangup.recv() => { self.reload().await; }
                _ = terminate.recv() => return Ok(End::Signal),
                _ = interrupt.recv() => return Ok(End::Signal),
                _ = watch.tick() => self.receivers.look_after()?,
                _ = summary.tick() => self.tell_what_it_does(),
                () = self.receivers.network_changed() => {}
                (request, client) = self.control.next() => {
                    let answer = match request {
                        Request::Reload => self.reload().await,
                        Request::LogLevel(level) => set_log_level(level),
                        Request::Rotate => self.rotate().await,
                        Request::Log { after } => Reply::Log(log::after(after)),
                        Request::PurgeSpool { receiver, destination } => {
                            self.purge_spools(receiver, destination).await
                        }
                        Request::Status => Reply::Status(Box::new(self.status())),
                        Request::Stop => return Ok(End::Stop(client)),
                        // It would start another one, which would have nothing.
                        Request::HandOver if self.notifier.is_connected() => Reply::Failed(
                            "the daemon is run by systemd: use `systemctl restart`".to_owned(),
                        ),
                        Request::HandOver => return Ok(End::HandOver(client)),
                    };
                    client.answer(answer).await;
                }
            }
        }
    }

    /// Comes to the end.
    async fn end(mut self, end: anyhow::Result<End>) -> anyhow::Result<()> {
        let leaving = match &end {
            Ok(End::Stop(_)) => Leaving::Sessions,
            Ok(End::HandOver(_)) => Leaving::Everything,
            // Only what a service manager keeps outlives the process.
            _ if self.notifier.is_connected() => Leaving::Everything,
            _ => Leaving::Sessions,
        };
        self.notifier.stopping();
        let left = self.receivers.stop(DRAIN, leaving).await;
        self.notifier.settled().await;
        // The next daemon must not find anything of this one.
        drop(self);
        match end? {
            End::Signal => {}
            End::Stop(client) => client.answer(Reply::Done("stopped".to_owned())).await,
            End::HandOver(client) => client.hand_on(left).await?,
        }
        info!("stopped");
        Ok(())
    }

    /// Reads the file anew. A faulty one changes nothing.
    async fn reload(&mut self) -> Reply {
        self.notifier.reloading();
        let reply = self.try_reload().await;
        self.notifier.ready();
        reply
    }

    async fn try_reload(&mut self) -> Reply {
        match self.apply_file().await {
            Ok(changes) => {
                info!("reloaded: {changes}");
                Reply::Done(format!("reloaded: {changes}"))
            }
            Err(error) => {
                error!("not reloaded, the configuration in force stays: {error:#}");
                let refused = format!("not reloaded, the configuration in force stays: {error:#}");
                match error.downcast_ref::<LoadError>() {
                    Some(_) => Reply::Refused(refused),
                    None => Reply::Failed(refused),
                }
            }
        }
    }

    async fn apply_file(&mut self) -> anyhow::Result<Changes> {
        let checked = Config::load(&self.config)?;
        privileges::warn_of_missing(&checked.config, &self.given_up);
        let opened = self.metrics.open(checked.config.metrics_listen).await?;
        let changes = self.receivers.apply(&wanted(&checked.config)?).await?;
        self.metrics.apply(opened);
        if let Err(error) = self.ui.serve(&checked.config.ui) {
            error!("{error:#}");
        }
        Ok(changes)
    }

    fn tell_what_it_does(&mut self) {
        if self.notifier.is_connected() {
            let line = self.summary.line(Instant::now(), &self.receivers.status());
            self.notifier.status(&line);
        }
    }

    async fn rotate(&self) -> Reply {
        match timeout(NAMING, self.receivers.rotate()).await {
            Ok(Ok(rotated)) if rotated.is_empty() => {
                Reply::Failed("no receiver records (BALANCER=Disabled)".to_owned())
            }
            Ok(Ok(rotated)) => Reply::Done(format!("rotated: {}", rotated.join(", "))),
            Ok(Err(error)) => Reply::Failed(format!("not rotated: {error:#}")),
            Err(_) => Reply::Failed(
                "rotated, but the disk has not taken all files yet: see `ipfix-balancer status`"
                    .to_owned(),
            ),
        }
    }

    async fn purge_spools(&self, receiver: Option<String>, destination: Option<String>) -> Reply {
        let purged = self.receivers.purge_spools(receiver.as_deref(), destination.as_deref());
        match timeout(PURGING, purged).await {
            Ok(Ok(messages)) => Reply::Done(format!("purged: {messages} messages")),
            Ok(Err(error)) => Reply::Failed(format!("not purged: {error:#}")),
            Err(_) => Reply::Failed("purging takes longer: see `ipfix-balancer status`".to_owned()),
        }
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            config: self.config.display().to_string(),
            started_unix_seconds: self.started.unix_seconds,
            uptime_seconds: self.started.at.elapsed().as_secs(),
            log_level: log::level(),
            process: process::look(),
            pins: self.receivers.pins().map(|pins| pins.display().to_string()),
            interfaces: self.receivers.interfaces(),
            receivers: self.receivers.status(),
        }
    }
}

fn set_log_level(level: Level) -> Reply {
    match log::set_level(level) {
        Ok(()) => Reply::Done(format!("log level {level}")),
        Err(error) => Reply::Failed(format!("the log level stays: {error:#}")),
    }
}

/// The receivers to serve, with those that they launch. With a web interface there may be none yet.
fn wanted(config: &Config) -> anyhow::Result<Vec<Arc<Receiver>>> {
    if config.receivers.is_empty() && config.ui.listen.is_none() {
        bail!("there is no receiver to serve");
    }
    Ok(config.receivers().cloned().collect())
}

/// Every session needs a descriptor, and one more for each destination.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised.context("can't raise the limit of open files") {
        warn!("{error:#}");
    }
}
