//! From a message to the destinations that get it: SPEC section 3, without input or output.

mod failover;
mod routing;
mod saving;
mod shape;

use std::{collections::HashMap, time::Instant};

use bytes::Bytes;
use common::{
    maps::{OPTIONS_WORDS, options_bit},
    message::{Header, Malformed, VERSION},
    reason::Reason,
    sequence::{self, Sequence},
    turn,
};

use routing::Routing;
pub use saving::{Numbers, Saved};
pub use shape::Shape;

use super::{
    MAX_DOMAINS, MAX_TEMPLATE_BYTES, SessionDetails, Targets, all_targets, bit,
    domain::{Before, Domain, Learned, examine},
    templates::Templates,
};
use crate::config::{Mode, Protocol};

/// The state of the destinations when a message is routed.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    /// RoundRobin: those that can take a turn.
    pub turn: Targets,
    /// RoundRobin: those that templates and options can be handed to now. The others get them
    /// when they return.
    pub reachable: Targets,
    /// Whether messages wait in the queue of any.
    pub queued: bool,
    /// Bytes by which the session's templates, options and domains may grow, for what the receiver's
    /// other sessions leave of `TEMPLATE_MB`.
    pub room: usize,
    /// The time.
    pub now: Instant,
}

/// One thing to hand to destinations. Deliveries of one message are in the order of sending.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Who gets it.
    pub to: Targets,
    /// What they get.
    pub payload: Payload,
    /// Observation domain.
    pub domain: u32,
    /// Whether it has templates or options: if it is lost, [`Router::lost`] has to hear of it.
    pub control: bool,
    /// Old templates, where the message redefines or withdraws some.
    pub before: Option<Before>,
}

/// Content of a [`Delivery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A message that the balancer composed, or a copy with a number of its own.
    Composed(Bytes),
    /// Nothing: the message could not be passed on to these destinations.
    Dropped(Reason),
    /// The routed message itself, as it is now in its buffer.
    Whole,
    /// Nothing: it is repeated when they return. What waits for them is older than it, and needs
    /// [`Delivery::before`].
    Missed,
}

/// One domain's state, as far as the kernel path needs it.
#[derive(Clone, Copy, Debug)]
pub struct Steering<'a> {
    /// Observation domain id.
    pub domain: u32,
    /// The incoming number line.
    pub line: Sequence,
    /// Number of the next record for each destination.
    pub outgoing: &'a [u32],
    /// Destinations that have all templates and options.
    pub synced: Targets,
    /// Ids of options templates, see [`options_bit`].
    pub options: [u64; OPTIONS_WORDS],
}

/// Why nothing was routed. The session's state is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The message has to be dropped.
    Drop(Reason),
    /// RoundRobin: no destination can take a turn. The message has to wait.
    NoDestination,
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Refusal {
        Refusal::Drop(Reason::Malformed)
    }
}

/// Templates, options, sequence numbers and turns of one exporter session.
#[derive(Debug)]
pub struct Router {
    shape: Shape,
    /// The destinations over TCP, and those over UDP.
    tcp: Targets,
    udp: Targets,
    /// What the dump file begins with, until that has been written.
    opening: Option<SessionDetails>,
    limits: Vec<usize>,
    domains: Vec<Domain>,
    index: HashMap<u32, usize>,
    /// Place of the last message's domain: mostly the next one's, too.
    last_place: usize,
    cursor: usize,
    /// Options records that were not kept since the last look.
    not_kept: u64,
    /// Whether a live template was redefined since the last look.
    redefined: bool,
    /// Whether any template or options record is new or gone since the last look.
    changed: bool,
    /// Whether the state may have changed its size since the last look.
    resized: bool,
}

