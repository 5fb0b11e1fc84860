//! A daemon under a service manager, and an exporter that sends without a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use ipfix_balancer_tests::collector::{Collector, Protocol};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver};
use ipfix_balancer_tests::decode::{self, Decoded, Tally};
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;

/// Between two messages: some thousand a second, so that all can be kept and decoded.
const PACE: Duration = Duration::from_micros(300);

pub struct Scene {
    pub daemon: Daemon,
    pub receiver: Receiver,
    pub collectors: Vec<Collector>,
    pub mode: Mode,
    input: Protocol,
}

impl Scene {
    pub fn new(mode: Mode, input: Protocol, output: Protocol) -> Result<Scene> {
        Scene::by(mode, input, output, Daemon::start_managed)
    }

    /// Without a service manager.
    pub fn alone(mode: Mode, input: Protocol, output: Protocol) -> Result<Scene> {
        Scene::by(mode, input, output, Daemon::start)
    }

    fn by(
        mode: Mode,
        input: Protocol,
        output: Protocol,
        start: fn(&[Receiver]) -> Result<Daemon>,
    ) -> Result<Scene> {
        let collectors = Collector::several(2, output, V4)?;
        let receiver = Receiver::new(mode, input, free_address(V4)?).to(&collectors);
        let receiver = receiver.set("ACCEL", "off");
        let daemon = start(std::slice::from_ref(&receiver))?;
        Ok(Scene { daemon, receiver, collectors, mode, input })
    }

    pub fn exporter(&self) -> Result<Exporter> {
        Exporter::connect(self.input, self.receiver.address())
    }

    pub fn wait_until_up(&self) -> Result<()> {
        let up = |receiver: &ipfix_balancer_tests::daemon::ReceiverStatus| {
            receiver.all_destinations_are("up")
        };
        self.daemon.wait_for(&self.receiver.name(), "every destination is up", up)
    }

    /// An exporter that sends until it is ended, all destinations being up from the first flow on.
    pub fn traffic(&self) -> Result<Traffic> {
        let mut exporter = self.exporter()?;
        let mut flows = Flows::new(1);
        let sent = vec![flows.templates(), flows.options_data(2)];
        exporter.send_all(&sent)?;
        self.wait_until_up()?;
        Ok(Sent { exporter, flows, messages: sent }.go_on())
    }

    /// Waits until more messages have arrived, wherever.
    pub fn more_arrive(&self, count: usize) -> Result<()> {
        let before = self.arrived();
        poll::wait("more messages arrive", || self.arrived() >= before + count)
            .map_err(|error| error.context(self.daemon.log()))
    }

    pub fn arrived(&self) -> usize {
        self.collectors.iter().map(Collector::messages).sum()
    }

    /// Everything that was sent is at every collector (All), or at one of them (RoundRobin).
    pub fn nothing_is_missing(&self, sent: &[Vec<u8>]) -> Result<()> {
        self.compare(sent, |difference| {
            ensure!(difference.missing == 0, "{difference}");
            Ok(())
        })
    }

    /// Likewise, and nothing is there twice.
    pub fn is_complete(&self, sent: &[Vec<u8>]) -> Result<()> {
        self.compare(sent, |difference| {
            ensure!(difference.is_none(), "{difference}");
            Ok(())
        })
    }

    fn compare(
        &self,
        sent: &[Vec<u8>],
        verdict: impl Fn(decode::Difference) -> Result<()>,
    ) -> Result<()> {
        let sent = decode::session(sent);
        poll::until_ok(|| {
            let received = self.received();
            let groups: Vec<Vec<&Decoded>> = match self.mode {
                Mode::All => received.iter().map(|of_one| of_one.iter().collect()).collect(),
                Mode::RoundRobin => vec![received.iter().flatten().collect()],
            };
            for group in groups {
                let flows = group.iter().flat_map(|decoded| decoded.flows());
                verdict(Tally::of(sent.flows()).difference(&Tally::of(flows)))?;
            }
            Ok(())
        })
        .map_err(|error| error.context(self.daemon.log()))
    }

    /// What each collector got, transport session by transport session.
    pub fn received(&self) -> Vec<Vec<Decoded>> {
        let of_one = |collector: &Collector| {
            let sessions = collector.sessions().into_iter();
            sessions.map(|session| decode::session(&session.messages)).collect()
        };
        self.collectors.iter().map(of_one).collect()
    }

    /// No collector got what it can't decode.
    pub fn is_decodable(&self) -> Result<()> {
        for (collector, sessions) in self.received().iter().enumerate() {
            for (number, session) in sessions.iter().enumerate() {
                let serious = |p: &&decode::Problem| !matches!(p, decode::Problem::Sequence { .. });
                let problem = session.problems.iter().find(serious);
                ensure!(problem.is_none(), "collector {collector}, session {number}: {problem:?}");
            }
        }
        Ok(())
    }

    /// The numbers at each collector go on over all its transport sessions.
    pub fn numbers_go_on(&self) -> Result<()> {
        for (collector, sessions) in self.received().iter().enumerate() {
            let mut due = None;
            for (number, session) in sessions.iter().enumerate() {
                let at = format!("collector {collector}, session {number}");
                ensure!(session.gaps() == 0, "{at}: {:?}", session.problems.first());
                let domain = session.domains.get(&1).with_context(|| format!("{at}: empty"))?;
                // In All options that are repeated are numbered to end where flow data goes on.
                let repeated = match (self.mode, due) {
                    (Mode::All, Some(_)) => u32::try_from(session.options().count())?,
                    _ => 0,
                };
                let first = domain.first_sequence.wrapping_add(repeated);
                ensure!(due.is_none_or(|due| due == first), "{at}: {first} instead of {due:?}");
                due = domain.next_sequence;
            }
        }
        Ok(())
    }
}

/// An exporter at work.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Sent>>,
}

/// What an exporter has sent, and its session, which has never broken.
pub struct Sent {
    pub exporter: Exporter,
    pub flows: Flows,
    pub messages: Vec<Vec<u8>>,
}

impl Traffic {
    /// Ends it; an error if the exporter has met one.
    pub fn end(self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the exporter has panicked"))?
    }
}

impl Sent {
    /// Sends on.
    pub fn go_on(self) -> Traffic {
        let stop = Arc::<AtomicBool>::default();
        let Sent { exporter, flows, messages } = self;
        let thread = {
            let stop = Arc::clone(&stop);
            spawn(move || send_until(&stop, exporter, flows, messages))
        };
        Traffic { stop, thread }
    }
}

fn send_until(
    stop: &AtomicBool,
    mut exporter: Exporter,
    mut flows: Flows,
    mut messages: Vec<Vec<u8>>,
) -> Result<Sent> {
    while !stop.load(Ordering::Relaxed) {
        let message = flows.data(1 + messages.len() % 4);
        exporter.send(&message).with_context(|| format!("message {}", messages.len()))?;
        messages.push(message);
        sleep(PACE);
    }
    Ok(Sent { exporter, flows, messages })
}
