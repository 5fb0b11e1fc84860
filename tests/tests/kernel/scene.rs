//! A balancer in a lab, exporter sessions that it is fed with, and the judgement of what arrived.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use balancer_user::config::instance;
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::collector::{Collector, Session, total};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver, ReceiverStatus};
use ipfix_balancer_tests::decode::{self, Decoded};
use ipfix_balancer_tests::exporter::{Flows, UdpExporter};
use ipfix_balancer_tests::lab::{Family, Lab, Namespace, Site};
use ipfix_balancer_tests::net::free_address;
use ipfix_balancer_tests::setup::Setup;
use ipfix_balancer_tests::tools::bpf_map;
use ipfix_balancer_tests::{poll, wire};
use serde_json::Value;

/// A veth interface holds 256 messages.
const WINDOW: usize = 100;
/// Messages after which a session must have been handed to the kernel.
const PATIENCE: usize = 100;
/// Where balancers have their pins.
const PINS: &str = "/sys/fs/bpf/ipfix-balancer";

/// What a receiver can do with a message.
pub const MODES: [Mode; 2] = [Mode::RoundRobin, Mode::All];

/// Both modes and both families, once each.
pub const PAIRS: [Case; 2] = [(Mode::RoundRobin, Family::V4), (Mode::All, Family::V6)];
/// The other two pairs.
pub const CROSSED: [Case; 2] = [(Mode::RoundRobin, Family::V6), (Mode::All, Family::V4)];

/// What a test is made with.
pub type Case = (Mode, Family);

/// Makes a test of every mode in every family.
pub fn every_case(mut test: impl FnMut(Mode, Family) -> Result<()>) -> Result<()> {
    cases(PAIRS, &mut test)?;
    cases(CROSSED, test)
}

/// Makes a test of some modes in some families.
pub fn cases(cases: [Case; 2], mut test: impl FnMut(Mode, Family) -> Result<()>) -> Result<()> {
    cases.into_iter().try_for_each(|(mode, family)| {
        test(mode, family).with_context(|| format!("{mode}, {family:?}"))
    })
}

/// A daemon in the balancer's namespace of a lab, with one receiver and its collectors.
pub struct Scene<'a> {
    /// Where it plays.
    pub lab: &'a Lab,
    /// The daemon, its receiver, and the collectors.
    pub setup: Setup,
    /// Messages on their way beyond which a sender waits until half of them have arrived.
    pub window: usize,
    mode: Mode,
    /// Messages that must have arrived, copies included, once everything has.
    due: Cell<usize>,
}

impl<'a> Scene<'a> {
    /// A collector in each collector's namespace.
    pub fn new(lab: &'a Lab, mode: Mode, family: Family) -> Result<Self> {
        Self::at(lab, mode, family, &lab.collectors().iter().collect::<Vec<_>>())
    }

    /// A collector at each of `sites`, which may be named more than once.
    pub fn at(lab: &'a Lab, mode: Mode, family: Family, sites: &[&Site]) -> Result<Self> {
        Self::configured(lab, mode, family, collectors(sites, family)?, required)
    }

    /// These collectors, and a receiver with further parameters.
    pub fn configured(
        lab: &'a Lab,
        mode: Mode,
        family: Family,
        collectors: Vec<Collector>,
        configure: impl FnOnce(Receiver) -> Receiver + Send,
    ) -> Result<Self> {
        let setup = lab.balancer().run(|| {
            let address = free_address(lab.balancer_ip(family))?;
            Setup::serving(configure(Receiver::new(mode, Udp, address)), collectors)
        })?;
        Ok(Self { lab, setup, window: WINDOW, mode, due: Cell::new(0) })
    }

    /// What `status` says of the receiver.
    pub fn status(&self) -> Result<ReceiverStatus> {
        self.setup.daemon.status()?.receiver(&self.setup.receiver.name())
    }