impl Router {
    /// A session whose first turn is `start`'s, modulo the number of destinations.
    pub fn new(shape: Shape, start: usize) -> Router {
        let destinations = shape.outputs.len().max(1);
        Router {
            limits: shape.first_limits(),
            tcp: shape.over(Protocol::Tcp),
            udp: shape.over(Protocol::Udp),
            opening: None,
            shape,
            domains: Vec::new(),
            index: HashMap::new(),
            last_place: 0,
            cursor: start.checked_rem(destinations).unwrap_or(0),
            not_kept: 0,
            redefined: false,
            changed: false,
            resized: false,
        }
    }

    /// What the router goes by.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Sets the longest message that `target` can be sent: a UDP destination's datagram payload.
    pub fn set_limit(&mut self, target: usize, bytes: usize) {
        if let Some(limit) = self.limits.get_mut(target) {
            *limit = bytes;
        }
    }

    /// Routes one whole message; its header has been checked, and its length is the slice's.
    /// In RoundRobin the number in `message` is rewritten.
    pub fn route(
        &mut self,
        message: &mut [u8],
        outlook: &Outlook,
        out: &mut Vec<Delivery>,
    ) -> Result<(), Refusal> {
        let header = Header::read(message).ok_or(Malformed::Length)?;
        let place = self.place(header.domain);
        let known = place.and_then(|place| self.domains.get(place));
        let contents = examine(message, known.map(|domain| &*domain.templates))?;
        if contents.templates {
            self.check_template_limit(known, message, outlook.room)?;
        }
        let turn = match self.shape.mode {
            Mode::RoundRobin if contents.flow || !contents.is_control() => {
                Some(self.next_turn(outlook.turn).ok_or(Refusal::NoDestination)?)
            }
            _ => None,
        };
        let place = match place {
            Some(place) => place,
            None => self.add_domain(&header, outlook)?,
        };
        self.last_place = place;
        let mut routing = Routing {
            router: self,
            place,
            header,
            contents,
            outlook,
            out,
            learned: Learned::default(),
        };
        match routing.router.shape.mode {
            Mode::RoundRobin => routing.balance(message, turn),
            Mode::All | Mode::Disabled => routing.replicate(message),
        }
        if self.shape.counts
            && let Some(domain) = self.domains.get_mut(place)
        {
            domain.flows.came(&header, message, &domain.templates);
        }
        Ok(())
    }

    /// A new dump file begins: everything live goes first, as to a destination that has connected,
    /// and ahead of that what names the session.
    pub fn begin_file(&mut self, details: SessionDetails) {
        if let Some(file) = self.shape.file() {
            self.opening = Some(details);
            self.reconnected(file, &[]);
        }
    }

    /// Everything live, in messages of `export_time`, by the templates of `before` in the domains that
    /// it has some of. Ahead of it the `details`, as a dump file begins with them.
    pub fn live(
        &self,
        details: Option<&SessionDetails>,
        before: &[Before],
        export_time: u32,
    ) -> Vec<u8> {
        let like = Header { version: VERSION, length: 0, export_time, sequence: 0, domain: 0 };
        // A session that has said nothing at all has details.
        let nothing = [Domain::new(0, 0, 0, Instant::now())];
        let domains = if self.domains.is_empty() { &nothing[..] } else { &self.domains };
        let mut first = details;
        let state = |domain: &Domain| {
            let before = before.iter().find(|before| before.domain == domain.id);
            let templates = before.map_or(&domain.templates, |before| &before.templates);
            domain.state(templates, first.take(), &like, |_| 0, usize::MAX).0
        };
        domains.iter().flat_map(state).flatten().collect()
    }

    /// The domains whose templates and options `target` lacks.
    pub fn unsynced(&self, target: usize) -> impl Iterator<Item = u32> {
        self.domains.iter().filter(move |d| d.unsynced & bit(target) != 0).map(|d| d.id)
    }

    /// Data records that have become known since the last call: those of the messages before
    /// `message`, which is about to be routed.
    pub fn count(&mut self, message: &[u8]) -> u64 {
        let Some(header) = Header::read(message).filter(|_| self.shape.counts) else { return 0 };
        let domain = self.place(header.domain).and_then(|place| self.domains.get_mut(place));
        domain.map_or(0, |domain| domain.flows.before(header.sequence))
    }

