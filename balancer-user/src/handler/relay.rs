//! One exporter session at work: its router, and the outlets that the router's deliveries go to.

use std::{cell::RefCell, net::SocketAddr, ops::Range, rc::Rc, time::Duration};

use bytes::Bytes;
use common::reason::Reason;
use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

use super::{backlog::Backlog, connection, shared::Scratch, shared::Shared};
use crate::{
    config::{Destination, Mode, Protocol, Receiver, SpoolFull},
    net::mmsg,
    output::{Entry, Link, MAX_QUEUE_BYTES, Outlet, OutletId},
    session::{
        Before, Delivery, Outlook, Payload, Refusal, Router, Shape, Targets, bit, each_target,
    },
};

/// How long a new session waits for its first connections: in RoundRobin, so that a destination
/// whose handshake takes a moment longer is not passed over; on UDP outputs, because what has to be
/// split is known by the route's MTU.
const SETTLE: Duration = Duration::from_millis(100);
/// How long a destination may take nothing at all before it does not count as merely slow.
const STALLED: Duration = Duration::from_secs(1);
/// All: the exporter is held back when every queue is as long as this ...
const HOLD_FROM: usize = MAX_QUEUE_BYTES / 4 * 3;
/// ... until one of them is as short as this.
const HOLD_BELOW: usize = MAX_QUEUE_BYTES / 2;
/// RoundRobin: what one read may bring beyond the bound of the waiting messages before the oldest
/// are dropped. An exporter that can be held back is held back before that.
const BACKLOG_SLACK: usize = 1 << 20;
/// How long messages of an ended session wait for a destination that is away.
const LINGER: Duration = Duration::from_secs(60);
/// Malformed messages in a row after which an exporter is not believed any more.
const MAX_MALFORMED_ROW: u32 = 8;

/// One exporter session at work.
pub struct Relay {
    /// Who exports.
    pub peer: SocketAddr,
    /// When its last message came.
    pub last_seen: Instant,
    /// Notified when a queue has shrunk.
    pub space: Rc<Notify>,
    shared: Rc<Shared>,
    number: usize,
    router: Router,
    outlets: Vec<Outlet>,
    /// Outlets that the configuration has no more: they send what they have.
    leaving: Vec<Outlet>,
    backlog: Backlog,
    opened: Instant,
    outlets_opened: u64,
    malformed_row: u32,
    mode: Mode,
    settles: bool,
    holding: bool,
    /// Whether consecutive messages can stand in one queue entry.
    runs: bool,
    ended: bool,
    /// Outlets of the ended session that have finished.
    finished: usize,
}

/// Something to put into queues once the batch's buffer is shared.
#[derive(Debug)]
pub struct Pending {
    to: Targets,
    content: Content,
    messages: u32,
    domain: u32,
    control: bool,
    before: Option<Before>,
}

#[derive(Debug)]
enum Content {
    /// A range of the batch's buffer.
    Buffer(Range<usize>),
    Composed(Bytes),
    Dropped(Reason),
}

/// Whether an exporter may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Yes.
    Go,
    /// Not before a queue shrinks.
    UntilSpace,
    /// Not before a queue shrinks or this time has come.
    UntilSpaceOr(Instant),
}

impl Relay {
    /// Opens a session with its connections to every destination.
    pub fn open(shared: &Rc<Shared>, peer: SocketAddr) -> Rc<RefCell<Relay>> {
        let receiver = shared.receiver();
        let now = Instant::now();
        let relay = Rc::new(RefCell::new(Relay {
            peer,
            last_seen: now,
            space: Rc::default(),
            shared: Rc::clone(shared),
            number: shared.next_session(),
            router: Router::new(shape(&receiver), shared.next_session()),
            outlets: Vec::new(),
            leaving: Vec::new(),
            backlog: Backlog::default(),
            opened: now,
            outlets_opened: 0,
            malformed_row: 0,
            mode: receiver.mode,
            settles: receiver.mode == Mode::RoundRobin
                || output_protocol(&receiver) == Protocol::Udp,
            holding: false,
            runs: can_merge(&receiver),
            ended: false,
            finished: 0,
        }));
        shared.enter(&relay);
        shared.log_session(peer, "began");
        for destination in &receiver.destinations {
            let outlet = relay.borrow_mut().new_outlet(destination);
            Relay::start(&relay, outlet);
        }
        if relay.borrow().settles {
            tokio::task::spawn_local(Relay::settle(Rc::clone(&relay)));
        }
        relay
    }