    /// Opens an exporter session where the lab has its exporter.
    pub fn stream(&self) -> Result<Stream<'_>> {
        self.stream_from(&self.lab.exporter().namespace)
    }

    /// Opens an exporter session in a namespace.
    pub fn stream_from(&self, namespace: &Namespace) -> Result<Stream<'_>> {
        let setup = &self.setup;
        let exporter = namespace.run(|| setup.udp())?;
        Ok(Stream {
            scene: self,
            exporter,
            sent: Vec::new(),
            turns: Vec::new(),
            split: false,
            by_domain: false,
        })
    }

    /// Waits until at most `open` messages are on their way.
    pub fn wait_for_arrival(&self, open: usize) -> Result<()> {
        let arrived = || total(&self.setup.collectors);
        let due = self.due.get();
        poll::wait("the messages on their way arrive", || arrived() + open >= due).map_err(
            |error| error.context(format!("{} of {due} arrived\n{}", arrived(), self.describe())),
        )
    }

    /// `status` and log, for people.
    pub fn describe(&self) -> String {
        let status = self.setup.daemon.command(&["status"]).map(|outcome| outcome.stdout);
        format!("{}\n{}", status.unwrap_or_default(), self.setup.daemon.log())
    }

    /// Waits until everything has arrived, and judges: what every session in `streams` sent is
    /// where it belongs, at least `forwarded` messages never left the kernel, the counters add up,
    /// and no datagram had a wrong checksum.
    pub fn judge(&self, streams: &[&Stream<'_>], forwarded: usize) -> Result<()> {
        self.wait_for_arrival(0)?;
        let judged = streams.iter().try_for_each(|stream| stream.judge());
        judged
            .and_then(|()| self.counters(streams))
            .and_then(|()| self.was_forwarded(forwarded))
            .and_then(|()| self.checksums())
            .map_err(|error| error.context(self.describe()))
    }

    /// At least so many messages never left the kernel.
    pub fn was_forwarded(&self, messages: usize) -> Result<()> {
        let status = self.status()?;
        let forwarded = status.kernel_messages();
        // One checksum in 65536 looks as if it were not complete. Its message goes up, and what
        // follows as well until the daemon has caught up, which a sender without pauses puts off.
        let by_chance = status.passed_up("partial_checksum") > 0;
        let messages = if by_chance { messages.min(1) } else { messages };
        ensure!(forwarded >= u64::try_from(messages)?, "{forwarded} forwarded, not {messages}");
        Ok(())
    }

    /// The counters of both paths add up.
    fn counters(&self, streams: &[&Stream<'_>]) -> Result<()> {
        let sent: usize = streams.iter().map(|stream| stream.sent.len()).sum();
        let status = self.status()?;
        let (messages, kernel) = (status.messages(), status.kernel_messages());
        ensure!(messages == u64::try_from(sent)?, "status: {messages} messages, not {sent}");
        ensure!(status.dropped_in_all() == 0, "status: dropped {}", status.dropped_in_all());
        for (one, collector) in status.destinations().iter().zip(&self.setup.collectors) {
            let (counted, arrived) = (one.messages(), collector.messages());
            ensure!(counted == u64::try_from(arrived)?, "{counted} counted, {arrived} arrived");
        }
        let copies = match self.mode {
            Mode::All => u64::try_from(self.setup.collectors.len())?,
            Mode::RoundRobin => 1,
        };
        let sent: u64 = status.destinations().iter().map(|one| one.kernel_messages()).sum();
        ensure!(sent == kernel * copies, "{kernel} messages forwarded, {sent} counted as sent");
        Ok(())
    }

    fn checksums(&self) -> Result<()> {
        let sites = self.lab.collectors().iter().chain([self.lab.exporter()]);
        let namespaces = sites.map(|site| &site.namespace).chain([self.lab.balancer()]);
        for namespace in namespaces {
            let errors = namespace.counters()?.udp_checksum_errors()?;
            ensure!(errors == 0, "{errors} wrong checksums in {}", namespace.name());
        }
        Ok(())
    }
}

/// The elements of one of a daemon's maps.
pub fn elements(daemon: &Daemon, map: &str) -> Result<Vec<Value>> {
    let pins = Path::new(PINS).join(instance(&daemon.config()));
    // One version's, as there was none before.
    let version = pins.read_dir()?.next().context("no pins")??;
    bpf_map(&version.path().join(map))
}

/// A receiver that does not start where it can't have the kernel path.
pub fn required(receiver: Receiver) -> Receiver {
    receiver.set("ACCEL", "require")
}

/// A collector at each of `sites`.
pub fn collectors(sites: &[&Site], family: Family) -> Result<Vec<Collector>> {
    let start = |site: &&Site| site.run(|| Collector::start(Udp, site.ip(family)));
    sites.iter().map(start).collect()
}

/// An exporter session, and what it has sent.
pub struct Stream<'a> {
    scene: &'a Scene<'a>,
    /// Its socket.
    pub exporter: UdpExporter,
    /// Everything sent.
    pub sent: Vec<Vec<u8>>,
    /// Those of it that took a turn.
    turns: Vec<usize>,
    /// Whether some of it is too long for a datagram to a collector.
    split: bool,
    /// Whether only each observation domain by itself keeps its order.
    pub by_domain: bool,
}