    /// A delivery with templates or options was lost on its way to `target`.
    pub fn lost(&mut self, domain: u32, target: usize) {
        if let Some(domain) = self.index.get(&domain).and_then(|i| self.domains.get_mut(*i)) {
            domain.unsynced |= bit(target);
        }
    }

    /// A new transport session to `target` has begun: everything live goes first, before the next
    /// message of a domain; but for those domains of which messages are `waiting`, behind a
    /// preamble of their own.
    pub fn reconnected(&mut self, target: usize, waiting: &[u32]) {
        for domain in self.domains.iter_mut().filter(|domain| !waiting.contains(&domain.id)) {
            domain.unsynced |= bit(target);
        }
    }

    /// What has to be sent ahead of a queue when a new transport session to `target` begins:
    /// the templates and options of `head`'s domain as they were when `head`, its first message in
    /// the queue, was routed. Also the number of options records by which the queued messages of
    /// the domain are to be renumbered.
    pub fn preamble(
        &mut self,
        target: usize,
        head: &Header,
        before: Option<&Before>,
    ) -> (Vec<Bytes>, u32) {
        let limit = self.limits.get(target).copied().unwrap_or(usize::MAX);
        let mode = self.shape.mode;
        let place = self.index.get(&head.domain).copied();
        let Some(domain) = place.and_then(|place| self.domains.get_mut(place)) else {
            return (Vec::new(), 0);
        };
        let templates = before.map_or(&domain.templates, |before| &before.templates);
        if mode != Mode::RoundRobin {
            let number = |records| head.sequence.wrapping_sub(records);
            return (domain.state(templates, None, head, number, limit).0, 0);
        }
        let (messages, records) = domain.state(templates, None, head, |_| head.sequence, limit);
        if let Some(number) = domain.outgoing.get_mut(target) {
            *number = number.wrapping_add(records);
        }
        (messages, records)
    }

    /// Changes the destinations: `kept[new]` is the old number of the new list's entry, `None` for
    /// one that was not there.
    pub fn reconfigure(&mut self, shape: Shape, kept: &[Option<usize>]) {
        let known = |old: &Option<usize>| old.and_then(|old| self.limits.get(old).copied());
        let first = shape.first_limits().into_iter();
        self.limits =
            kept.iter().zip(first).map(|(old, first)| known(old).unwrap_or(first)).collect();
        (self.tcp, self.udp) = (shape.over(Protocol::Tcp), shape.over(Protocol::Udp));
        let mode_changed = shape.mode != self.shape.mode;
        for domain in &mut self.domains {
            domain.rearrange(kept);
            if mode_changed {
                // What was sent in the other mode is nobody's to be credited with.
                domain.line.holder = sequence::GONE;
            }
        }
        self.cursor = self.cursor.checked_rem(shape.outputs.len().max(1)).unwrap_or(0);
        self.shape = shape;
    }

    /// From which destination on the next turn is looked for.
    pub fn turn(&self) -> usize {
        self.cursor
    }