    /// Ends the wait for the first connections.
    async fn settle(relay: Rc<RefCell<Relay>>) {
        let end = relay.borrow().opened + SETTLE;
        tokio::time::sleep_until(end).await;
        relay.borrow_mut().release();
    }

    fn new_outlet(&mut self, destination: &Destination) -> Outlet {
        let id = OutletId(self.outlets_opened);
        self.outlets_opened += 1;
        Outlet::new(id, destination.clone(), self.shared.stats.destination(destination))
    }

    fn start(relay: &Rc<RefCell<Relay>>, outlet: Outlet) {
        let id = outlet.id;
        let shared = Rc::clone(&relay.borrow().shared);
        relay.borrow_mut().outlets.push(outlet);
        tokio::task::spawn_local(connection::maintain(shared, Rc::clone(relay), id));
    }

    /// Follows a change of the configuration: destinations that stay keep their connections, their
    /// queues and their sequence numbers.
    pub fn reconfigure(relay: &Rc<RefCell<Relay>>, receiver: &Receiver) {
        let mut this = relay.borrow_mut();
        // What an ended session still has to send goes where it was meant to go.
        if this.ended {
            return;
        }
        let mode_changed = this.mode != receiver.mode;
        let mut old: Vec<Option<Outlet>> = this.outlets.drain(..).map(Some).collect();
        let mut kept = Vec::new();
        let mut new = Vec::new();
        for destination in &receiver.destinations {
            let same = |outlet: &Option<Outlet>| {
                !mode_changed && outlet.as_ref().is_some_and(|o| o.destination == *destination)
            };
            let place = old.iter().position(same);
            kept.push(place);
            let outlet = place.and_then(|place| old.get_mut(place)).and_then(Option::take);
            match outlet {
                Some(outlet) => this.outlets.push(outlet),
                None => {
                    let outlet = this.new_outlet(destination);
                    new.push(outlet.id);
                    this.outlets.push(outlet);
                }
            }
        }
        this.router.reconfigure(shape(receiver), &kept);
        (this.mode, this.runs) = (receiver.mode, can_merge(receiver));
        for mut outlet in old.into_iter().flatten() {
            outlet.closing = Some(Instant::now() + LINGER);
            outlet.wake.notify_one();
            this.leaving.push(outlet);
        }
        let shared = Rc::clone(&this.shared);
        drop(this);
        for id in new {
            tokio::task::spawn_local(connection::maintain(
                Rc::clone(&shared),
                Rc::clone(relay),
                id,
            ));
        }
        relay.borrow_mut().release();
    }

    // ---- in ----

    /// What the router has to know of the destinations; good for one batch.
    pub fn outlook(&self, now: Instant) -> Outlook {
        let (mut turn, mut reachable, mut queued) = (0, 0, false);
        for (target, outlet) in self.outlets.iter().enumerate() {
            let (up, waiting) = (outlet.link().is_up(), !outlet.queue().is_empty());
            queued |= waiting || !up;
            if !outlet.is_full() {
                turn |= if up { bit(target) } else { 0 };
                reachable |= if up || waiting { bit(target) } else { 0 };
            }
        }
        Outlook { turn, reachable, queued, now: now.into_std() }
    }

    /// Takes one message, which stands at `start` of the batch's buffer. An error is the reason
    /// for which it was dropped and counted; after too many in a row,
    /// [`Reason::MalformedRow`] asks for the session's end.
    pub fn accept(
        &mut self,
        message: &mut [u8],
        start: usize,
        outlook: &Outlook,
        scratch: &mut Scratch,
    ) -> Result<(), Reason> {
        let must_wait = !self.backlog.is_empty() || self.is_settling();
        let routed = match must_wait {
            true => Err(Refusal::NoDestination),
            false => self.router.route(message, outlook, &mut scratch.deliveries),
        };
        match routed {
            Ok(()) => {
                self.malformed_row = 0;
                let range = start..start + message.len();
                for delivery in scratch.deliveries.drain(..) {
                    self.plan(delivery, &range, &mut scratch.pending);
                }
                Ok(())
            }
            Err(Refusal::NoDestination) => {
                self.wait(message);
                Ok(())
            }
            Err(Refusal::Drop(reason)) => Err(self.refuse(reason)),
        }
    }

    fn refuse(&mut self, reason: Reason) -> Reason {
        self.shared.report(reason, 1, self.peer, "The message was dropped.");
        // A message beyond a limit is well formed.
        self.malformed_row += u32::from(reason == Reason::Malformed);
        if self.malformed_row >= MAX_MALFORMED_ROW { Reason::MalformedRow } else { reason }
    }

