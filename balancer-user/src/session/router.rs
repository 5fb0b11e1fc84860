//! From a message to the destinations that get it: SPEC section 3, without input or output.

use std::{collections::HashMap, time::Instant};

use bytes::Bytes;
use common::{
    message::{Header, Malformed, set_sequence},
    reason::Reason,
    template::Kind,
};

use super::{
    MAX_DOMAINS, MAX_OPTIONS_BYTES, MAX_TEMPLATE_BYTES, Targets, all_targets, bit,
    compose::Composer,
    domain::{Before, Contents, Domain, Learned, Rules, examine},
    each_target,
    split::{split, templates_and_options},
};
use crate::config::{Mode, Protocol};

/// The longest UDP payload: 65,535 less IPv4 and UDP headers.
const MAX_DATAGRAM: usize = 65_507;
/// What a UDP destination is sent before the MTU of its route is known: what Ethernet carries.
const UNKNOWN_ROUTE_LIMIT: usize = 1452;

/// What the router has to know of a receiver's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `All` or `RoundRobin`.
    pub mode: Mode,
    /// How messages come in.
    pub input: Protocol,
    /// How they go out.
    pub output: Protocol,
    /// How many destinations there are, 64 at most.
    pub destinations: usize,
    /// `TEMPLATE_SECONDS`: templates are repeated this often on UDP outputs fed by TCP.
    pub template_seconds: u32,
    /// `TEMPLATE_MESSAGES`: likewise after so many messages of a domain.
    pub template_messages: u32,
}

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
    limits: Vec<usize>,
    domains: Vec<Domain>,
    index: HashMap<u32, usize>,
    /// Place of the last message's domain: mostly the next one's, too.
    last_place: usize,
    cursor: usize,
    /// Options records that were not kept since the last look.
    not_kept: u64,
}

impl Router {
    /// A session whose first turn is `start`'s, modulo the number of destinations.
    pub fn new(shape: Shape, start: usize) -> Router {
        let destinations = shape.destinations.max(1);
        Router {
            limits: vec![first_limit(shape.output); shape.destinations],
            shape,
            domains: Vec::new(),
            index: HashMap::new(),
            last_place: 0,
            cursor: start.checked_rem(destinations).unwrap_or(0),
            not_kept: 0,
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
            self.check_template_limit(known, message)?;
        }
        let turn = match self.shape.mode {
            Mode::RoundRobin if contents.flow || !contents.is_control() => {
                Some(self.next_turn(outlook.turn).ok_or(Refusal::NoDestination)?)
            }
            _ => None,
        };
        let place = match place {
            Some(place) => place,
            None => self.add_domain(&header, outlook.now)?,
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
            _ => routing.replicate(message),
        }
        Ok(())
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
        if mode == Mode::All {
            let number = |records| head.sequence.wrapping_sub(records);
            return (domain.state(templates, head, number, limit).0, 0);
        }
        let (messages, records) = domain.state(templates, head, |_| head.sequence, limit);
        if let Some(number) = domain.outgoing.get_mut(target) {
            *number = number.wrapping_add(records);
        }
        (messages, records)
    }

    /// Changes the destinations: `kept[new]` is the old number of the new list's entry, `None` for
    /// one that was not there.
    pub fn reconfigure(&mut self, shape: Shape, kept: &[Option<usize>]) {
        self.limits = kept
            .iter()
            .map(|old| old.and_then(|old| self.limits.get(old).copied()))
            .map(|limit| limit.unwrap_or(first_limit(shape.output)))
            .collect();
        for domain in &mut self.domains {
            domain.rearrange(kept);
        }
        self.cursor = self.cursor.checked_rem(shape.destinations.max(1)).unwrap_or(0);
        self.shape = shape;
    }

    /// Options records that were not kept since the last call, for want of room.
    pub fn take_not_kept(&mut self) -> u64 {
        std::mem::take(&mut self.not_kept)
    }

    fn place(&self, domain: u32) -> Option<usize> {
        match self.domains.get(self.last_place) {
            Some(last) if last.id == domain => Some(self.last_place),
            _ => self.index.get(&domain).copied(),
        }
    }

