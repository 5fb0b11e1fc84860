//! One exporter session at work: its router, and the outlets that the router's deliveries go to.

mod failover;
mod flow;
mod intake;
mod links;
mod offload;
mod recording;
mod saving;
mod spooling;

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

pub use flow::Hold;
pub use intake::Pending;

use common::reason::Reason;
use tokio::{sync::Notify, time::Instant};

use super::{backlog::Backlog, connection, shared::Shared};
use crate::{
    config::{Destination, Mode, Protocol, Receiver},
    kernel,
    output::{Outlet, OutletId},
    record::SessionFile,
    session::{Router, Shape},
};

/// How long a new session waits for its first connections: in RoundRobin, so that a destination
/// whose handshake takes a moment longer is not passed over; on UDP outputs, because what has to be
/// split is known by the route's MTU.
const SETTLE: Duration = Duration::from_millis(100);
/// How long messages of an ended session wait for a destination that is away.
const LINGER: Duration = Duration::from_secs(60);
/// How long those of an earlier session do, which are on disk: thirty years.
const FOR_EVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// One exporter session at work.
pub struct Relay {
    /// Who exports.
    pub peer: SocketAddr,
    /// When its last message came.
    pub last_seen: Instant,
    /// Notified when a queue has shrunk.
    pub space: Rc<Notify>,
    /// Notified when the session is ended from this side, see [`Relay::dismiss`].
    pub dismissed: Rc<Notify>,
    shared: Rc<Shared>,
    number: usize,
    /// Our end of the session.
    local: SocketAddr,
    router: Router,
    /// Where it is recorded, if it is.
    file: Option<SessionFile>,
    outlets: Vec<Outlet>,
    /// Outlets that the configuration has no more: they send what they have.
    leaving: Vec<Outlet>,
    backlog: Backlog,
    /// When the connections of now were begun, all of them.
    opened: Instant,
    outlets_opened: u64,
    malformed_row: u32,
    mode: Mode,
    settles: bool,
    holding: bool,
    /// Whether consecutive messages can stand in one queue entry.
    runs: bool,
    ended: bool,
    /// What the receiver counts for the session's templates, options and observation domains.
    state_bytes: usize,
    /// RoundRobin: domains of which messages wait to be handed on until the exporter's next message.
    unsettled: Vec<u32>,
    /// Outlets of the ended session that have finished.
    finished: usize,
    /// How long it lasts after its end, if what waits can't be sent.
    linger: Duration,
    /// The spool that it was made to send.
    orphan: Option<u64>,
    /// Whether the next daemon gets what waits for a turn.
    inherited: bool,
    /// The session's place in the kernel path.
    kernel: Option<kernel::Session>,
    /// Whether its numbers have to be known by the next daemon ...
    numbered: bool,
    /// ... and whether the journal is to be told of them.
    noted: bool,
    /// Whether the journal has the waiting messages.
    saves_backlog: bool,
}

impl Relay {
    /// Opens a session with its connections to every destination.
    pub fn open(shared: &Rc<Shared>, peer: SocketAddr) -> Rc<RefCell<Relay>> {
        let router = Router::new(shape(&shared.receiver()), shared.next_session());
        shared.log_session(peer, "began");
        Relay::begin(shared, peer, router, &[])
    }

    /// Opens a session with a router of its own; `sources` are where UDP sockets to the destinations
    /// are to be bound.
    fn begin(
        shared: &Rc<Shared>,
        peer: SocketAddr,
        router: Router,
        sources: &[Option<SocketAddr>],
    ) -> Rc<RefCell<Relay>> {
        let receiver = shared.receiver();
        let relay = Relay::create(shared, peer, router);
        relay.borrow_mut().follow_recorder();
        for (place, destination) in receiver.outputs().iter().enumerate() {
            let mut outlet = relay.borrow_mut().new_outlet(destination);
            outlet.source = sources.get(place).copied().flatten();
            Relay::start(&relay, outlet);
        }
        if relay.borrow().settles {
            tokio::task::spawn_local(Relay::settle(Rc::clone(&relay)));
        }
        relay
    }