    fn plan(&self, delivery: Delivery, range: &Range<usize>, pending: &mut Vec<Pending>) {
        let content = match delivery.payload {
            Payload::Whole => Content::Buffer(range.clone()),
            Payload::Composed(message) => Content::Composed(message),
            Payload::Dropped(reason) => Content::Dropped(reason),
        };
        if self.runs
            && !delivery.control
            && let Content::Buffer(range) = &content
            && let Some(last) = pending.last_mut()
            && last.extend(delivery.to, range)
        {
            return;
        }
        pending.push(Pending {
            to: delivery.to,
            content,
            messages: 1,
            domain: delivery.domain,
            control: delivery.control,
            before: delivery.before,
        });
    }

    /// Puts what a batch has planned into the queues. `buffer` is the batch's; queues that can't
    /// be sent at once keep their own copy of a few messages, not all of it.
    pub fn dispatch(&mut self, buffer: &Bytes, pending: impl Iterator<Item = Pending>) {
        for planned in pending {
            let (bytes, borrowed) = match planned.content {
                Content::Buffer(range) => (buffer.slice(range), true),
                Content::Composed(bytes) => (bytes, false),
                Content::Dropped(reason) => {
                    self.drop_for(planned.to, reason, planned.messages, None);
                    continue;
                }
            };
            for target in each_target(planned.to) {
                let entry = Entry {
                    bytes: bytes.clone(),
                    messages: planned.messages,
                    domain: planned.domain,
                    control: planned.control,
                    before: planned.before.clone(),
                    borrowed,
                };
                self.enqueue(target, entry);
            }
        }
    }

    fn enqueue(&mut self, target: usize, entry: Entry) {
        let mode = self.mode;
        let Some(outlet) = self.outlets.get_mut(target) else { return };
        // In RoundRobin the router has been told who is full when the batch began.
        if mode == Mode::All && outlet.is_full() {
            let lost = entry.control.then_some(entry.domain);
            self.drop_for(bit(target), Reason::QueueFull, entry.messages, lost);
        } else {
            outlet.push(entry);
        }
    }

    fn drop_for(&mut self, targets: Targets, reason: Reason, count: u32, lost: Option<u32>) {
        for target in each_target(targets) {
            if let Some(domain) = lost {
                self.router.lost(domain, target);
            }
            let Some(outlet) = self.outlets.get(target) else { continue };
            outlet.stats().drops.add(reason, u64::from(count));
            if let Some(left_out) = outlet.stats().log_down.pass() {
                warn!(
                    receiver = %self.shared.receiver.borrow().id,
                    destination = %outlet.destination, reason = reason.as_str(), left_out,
                    "messages are dropped for a destination: {}", reason.meaning()
                );
            }
        }
    }

    /// Sends what the queues hold, as far as the sockets take it.
    pub fn flush(&mut self, sender: &mut mmsg::Sender, buffer: usize) {
        for outlet in &mut self.outlets {
            outlet.flush(sender);
            outlet.queue_mut().settle(buffer);
        }
        let not_kept = self.router.take_not_kept();
        if not_kept > 0 {
            self.shared.report(Reason::OptionsLimit, not_kept, self.peer, "");
        }
    }

    // ---- flow control ----

    /// Whether the exporter may be read. A slow destination never holds it back while another one
    /// takes messages; only where all queues are long, TCP's own flow control is used until the
    /// fastest destination has caught up, as long as one of them moves at all, or for ever with
    /// `SPOOL_FULL=hold`.
    pub fn hold(&mut self) -> Hold {
        if self.is_settling() {
            return Hold::UntilSpaceOr(self.opened + SETTLE);
        }
        let policy = self.shared.receiver.borrow().spool.full;
        self.holding = match (self.mode, policy) {
            (Mode::RoundRobin, _) => self.backlog.bytes() >= MAX_QUEUE_BYTES,
            (_, SpoolFull::Hold) => self.outlets.iter().any(Outlet::is_full),
            (_, SpoolFull::DropOldest) => {
                // Room is left above the mark, so that destinations of equal speed that do not
                // reach it at the same moment lose nothing; and a good deal is sent before more
                // is read, so that all of them have room again.
                let mark = if self.holding { HOLD_BELOW } else { HOLD_FROM };
                let long = |outlet: &Outlet| outlet.is_full() || outlet.queue().bytes() >= mark;
                !self.outlets.is_empty() && self.outlets.iter().all(long)
            }
        };
        if !self.holding {
            return Hold::Go;
        }
        if policy == SpoolFull::Hold {
            return Hold::UntilSpace;
        }
        let moving = self.outlets.iter().filter(|outlet| outlet.link().is_up());
        let patience = moving.map(|outlet| outlet.progress + STALLED).max();
        match patience.filter(|until| *until > Instant::now()) {
            Some(until) => Hold::UntilSpaceOr(until),
            None => Hold::Go,
        }
    }