    fn check_template_limit(&self, known: Option<&Domain>, message: &[u8]) -> Result<(), Refusal> {
        let growth = match known {
            Some(domain) => domain.growth(message),
            None => message.len(),
        };
        let taken: usize = self.domains.iter().map(|domain| domain.templates.bytes()).sum();
        if taken + growth > MAX_TEMPLATE_BYTES {
            return Err(Refusal::Drop(Reason::TemplateLimit));
        }
        Ok(())
    }

    fn add_domain(&mut self, header: &Header, now: Instant) -> Result<usize, Refusal> {
        let place = self.domains.len();
        if place >= MAX_DOMAINS {
            return Err(Refusal::Drop(Reason::DomainLimit));
        }
        self.index.insert(header.domain, place);
        let destinations = self.shape.destinations;
        self.domains.push(Domain::new(header.domain, destinations, header.sequence, now));
        Ok(place)
    }

    /// The next destination of `available` in turn, from the cursor on and around.
    fn next_turn(&self, available: Targets) -> Option<usize> {
        let available = available & all_targets(self.shape.destinations);
        let from_cursor = available & !all_targets(self.cursor);
        each_target(from_cursor).next().or_else(|| each_target(available).next())
    }

    fn datagrams_can_lose_templates(&self) -> bool {
        self.shape.input == Protocol::Tcp && self.shape.output == Protocol::Udp
    }
}

/// One message on its way through the router.
struct Routing<'a> {
    router: &'a mut Router,
    place: usize,
    header: Header,
    contents: Contents,
    outlook: &'a Outlook,
    out: &'a mut Vec<Delivery>,
    learned: Learned,
}

