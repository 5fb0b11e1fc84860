//! A lab with a daemon, and an exporter whose messages are all accounted for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use balancer_user::config::instance;
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::collector::{Collector, Session};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver, ReceiverStatus, render};
use ipfix_balancer_tests::decode::{self, Decoded, Tally};
use ipfix_balancer_tests::exporter::{Flows, UdpExporter};
use ipfix_balancer_tests::lab::{Family, Lab};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

/// Between two messages: some thousands a second, as a busy exporter has them.
const PACE: Duration = Duration::from_micros(200);
/// Messages by which a test sees that the kernel path forwards all of them.
const SAMPLE: usize = 10;
/// Messages that the kernel path has to forward to count as working while traffic flows.
const MANY: u64 = 200;

/// A lab, and the balancer in it. The daemon goes first.
pub struct Scene {
    pub setup: Setup,
    pub lab: Lab,
    mode: Mode,
    family: Family,
}

impl Scene {
    /// A receiver of this mode, with a collector on each of two hosts, over IPv4.
    pub fn new(mode: Mode) -> Result<Self> {
        Self::over(Family::V4, mode)
    }

    /// Likewise over this version of the Internet protocol.
    pub fn over(family: Family, mode: Mode) -> Result<Self> {
        let lab = Lab::new(2)?;
        let setup = Setup::in_lab(&lab, mode, (Udp, Udp), family)?;
        Ok(Self { setup, lab, mode, family })
    }

    /// Likewise with a daemon that another program runs.
    pub fn run_by(mode: Mode, runner: &[&str]) -> Result<Self> {
        let mut scene = Self::new(mode)?;
        let text = render(std::slice::from_ref(&scene.setup.receiver));
        scene.daemon().command(&["stop", "--purge"])?;
        scene.daemon().wait_for_exit()?;
        scene.setup.daemon = scene.lab.balancer().run(|| Daemon::start_by(runner, &text))?;
        Ok(scene)
    }

    /// The receiver in `status`.
    pub fn status(&self) -> Result<ReceiverStatus> {
        self.setup.daemon.status()?.receiver(&self.setup.receiver.name())
    }

    /// Messages that the kernel path has forwarded.
    pub fn forwarded(&self) -> Result<u64> {
        Ok(self.status()?.kernel_messages())
    }

    /// Waits until `status` says something of the receiver.
    pub fn wait_for(&self, what: &str, holds: impl Fn(&ReceiverStatus) -> bool) -> Result<()> {
        self.setup.daemon.wait_for(&self.setup.receiver.name(), what, holds)
    }

    /// An exporter session that has arrived in the kernel path.
    pub fn feed(&self, domain: u32) -> Result<Feed> {
        let mut feed = self.open(domain)?;
        self.setup.wait_until_up()?;
        self.is_forwarded(&mut feed)?;
        Ok(feed)
    }

    /// An exporter session that has sent its templates.
    pub fn open(&self, domain: u32) -> Result<Feed> {
        self.open_to(&self.setup, domain)
    }

    /// Likewise, to another daemon in the lab.
    pub fn open_to(&self, setup: &Setup, domain: u32) -> Result<Feed> {
        let exporter =
            self.lab.exporter().run(|| UdpExporter::connect(setup.receiver.address()))?;
        Feed::by(exporter, domain)
    }

    /// Sends until a row of messages has stayed in the kernel, all of it.
    pub fn is_forwarded(&self, feed: &mut Feed) -> Result<()> {
        poll::until_ok(|| {
            let before = self.forwarded()?;
            feed.send(SAMPLE)?;
            let forwarded = usize::try_from(self.forwarded()? - before)?;
            ensure!(forwarded == SAMPLE, "{forwarded} of {SAMPLE} messages are forwarded");
            Ok(())
        })
        .map_err(|error| error.context(format!("{:?}", self.status())))
    }

    /// Sends some messages that the kernel path forwards while no daemon runs.
    pub fn more_is_forwarded(&self, feed: &mut Feed) -> Result<()> {
        let before: usize = self.arrived().iter().sum();
        feed.send(SAMPLE)?;
        poll::wait("forwarded without a daemon", || {
            self.arrived().iter().sum::<usize>() >= before + SAMPLE
        })
    }