    /// Whether messages wait that a socket may take by now: then its task should get a turn before
    /// more is read.
    pub fn has_waiting(&self) -> bool {
        !self.backlog.is_empty() || self.outlets.iter().any(|outlet| !outlet.queue().is_empty())
    }

    fn is_settling(&self) -> bool {
        let connecting = |outlet: &Outlet| matches!(outlet.link(), Link::Connecting);
        self.settles && self.outlets.iter().any(connecting) && self.opened.elapsed() < SETTLE
    }

    /// Keeps a message that nobody can take yet.
    fn wait(&mut self, message: &[u8]) {
        if self.backlog.bytes() >= MAX_QUEUE_BYTES + BACKLOG_SLACK {
            self.discard_oldest();
        }
        self.backlog.push(message);
        self.shared.stats.waiting.add(1);
    }

    /// Drops the oldest waiting message. It takes its turn all the same, so that its templates are
    /// learned and the loss shows as a gap.
    fn discard_oldest(&mut self) {
        let Some(mut message) = self.backlog.pop() else { return };
        self.shared.stats.waiting.subtract(1);
        let outlook = Outlook { turn: Targets::MAX, reachable: 0, ..self.outlook(Instant::now()) };
        let mut deliveries = Vec::new();
        if self.router.route(&mut message, &outlook, &mut deliveries).is_ok() {
            for delivery in deliveries.iter().filter(|delivery| delivery.control) {
                for target in each_target(delivery.to) {
                    self.router.lost(delivery.domain, target);
                }
            }
        }
        let detail = "No destination could take the oldest waiting message.";
        self.shared.report(Reason::QueueFull, 1, self.peer, detail);
    }

