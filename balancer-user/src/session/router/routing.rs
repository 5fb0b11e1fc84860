//! One message on its way through the router: who gets what, and with which number.

use bytes::Bytes;
use common::{
    message::{Header, set_sequence},
    reason::Reason,
    template::Kind,
};

use super::{
    super::{
        MAX_OPTIONS_BYTES, Targets, all_targets, bit,
        compose::Composer,
        domain::{Contents, Domain, Learned, Rules},
        each_target,
        split::{split, templates_and_options},
    },
    Delivery, Outlook, Payload, Router,
};
use crate::config::{Mode, Protocol};

/// The longest UDP payload: 65,535 less IPv4 and UDP headers.
const MAX_DATAGRAM: usize = 65_507;
/// One message on its way through the router.
pub(super) struct Routing<'a> {
    pub(super) router: &'a mut Router,
    pub(super) place: usize,
    pub(super) header: Header,
    pub(super) contents: Contents,
    pub(super) outlook: &'a Outlook,
    pub(super) out: &'a mut Vec<Delivery>,
    pub(super) learned: Learned,
}

impl Routing<'_> {
    /// `All`, `Disabled`: every target gets the message as it is.
    pub(super) fn replicate(&mut self, message: &[u8]) {
        let everyone = all_targets(self.router.shape.targets());
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
    pub(super) fn balance(&mut self, message: &mut [u8], turn: Option<usize>) {
        let sequence = self.header.sequence;
        self.with_domain(|domain| domain.line.credit(&mut domain.outgoing, sequence));
        let copies = match self.contents.is_control() {
            true => self.outlook.reachable & all_targets(self.router.shape.targets()),
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
        self.miss(all_targets(self.router.shape.targets()) & !(copies | turn.map_or(0, bit)));
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
            self.router.cursor = if after < self.router.shape.outputs.len() { after } else { 0 };
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
        if !self.contents.is_control() {
            return;
        }
        self.with_domain(|domain| domain.unsynced |= targets);
        if self.learned.before.is_some() && targets != 0 {
            self.push(targets, Payload::Missed);
        }
    }

    fn learn(&mut self, message: &[u8]) {
        if !self.contents.is_control() {
            return;
        }
        let kept: usize = self.router.domains.iter().map(|d| d.options.bytes()).sum();
        let (input, keep_before) = (self.router.shape.input, self.outlook.queued);
        let room = self.outlook.room;
        self.router.resized = true;
        let learned = self.with_domain(|domain| {
            let others = kept - domain.options.bytes();
            domain.learn(
                message,
                &Rules {
                    ignore_withdrawals: input == Protocol::Udp,
                    keep_before,
                    options_bytes: MAX_OPTIONS_BYTES
                        .saturating_sub(others)
                        .min(domain.options.bytes().saturating_add(room)),
                },
            )
        });
        self.learned = learned.unwrap_or_default();
        self.router.not_kept += u64::from(self.learned.not_kept);
        self.router.redefined |= !self.learned.replaced.is_empty();
        self.router.changed |= self.learned.changed;
    }

    fn refresh(&mut self) {
        let targets = self.router.can_lose_templates();
        if targets == 0 {
            return;
        }
        let shape = &self.router.shape;
        let (seconds, messages) = (shape.template_seconds, shape.template_messages);
        let now = self.outlook.now;
        self.with_domain(|domain| {
            if domain.refresh_due(seconds, messages, now) {
                domain.unsynced |= targets;
            }
        });
    }

    /// Brings those of `targets` up to date that missed something.
    fn sync(&mut self, targets: Targets) {
        if self.router.opening.is_some()
            && let Some(file) = self.router.shape.file()
        {
            // A new domain lacks nothing, but for what a file opens with.
            self.with_domain(|domain| domain.unsynced |= bit(file));
        }
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
        let is_file = self.router.shape.file() == Some(target);
        let Some(domain) = self.router.domains.get_mut(place) else { return };
        let Some(next) = next else { return };
        domain.unsynced &= !bit(target);
        let outgoing = domain.outgoing.get(target).copied().unwrap_or_default();
        let number = |records| match mode {
            // The number of the exporter's next message is given: what is repeated goes before.
            Mode::All | Mode::Disabled => next.wrapping_sub(records),
            Mode::RoundRobin => outgoing,
        };
        let opening = self.router.opening.take_if(|_| is_file);
        let (messages, records) =
            domain.state(&domain.templates, opening.as_ref(), &self.header, number, limit);
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
        if self.learned.replaced.is_empty() || self.router.shape.input == Protocol::Tcp {
            return;
        }
        let replaced = std::mem::take(&mut self.learned.replaced);
        for target in each_target(targets & self.router.tcp) {
            let number = match self.router.shape.mode {
                Mode::All | Mode::Disabled => self.header.sequence,
                Mode::RoundRobin => self.outgoing(target),
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
        let datagrams = each_target(targets & self.router.udp);
        let oversize = datagrams.filter(too_small).fold(0, |set, t| set | bit(t));
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