impl Stream<'_> {
    /// Sends messages of flow data: one destination's each, or everybody's (All).
    pub fn data(&mut self, messages: impl IntoIterator<Item = Vec<u8>>) -> Result<()> {
        for message in messages {
            self.exporter.send(&message)?;
            self.note_data(message)?;
        }
        Ok(())
    }

    /// Takes note of a message of flow data that was sent another way, and waits if too many are
    /// on their way.
    pub fn note_data(&mut self, message: Vec<u8>) -> Result<()> {
        self.turns.push(self.sent.len());
        self.note(message, self.copies())
    }

    /// Sends a message that goes to everybody: templates, options.
    pub fn common(&mut self, message: Vec<u8>) -> Result<()> {
        self.exporter.send(&message)?;
        self.note(message, self.scene.setup.collectors.len())
    }

    /// Sends a message of flow data, with templates or options that go to everybody.
    pub fn mixed(&mut self, message: Vec<u8>) -> Result<()> {
        self.turns.push(self.sent.len());
        self.common(message)
    }

    /// Sends flow data that gets to collectors in so many pieces.
    pub fn pieces(&mut self, message: Vec<u8>, pieces: usize) -> Result<()> {
        self.split = true;
        self.exporter.send(&message)?;
        self.turns.push(self.sent.len());
        self.note(message, pieces * self.copies())
    }

    fn copies(&self) -> usize {
        match self.scene.mode {
            Mode::All => self.scene.setup.collectors.len(),
            Mode::RoundRobin => 1,
        }
    }

    fn note(&mut self, message: Vec<u8>, copies: usize) -> Result<()> {
        self.sent.push(message);
        let due = self.scene.due.get() + copies;
        self.scene.due.set(due);
        if total(&self.scene.setup.collectors) + self.scene.window < due {
            self.scene.wait_for_arrival(self.scene.window / 2)?;
        }
        Ok(())
    }

    /// The templates, and then flow data until the session is the kernel's.
    pub fn begin(&mut self, flows: &mut Flows) -> Result<()> {
        self.common(flows.templates())?;
        self.scene.setup.wait_until_up()?;
        self.settle(|| flows.data(2))
    }

    /// Sends flow data, each message when the one before has arrived, until the session is the
    /// kernel's.
    pub fn settle(&mut self, mut next: impl FnMut() -> Vec<u8>) -> Result<()> {
        let before = self.scene.status()?.kernel_messages();
        for _ in 0..PATIENCE {
            self.data([next()])?;
            self.scene.wait_for_arrival(0)?;
            if self.scene.status()?.kernel_messages() > before {
                return Ok(());
            }
        }
        bail!("{PATIENCE} messages, and none was forwarded\n{}", self.scene.describe());
    }

    /// What each collector has of this session: it knows it by its observation domains.
    pub fn sessions(&self) -> Result<Vec<Session>> {
        let domains: BTreeSet<_> = self.sent.iter().map(|message| wire::domain(message)).collect();
        let ours = |session: &Session| {
            session.messages.first().is_some_and(|first| domains.contains(&wire::domain(first)))
        };
        let one = |collector: &Collector| {
            let mut sessions: Vec<_> = collector.sessions().into_iter().filter(ours).collect();
            let count = sessions.len();
            ensure!(count == 1, "{count} sessions at {} instead of one", collector.address());
            sessions.pop().context("no session")
        };
        self.scene.setup.collectors.iter().map(one).collect()
    }

    /// Everything that was sent has arrived, as the mode demands.
    pub fn judge(&self) -> Result<()> {
        let sessions = self.sessions()?;
        match self.scene.mode {
            Mode::All if self.split => self.complete_in_pieces(&sessions),
            Mode::All => self.complete(&sessions),
            Mode::RoundRobin => self.shared_out(&sessions),
        }
    }

    fn complete(&self, sessions: &[Session]) -> Result<()> {
        let sent = self.ordered(&self.sent);
        for (index, session) in sessions.iter().enumerate() {
            let got = self.ordered(&session.messages);
            let count = (got.len(), sent.len());
            let first = got.iter().zip(&sent).position(|(got, sent)| got != sent);
            ensure!(
                got == sent,
                "collector {index} has other messages: {count:?}, different from {first:?} on"
            );
        }
        Ok(())
    }

    fn ordered<'m>(&self, messages: &'m [Vec<u8>]) -> Vec<&'m Vec<u8>> {
        let mut messages: Vec<_> = messages.iter().collect();
        if self.by_domain {
            messages.sort_by_key(|message| wire::domain(message));
        }
        messages
    }

    fn complete_in_pieces(&self, sessions: &[Session]) -> Result<()> {
        let sent = decode::session(&self.sent);
        for (index, session) in sessions.iter().enumerate() {
            let got = decode::session(&session.messages);
            ensure!(got.problems.is_empty(), "collector {index}: {:?}", got.problems);
            ensure!(got.records == sent.records, "collector {index} has other records");
        }
        Ok(())
    }

    fn shared_out(&self, sessions: &[Session]) -> Result<()> {
        let received: Vec<Decoded> =
            sessions.iter().map(|session| decode::session(&session.messages)).collect();
        decode::round_robin(&decode::session(&self.sent), &received)?;
        if self.by_domain {
            return Ok(());
        }
        let turns: Vec<_> = self.turns.iter().filter_map(|index| self.sent.get(*index)).collect();
        in_turn(&turns, sessions)
    }
}