impl Routing<'_> {
    /// `All`: every destination gets the message as it is.
    fn replicate(&mut self, message: &[u8]) {
        let everyone = all_targets(self.router.shape.destinations);
        self.refresh();
        self.sync(everyone);
        self.learn(message);
        self.withdraw_replaced(everyone);
        self.whole(message, everyone, self.header.sequence);
        let next = self.header.sequence.wrapping_add(self.learned.options_records);
        let flow = self.contents.flow;
        self.with_domain(|domain| domain.next = (!flow).then_some(next));
    }

    /// `RoundRobin`: the message goes to the destination whose turn it is, if it takes one;
    /// templates and options go to everyone.
    fn balance(&mut self, message: &mut [u8], turn: Option<usize>) {
        let sequence = self.header.sequence;
        self.with_domain(|domain| domain.line.credit(&mut domain.outgoing, sequence));
        let copies = match self.contents.is_control() {
            true => self.outlook.reachable & all_targets(self.router.shape.destinations),
            false => 0,
        };
        self.refresh();
        self.sync(copies | turn.map_or(0, bit));
        self.learn(message);
        self.withdraw_replaced(copies | turn.map_or(0, bit));
        match turn {
            Some(target) => self.give(message, target, copies & !bit(target)),
            None => self.copy_to_all(message, copies),
        }
        let next = sequence.wrapping_add(self.learned.options_records);
        let flow = self.contents.flow;
        self.with_domain(|domain| domain.next = (!flow).then_some(next));
        self.miss(all_targets(self.router.shape.destinations) & !(copies | turn.map_or(0, bit)));
    }

    /// The whole message to `target`; what everyone needs of it to `others`.
    fn give(&mut self, message: &mut [u8], target: usize, others: Targets) {
        for other in each_target(others) {
            self.copy_control(message, other);
        }
        let sequence = self.header.sequence;
        let number = self.with_domain(|domain| {
            let target = u32::try_from(target).ok()?;
            domain.line.give(&mut domain.outgoing, sequence, target)
        });
        let number = number.flatten().unwrap_or_default();
        set_sequence(message, number);
        self.whole(message, bit(target), number);
        // A message without records leaves the turn where it was.
        if self.contents.flow {
            let after = target + 1;
            self.router.cursor = if after < self.router.shape.destinations { after } else { 0 };
        }
    }

    /// A mixed message's templates and options alone, to a destination whose turn it is not.
    fn copy_control(&mut self, message: &[u8], target: usize) {
        let number = self.outgoing(target);
        let templates = self.router.domains.get(self.place).map(|d| &d.templates);
        let copy = templates_and_options(message, number, |id| {
            templates.is_some_and(|templates| templates.is_options(id))
        });
        let Some(copy) = copy else { return };
        self.composed(copy, bit(target), number);
        self.count(target, self.learned.options_records);
    }

    /// A message of templates and options alone, to everyone; it takes no turn.
    fn copy_to_all(&mut self, message: &[u8], targets: Targets) {
        let records = self.learned.options_records;
        for target in each_target(targets) {
            let number = self.outgoing(target);
            let mut copy = message.to_vec();
            set_sequence(&mut copy, number);
            self.composed(copy.into(), bit(target), number);
            self.count(target, records);
        }
        self.with_domain(|domain| domain.line.skip(records));
    }

    /// Destinations that could not be handed templates or options get them when they return.
    fn miss(&mut self, targets: Targets) {
        if self.contents.is_control() {
            self.with_domain(|domain| domain.unsynced |= targets);
        }
    }

    fn learn(&mut self, message: &[u8]) {
        if !self.contents.is_control() {
            return;
        }
        let kept: usize = self.router.domains.iter().map(|d| d.options.bytes()).sum();
        let (input, keep_before) = (self.router.shape.input, self.outlook.queued);
        let learned = self.with_domain(|domain| {
            let others = kept - domain.options.bytes();
            domain.learn(
                message,
                &Rules {
                    ignore_withdrawals: input == Protocol::Udp,
                    keep_before,
                    options_bytes: MAX_OPTIONS_BYTES.saturating_sub(others),
                },
            )
        });
        self.learned = learned.unwrap_or_default();
        self.router.not_kept += u64::from(self.learned.not_kept);
    }

    fn refresh(&mut self) {
        if !self.router.datagrams_can_lose_templates() {
            return;
        }
        let shape = &self.router.shape;
        let (seconds, messages) = (shape.template_seconds, shape.template_messages);
        let (everyone, now) = (all_targets(shape.destinations), self.outlook.now);
        self.with_domain(|domain| {
            if domain.refresh_due(seconds, messages, now) {
                domain.unsynced |= everyone;
            }
        });
    }

    /// Brings those of `targets` up to date that missed something.
    fn sync(&mut self, targets: Targets) {
        let missing = self.with_domain(|domain| domain.unsynced & targets).unwrap_or_default();
        for target in each_target(missing) {
            self.sync_domain(self.place, target, Some(self.header.sequence));
            for place in 0..self.router.domains.len() {
                let Some(domain) = self.router.domains.get(place) else { continue };
                // Other domains follow along where the number of their next message is sure.
                if place != self.place
                    && domain.unsynced & bit(target) != 0
                    && domain.next.is_some()
                {
                    self.sync_domain(place, target, domain.next);
                }
            }
        }
    }

    fn sync_domain(&mut self, place: usize, target: usize, next: Option<u32>) {
        let limit = self.limit(target);
        let mode = self.router.shape.mode;
        let Some(domain) = self.router.domains.get_mut(place) else { return };
        let Some(next) = next else { return };
        domain.unsynced &= !bit(target);
        let outgoing = domain.outgoing.get(target).copied().unwrap_or_default();
        let number = |records| match mode {
            // The number of the exporter's next message is given: what is repeated goes before.
            Mode::All => next.wrapping_sub(records),
            _ => outgoing,
        };
        let (messages, records) = domain.state(&domain.templates, &self.header, number, limit);
        if let Some(number) = domain.outgoing.get_mut(target) {
            *number = number.wrapping_add(records);
        }
        let domain = domain.id;
        for message in messages {
            let payload = Payload::Composed(message);
            self.out.push(Delivery {
                to: bit(target),
                payload,
                domain,
                control: true,
                before: None,
            });
        }
    }

    /// Over TCP a live template can't be redefined without a withdrawal (RFC 7011 section 8.1),
    /// over UDP it can (section 8.4): the withdrawal that a UDP exporter did not send.
    fn withdraw_replaced(&mut self, targets: Targets) {
        let shape = &self.router.shape;
        if self.learned.replaced.is_empty()
            || (shape.input, shape.output) != (Protocol::Udp, Protocol::Tcp)
        {
            return;
        }
        let replaced = std::mem::take(&mut self.learned.replaced);
        for target in each_target(targets) {
            let number = match self.router.shape.mode {
                Mode::All => self.header.sequence,
                _ => self.outgoing(target),
            };
            let mut composer = Composer::new(&self.header, number, self.limit(target));
            for (kind, id) in &replaced {
                let [high, low] = id.to_be_bytes();
                composer.template(Kind::set_id(*kind), &[high, low, 0, 0]);
            }
            for message in composer.finish() {
                self.composed(message, bit(target), number);
            }
        }
    }

    /// The routed message itself, numbered `number`, to `targets`: in pieces where it is too large.
    fn whole(&mut self, message: &[u8], targets: Targets, number: u32) {
        let (fits, oversize) = self.by_size(targets, message.len());
        if fits != 0 {
            self.push(fits, Payload::Whole);
        }
        for target in each_target(oversize) {
            self.oversize(message, target, number, Payload::Whole);
        }
    }

    fn composed(&mut self, message: Bytes, targets: Targets, number: u32) {
        let (fits, oversize) = self.by_size(targets, message.len());
        for target in each_target(oversize) {
            self.oversize(&message, target, number, Payload::Composed(message.clone()));
        }
        if fits != 0 {
            self.push(fits, Payload::Composed(message));
        }
    }

    /// Splits a message for a destination it is too large for. What can't be split goes out as it
    /// is, in IP fragments, as long as UDP can carry it.
    fn oversize(&mut self, message: &[u8], target: usize, number: u32, uncut: Payload) {
        let limit = self.limit(target);
        let domain = self.router.domains.get(self.place);
        match domain.and_then(|domain| split(message, number, &domain.templates, limit)) {
            Some(pieces) => {
                for piece in pieces {
                    self.push(bit(target), Payload::Composed(piece));
                }
            }
            None if message.len() <= MAX_DATAGRAM => self.push(bit(target), uncut),
            None => self.push(bit(target), Payload::Dropped(Reason::Oversize)),
        }
    }

    fn push(&mut self, to: Targets, payload: Payload) {
        self.out.push(Delivery {
            to,
            payload,
            domain: self.header.domain,
            control: self.contents.is_control(),
            before: self.learned.before.clone(),
        });
    }

    fn by_size(&self, targets: Targets, len: usize) -> (Targets, Targets) {
        let too_small = |target: &usize| self.limit(*target) < len;
        let oversize = match self.router.shape.output {
            Protocol::Tcp => 0,
            Protocol::Udp => each_target(targets).filter(too_small).fold(0, |set, t| set | bit(t)),
        };
        (targets & !oversize, oversize)
    }

    fn limit(&self, target: usize) -> usize {
        self.router.limits.get(target).copied().unwrap_or(usize::MAX)
    }

    fn outgoing(&self, target: usize) -> u32 {
        let domain = self.router.domains.get(self.place);
        domain.and_then(|domain| domain.outgoing.get(target).copied()).unwrap_or_default()
    }

    fn count(&mut self, target: usize, records: u32) {
        self.with_domain(|domain| {
            if let Some(number) = domain.outgoing.get_mut(target) {
                *number = number.wrapping_add(records);
            }
        });
    }

    fn with_domain<T>(&mut self, change: impl FnOnce(&mut Domain) -> T) -> Option<T> {
        self.router.domains.get_mut(self.place).map(change)
    }
}

fn first_limit(output: Protocol) -> usize {
    match output {
        Protocol::Tcp => usize::MAX,
        Protocol::Udp => UNKNOWN_ROUTE_LIMIT,
    }
}