    /// Waits until the kernel path has forwarded many more messages of an exporter that is at work.
    pub fn keeps_forwarding(&self) -> Result<()> {
        let before = self.forwarded()?;
        self.wait_for("the kernel path forwards", |now| now.kernel_messages() >= before + MANY)
    }

    /// Nothing was lost. In RoundRobin each record has arrived at one collector, in All at every one;
    /// each collector has one session, with continuous numbers.
    pub fn is_complete(&self, feed: &Feed) -> Result<()> {
        let sent = feed.decoded();
        poll::until_ok(|| {
            let received = decoded(&self.setup.only_sessions()?);
            match self.mode {
                Mode::RoundRobin => decode::round_robin(&sent, &received),
                Mode::All => received.iter().try_for_each(|one| all_there(&sent, one)),
            }
        })
        .map_err(|error| error.context(format!("{:?}", self.status())))
    }

    /// Every record that was sent from this message on has arrived: what was lost was lost before.
    pub fn is_complete_from(&self, feed: &Feed, message: usize) -> Result<()> {
        let (before, sent) = (feed.decoded_until(message), feed.decoded());
        let due = Tally::of(sent.flows().skip(before.flows().count()));
        poll::until_ok(|| {
            let sessions: Vec<_> =
                self.setup.collectors.iter().map(|one| decoded(&one.sessions())).collect();
            let at = |collectors: &[Vec<Decoded>]| {
                let flows = collectors.iter().flatten().flat_map(Decoded::flows);
                due.difference(&Tally::of(flows)).missing
            };
            let missing = match self.mode {
                Mode::RoundRobin => at(&sessions),
                Mode::All => sessions.iter().map(|one| at(std::slice::from_ref(one))).sum(),
            };
            ensure!(missing == 0, "{missing} records are missing");
            Ok(())
        })
        .map_err(|error| error.context(format!("{:?}", self.status())))
    }

    /// Ends the daemon as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.setup.daemon.kill()
    }

    /// Starts the next daemon, with the configuration of now.
    pub fn restart(&mut self) -> Result<()> {
        let daemon = &mut self.setup.daemon;
        self.lab.balancer().run(|| daemon.restart())
    }

    /// Has another daemon take over.
    pub fn take_over(&mut self) -> Result<()> {
        let daemon = &mut self.setup.daemon;
        self.lab.balancer().run(|| daemon.take_over())
    }

    /// Reloads with another receiver.
    pub fn apply(&mut self, receiver: Receiver) -> Result<()> {
        self.setup.daemon.edit(std::slice::from_ref(&receiver))?;
        let outcome = self.setup.daemon.reload()?;
        ensure!(outcome.code == 0, "{}", outcome.stderr);
        self.setup.receiver = receiver;
        Ok(())
    }

    /// A receiver like the one that is served, of this mode, without other parameters.
    pub fn receiver(&self, mode: Mode) -> Receiver {
        Receiver::new(mode, Udp, self.setup.receiver.address()).to(&self.setup.collectors)
    }

    /// One of the collectors.
    pub fn collector(&self, index: usize) -> Result<&Collector> {
        self.setup.collectors.get(index).context("no such collector")
    }

    /// Starts a collector more on the host of another one.
    pub fn another_collector(&self, site: usize) -> Result<Collector> {
        let site = self.lab.collector(site)?;
        site.run(|| Collector::start(Udp, site.ip(self.family)))
    }

    /// Closes a collector's port.
    pub fn close(&mut self, index: usize) -> Result<()> {
        self.setup.collectors.get_mut(index).context("no such collector")?.stop();
        Ok(())
    }

    /// Opens it again.
    pub fn reopen(&mut self, index: usize) -> Result<()> {
        let collector = self.setup.collectors.get_mut(index).context("no such collector")?;
        self.lab.collector(index)?.run(|| collector.resume())
    }

    /// The mode has changed.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Whether the first destination is down.
    pub fn first_is_down(&self) -> Result<bool> {
        let destinations = self.status()?.destinations();
        Ok(destinations.first().is_some_and(|first| first.state() == "down"))
    }

    /// What came from one source to each collector, which may have been closed meanwhile.
    pub fn sources(&self) -> Result<Vec<Decoded>> {
        let source = |collector: &Collector| {
            let sessions = collector.sessions();
            let peers: BTreeSet<_> = sessions.iter().map(|session| session.peer).collect();
            ensure!(peers.len() == 1, "{peers:?} at {}", collector.address());
            Ok(decode::session(sessions.iter().flat_map(|session| &session.messages)))
        };
        self.setup.collectors.iter().map(source).collect()
    }

    /// Messages at each collector.
    pub fn arrived(&self) -> Vec<usize> {
        self.setup.collectors.iter().map(Collector::messages).collect()
    }

    /// Waits until every collector has so many messages more than now.
    pub fn more_arrive(&self, count: usize) -> Result<()> {
        let before = self.arrived();
        poll::wait(&format!("{count} messages more at each collector"), || {
            before.iter().zip(self.arrived()).all(|(before, now)| now >= before + count)
        })
    }

    /// The daemon of the scene.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.setup.daemon
    }
}