    /// Routes waiting messages as long as a destination can take them.
    pub fn release(&mut self) {
        if self.backlog.is_empty() || self.is_settling() {
            return;
        }
        let shared = Rc::clone(&self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let scratch = &mut *scratch;
        while let Some(mut message) = self.backlog.pop() {
            let outlook = self.outlook(Instant::now());
            match self.router.route(&mut message, &outlook, &mut scratch.deliveries) {
                Ok(()) => {}
                Err(Refusal::NoDestination) => {
                    self.backlog.put_back(message);
                    break;
                }
                Err(Refusal::Drop(reason)) => {
                    self.refuse(reason);
                }
            }
            self.shared.stats.waiting.subtract(1);
            let (range, mut pending) = (0..message.len(), Vec::new());
            for delivery in scratch.deliveries.drain(..) {
                self.plan(delivery, &range, &mut pending);
            }
            self.dispatch(&message.freeze(), pending.into_iter());
            self.flush(&mut scratch.sender, 0);
        }
        if self.ended && self.backlog.is_empty() {
            // Outlets that waited for the backlog may be finished now.
            self.outlets.iter().for_each(|outlet| outlet.wake.notify_one());
        }
    }

    // ---- connections ----

    /// The outlet of this id, whether configured still or leaving.
    pub fn outlet(&mut self, id: OutletId) -> Option<&mut Outlet> {
        self.outlets.iter_mut().chain(&mut self.leaving).find(|outlet| outlet.id == id)
    }

    /// A transport session has begun. What a collector needs to decode the waiting messages goes
    /// ahead of them.
    pub fn connected(&mut self, id: OutletId, link: Link, datagram_limit: usize) {
        let place = self.outlets.iter().position(|outlet| outlet.id == id);
        let (receiver, peer) = (self.shared.receiver.borrow().id, self.peer);
        let Some(outlet) = self.outlet(id) else { return };
        let first = std::mem::replace(&mut outlet.fresh, false);
        outlet.datagram_limit = datagram_limit;
        outlet.broken = None;
        outlet.progress = Instant::now();
        let is_udp = matches!(link, Link::Udp(_));
        outlet.set_link(link);
        if let Some(left_out) = outlet.stats().log_up.pass() {
            info!(%receiver, destination = %outlet.destination, exporter = %peer, left_out, "destination is up");
        }
        if let Some(target) = place {
            if is_udp {
                self.router.set_limit(target, datagram_limit);
            }
            if !first && let Some(outlet) = self.outlets.get_mut(target) {
                outlet.queue_mut().resume(&mut self.router, target);
            }
        }
        self.flush_one(id);
        self.release();
    }

    /// The transport session is over, or could not be made.
    pub fn disconnected(&mut self, id: OutletId, error: &str) {
        let (receiver, peer) = (self.shared.receiver.borrow().id, self.peer);
        let Some(outlet) = self.outlet(id) else { return };
        outlet.set_link(Link::Down);
        outlet.queue_mut().restart();
        outlet.stats().set_last_error(error.to_owned());
        if let Some(left_out) = outlet.stats().log_down.pass() {
            warn!(
                %receiver, destination = %outlet.destination, exporter = %peer, left_out,
                waiting = outlet.queue().messages(),
                "destination is down, it is tried again: {error}"
            );
        }
        self.release();
        self.space.notify_one();
    }

    /// Sends what waits for one destination.
    pub fn flush_one(&mut self, id: OutletId) {
        let shared = Rc::clone(&self.shared);
        if let Some(outlet) = self.outlet(id) {
            outlet.flush(&mut shared.scratch.borrow_mut().sender);
        }
        self.release();
        self.space.notify_one();
    }

    /// Whether the outlet has nothing left to do.
    pub fn is_finished(&mut self, id: OutletId) -> bool {
        let leaving = self.leaving.iter().any(|outlet| outlet.id == id);
        let waiting = !leaving && !self.backlog.is_empty();
        let Some(outlet) = self.outlet(id) else { return true };
        let Some(deadline) = outlet.closing else { return false };
        (outlet.queue().is_empty() && !waiting) || Instant::now() >= deadline
    }

    /// Takes the outlet away; with the last one the ended session is gone.
    pub fn remove(&mut self, id: OutletId) {
        self.leaving.retain(|outlet| outlet.id != id);
        if !self.ended {
            return;
        }
        // Only then: in a living session the places of the outlets are the router's targets.
        if let Some(outlet) = self.outlets.iter_mut().find(|outlet| outlet.id == id) {
            outlet.set_link(Link::Ended);
            self.finished += 1;
        }
        if self.finished >= self.outlets.len() && self.leaving.is_empty() {
            self.shared.leave(self.number);
        }
    }

    // ---- end ----

    /// Messages that have not been sent.
    pub fn waiting(&self) -> u64 {
        let outlets = self.outlets.iter().chain(&self.leaving);
        let backlog = u64::try_from(self.backlog.len()).unwrap_or(u64::MAX);
        outlets.map(|outlet| outlet.queue().messages()).sum::<u64>() + backlog
    }

    /// The exporter is gone: what waits is sent, then the connections end.
    pub fn end(&mut self, how: &str) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.shared.log_session(self.peer, how);
        self.close_outlets();
        if self.outlets.is_empty() && self.leaving.is_empty() {
            self.shared.leave(self.number);
        }
    }

    fn close_outlets(&mut self) {
        let deadline = Instant::now() + LINGER;
        for outlet in &mut self.outlets {
            outlet.closing = Some(deadline);
            outlet.wake.notify_one();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let waiting = u64::try_from(self.backlog.len()).unwrap_or(u64::MAX);
        self.shared.stats.waiting.subtract(waiting);
        self.shared.stats.drops.add(Reason::Undelivered, waiting);
    }
}

impl Pending {
    /// Takes a message into this run, if it follows it in the buffer and goes the same way.
    fn extend(&mut self, to: Targets, range: &Range<usize>) -> bool {
        let follows = match &mut self.content {
            Content::Buffer(run) if !self.control && self.to == to && run.end == range.start => {
                run.end = range.end;
                true
            }
            _ => false,
        };
        self.messages += u32::from(follows);
        follows
    }
}

fn shape(receiver: &Receiver) -> Shape {
    Shape {
        mode: receiver.mode,
        input: receiver.protocol,
        output: output_protocol(receiver),
        destinations: receiver.destinations.len(),
        template_seconds: receiver.template_seconds,
        template_messages: receiver.template_messages,
    }
}

fn output_protocol(receiver: &Receiver) -> Protocol {
    receiver.destinations.first().map_or(Protocol::Tcp, |destination| destination.protocol)
}

/// Runs of messages leave as one where nothing but bytes goes out: All, over TCP.
fn can_merge(receiver: &Receiver) -> bool {
    receiver.mode == Mode::All
        && receiver.protocol == Protocol::Tcp
        && output_protocol(receiver) == Protocol::Tcp
}