    /// Every domain's state, for the kernel path.
    pub fn steering(&self) -> impl Iterator<Item = Steering<'_>> {
        self.domains.iter().map(|domain| Steering {
            domain: domain.id,
            line: domain.line,
            outgoing: &domain.outgoing,
            synced: !domain.unsynced,
            options: options_bits(&domain.templates),
        })
    }

    /// Goes on after the kernel path: with the turn and the domains' numbers as it has left them. A
    /// domain that is not known here is one whose templates are not known, either.
    pub fn resume<const N: usize>(
        &mut self,
        turn: u32,
        states: impl Iterator<Item = (u32, Sequence, [u32; N])>,
    ) {
        let turn = usize::try_from(turn).unwrap_or(0);
        self.cursor = turn.checked_rem(self.shape.outputs.len()).unwrap_or(0);
        for (id, line, outgoing) in states {
            let place = match self.index.get(&id) {
                Some(place) => *place,
                None => self.insert_domain(id, line.credited, Instant::now()),
            };
            let Some(domain) = self.domains.get_mut(place) else { continue };
            domain.next = None;
            if self.shape.mode == Mode::RoundRobin {
                domain.line = line;
                for (to, from) in domain.outgoing.iter_mut().zip(outgoing) {
                    *to = from;
                }
            }
        }
    }

    /// Options records that were not kept since the last call, for want of room.
    pub fn take_not_kept(&mut self) -> u64 {
        std::mem::take(&mut self.not_kept)
    }

    /// Bytes that templates, options records and domains take, about, if that may have changed since the
    /// last call.
    pub fn take_resized(&mut self) -> Option<usize> {
        let targets = self.shape.targets();
        let bytes = |domain: &Domain| {
            Domain::cost(targets) + domain.templates.bytes() + domain.options.bytes()
        };
        std::mem::take(&mut self.resized).then(|| self.domains.iter().map(bytes).sum())
    }

    /// Whether a live template was redefined since the last call: messages from before must not come
    /// to a collector after it.
    pub fn take_redefined(&mut self) -> bool {
        std::mem::take(&mut self.redefined)
    }

    /// An observation domain that the exporter does not use.
    pub fn unused_domain(&self) -> u32 {
        let used = |domain: &u32| self.index.contains_key(domain);
        (0..=u32::MAX).rev().find(|domain| !used(domain)).unwrap_or(u32::MAX)
    }

    fn place(&self, domain: u32) -> Option<usize> {
        match self.domains.get(self.last_place) {
            Some(last) if last.id == domain => Some(self.last_place),
            _ => self.index.get(&domain).copied(),
        }
    }

    fn check_template_limit(
        &self,
        known: Option<&Domain>,
        message: &[u8],
        room: usize,
    ) -> Result<(), Refusal> {
        let growth = match known {
            Some(domain) => domain.growth(message),
            None => message.len(),
        };
        let taken: usize = self.domains.iter().map(|domain| domain.templates.bytes()).sum();
        if taken + growth > MAX_TEMPLATE_BYTES || growth > room {
            return Err(Refusal::Drop(Reason::TemplateLimit));
        }
        Ok(())
    }

    fn add_domain(&mut self, header: &Header, outlook: &Outlook) -> Result<usize, Refusal> {
        let place = self.domains.len();
        if place >= MAX_DOMAINS || Domain::cost(self.shape.targets()) > outlook.room {
            return Err(Refusal::Drop(Reason::DomainLimit));
        }
        Ok(self.insert_domain(header.domain, header.sequence, outlook.now))
    }

    fn insert_domain(&mut self, id: u32, sequence: u32, now: Instant) -> usize {
        let place = self.domains.len();
        self.index.insert(id, place);
        self.resized = true;
        self.domains.push(Domain::new(id, self.shape.targets(), sequence, now));
        place
    }

    /// The next destination of `available` in turn, from the cursor on and around.
    fn next_turn(&self, available: Targets) -> Option<usize> {
        let available = available & all_targets(self.shape.outputs.len());
        let turn = u32::try_from(self.cursor).unwrap_or(u32::MAX);
        turn::next(available, turn).and_then(|target| usize::try_from(target).ok())
    }

    /// Destinations that may lose templates that the exporter does not repeat.
    fn can_lose_templates(&self) -> Targets {
        if self.shape.input == Protocol::Tcp { self.udp } else { 0 }
    }
}

fn options_bits(templates: &Templates) -> [u64; OPTIONS_WORDS] {
    let mut bits = [0; OPTIONS_WORDS];
    for id in templates.options_ids() {
        let (word, bit) = options_bit(*id);
        if let Some(word) = bits.get_mut(word) {
            *word |= bit;
        }
    }
    bits
}