/// Message n and message n + d are at the same destination, for d destinations.
fn in_turn(messages: &[&Vec<u8>], sessions: &[Session]) -> Result<()> {
    let mut places = HashMap::new();
    for (place, session) in sessions.iter().enumerate() {
        let whole = session.messages.iter().map(|message| wire::without_sequence(message));
        places.extend(whole.map(|message| (message, place)));
        let pieces = session.messages.iter().filter_map(|message| head(message));
        places.extend(pieces.map(|head| (head, place)));
    }
    let place = |message: &&Vec<u8>| {
        let whole = places.get(&wire::without_sequence(message));
        let place = whole.or_else(|| places.get(&head(message)?));
        place.copied().context("a message was changed")
    };
    let order = messages.iter().map(place).collect::<Result<Vec<_>>>()?;
    let first: BTreeSet<_> = order.iter().take(sessions.len()).collect();
    ensure!(first.len() == sessions.len(), "the first round left somebody out");
    let strict = order.iter().zip(order.iter().skip(sessions.len()));
    let broken = strict.clone().position(|(one, other)| one != other);
    ensure!(broken.is_none(), "not in turn from message {broken:?} on: {order:?}");
    Ok(())
}

/// The beginning of the first record, by which the first piece of a message is recognised.
fn head(message: &[u8]) -> Option<Vec<u8>> {
    let start = wire::MESSAGE_HEADER + wire::SET_HEADER;
    message.get(start..start + 24).map(<[u8]>::to_vec)
}