    /// A session without connections.
    fn create(shared: &Rc<Shared>, peer: SocketAddr, router: Router) -> Rc<RefCell<Relay>> {
        let receiver = shared.receiver();
        let now = Instant::now();
        let relay = Rc::new(RefCell::new(Relay {
            peer,
            last_seen: now,
            space: Rc::default(),
            dismissed: Rc::default(),
            shared: Rc::clone(shared),
            number: shared.next_session(),
            local: SocketAddr::new(
                receiver.bind.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                receiver.port,
            ),
            file: None,
            router,
            outlets: Vec::new(),
            leaving: Vec::new(),
            backlog: Backlog::new(shared.backlog_bytes()),
            state_bytes: 0,
            opened: now,
            outlets_opened: 0,
            malformed_row: 0,
            mode: receiver.mode,
            settles: must_settle(&receiver),
            holding: false,
            runs: can_merge(&receiver),
            ended: false,
            unsettled: Vec::new(),
            finished: 0,
            linger: LINGER,
            orphan: None,
            inherited: false,
            kernel: None,
            numbered: saving::is_numbered(&receiver),
            noted: false,
            saves_backlog: false,
        }));
        shared.enter(&relay);
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
        this.own();
        let mode_changed = this.mode != receiver.mode;
        let mut old: Vec<Option<Outlet>> = this.outlets.drain(..).map(Some).collect();
        let mut kept = Vec::new();
        let mut new = Vec::new();
        for destination in receiver.outputs() {
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
        let all_new = kept.iter().all(Option::is_none);
        let shape = shape(receiver);
        if shape.file().is_some() {
            kept.push(this.router.shape().file());
        }
        this.router.reconfigure(shape, &kept);
        this.follow_recorder();
        (this.mode, this.runs) = (receiver.mode, can_merge(receiver));
        this.settles = must_settle(receiver);
        this.numbered = saving::is_numbered(receiver);
        if all_new {
            this.opened = Instant::now();
        }
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
        if all_new {
            tokio::task::spawn_local(Relay::settle(Rc::clone(relay)));
        }
        relay.borrow_mut().release();
    }

    /// Messages that have not been sent.
    pub fn waiting(&self) -> u64 {
        let outlets = self.outlets.iter().chain(&self.leaving);
        let backlog = u64::try_from(self.backlog.len()).unwrap_or(u64::MAX);
        outlets.map(|outlet| outlet.queue().messages()).sum::<u64>() + backlog
    }

    /// The exporter is gone: what waits is sent, then the connections end.
    pub fn end(&mut self, how: &str) {
        if !self.ended {
            self.shared.journal.borrow_mut().ended(self.journal_number());
        }
        self.wind_up(how);
    }

    /// The handler ends: what waits is sent, then the connections end. The next daemon may go on with
    /// the session.
    pub fn wind_up(&mut self, how: &str) {
        if self.ended {
            return;
        }
        self.ended = true;
        // Afterwards nobody may be left to take it.
        self.move_turns();
        // What the kernel path has of the session it keeps: it goes on until the next daemon comes.
        self.kernel = None;
        self.shared.log_session(self.peer, how);
        self.end_file();
        self.close_outlets();
        if self.outlets.is_empty() && self.leaving.is_empty() {
            self.shared.leave(self.number);
        }
    }

    /// The exporter is not accepted any more (`ALLOW_FROM`): nothing it sends is passed on, neither
    /// here nor in the kernel path.
    pub fn dismiss(&mut self) {
        if self.ended {
            return;
        }
        self.leave_kernel_path();
        self.shared.report(Reason::NotAllowed, 1, self.peer, "Its session was ended.");
        self.end("is not allowed any more");
        self.dismissed.notify_one();
    }

    /// Whether nothing is taken from the exporter any more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn close_outlets(&mut self) {
        let deadline = Instant::now() + self.linger;
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
        self.shared.resize_state(self.state_bytes, 0);
    }
}

fn shape(receiver: &Receiver) -> Shape {
    Shape {
        mode: receiver.mode,
        input: receiver.protocol,
        outputs: receiver.outputs().iter().map(|output| output.protocol).collect(),
        counts: receiver.mode == Mode::Disabled && receiver.record.max_records > 0,
        template_seconds: receiver.template_seconds,
        template_messages: receiver.template_messages,
    }
}

fn must_settle(receiver: &Receiver) -> bool {
    receiver.mode == Mode::RoundRobin || sends_over(receiver, Protocol::Udp)
}

/// Runs of messages leave as one where nothing but bytes goes out, over TCP.
fn can_merge(receiver: &Receiver) -> bool {
    receiver.mode != Mode::RoundRobin
        && receiver.protocol == Protocol::Tcp
        && !sends_over(receiver, Protocol::Udp)
}

fn sends_over(receiver: &Receiver, protocol: Protocol) -> bool {
    receiver.outputs().iter().any(|output| output.protocol == protocol)
}