/// Where a daemon has its pins.
pub fn pins(daemon: &Daemon) -> PathBuf {
    let version = format!("v{}", common::maps::ABI);
    Path::new("/sys/fs/bpf/ipfix-balancer").join(instance(&daemon.config())).join(version)
}

/// Everything that was sent is there, with continuous numbers.
pub fn all_there(sent: &Decoded, received: &Decoded) -> Result<()> {
    if let Some(problem) = received.problems.first() {
        return Err(anyhow!("{problem}, and {} more", received.problems.len() - 1));
    }
    let flows = decode::Tally::of(sent.flows()).difference(&decode::Tally::of(received.flows()));
    ensure!(flows.is_none(), "flow records: {flows}");
    Ok(())
}

/// What each session brought.
pub fn decoded(sessions: &[Session]) -> Vec<Decoded> {
    sessions.iter().map(|session| decode::session(&session.messages)).collect()
}

/// An exporter session, and all that it has sent.
pub struct Feed {
    pub exporter: UdpExporter,
    pub flows: Flows,
    /// Records of a message.
    pub records: usize,
    pub sent: Vec<Vec<u8>>,
}

impl Feed {
    /// Begins with the templates.
    pub fn by(exporter: UdpExporter, domain: u32) -> Result<Self> {
        let mut feed = Self { exporter, flows: Flows::new(domain), records: 3, sent: Vec::new() };
        feed.templates()?;
        Ok(feed)
    }

    /// Sends messages of flow data, at the pace of a busy exporter.
    pub fn send(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let message = self.flows.data(self.records);
            self.post(message)?;
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    /// Sends the templates, again.
    pub fn templates(&mut self) -> Result<()> {
        let message = self.flows.templates();
        self.post(message)
    }

    /// Sends an options record.
    pub fn options(&mut self) -> Result<()> {
        let message = self.flows.options_data(1);
        self.post(message)
    }

    /// Sends any message. An error tells that there was nobody to take one.
    pub fn post(&mut self, message: Vec<u8>) -> Result<()> {
        self.exporter.send(&message)?;
        self.sent.push(message);
        Ok(())
    }

    /// What was sent before this message.
    pub fn decoded_until(&self, message: usize) -> Decoded {
        decode::session(self.sent.iter().take(message))
    }

    /// What was sent.
    pub fn decoded(&self) -> Decoded {
        decode::session(&self.sent)
    }

    /// Sends until told to stop.
    pub fn run(mut self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                self.send(1)?;
            }
            Ok(self)
        });
        Running { stop, thread }
    }
}

/// An exporter at work.
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Feed>>,
}

impl Running {
    /// Stops it; an error where it could not send.
    pub fn end(self) -> Result<Feed> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the exporter panicked"))?
    }
}
