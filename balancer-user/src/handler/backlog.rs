//! Messages of a RoundRobin session that no destination can take at present, as they came: in
//! memory, and behind that in a spool.

use std::{cell::Cell, collections::VecDeque, net::SocketAddr, rc::Rc};

use bytes::{Bytes, BytesMut};
use common::message::Sets;

use crate::{
    config::{Mode, Protocol},
    output::{Outlet, OutletId},
    session::{Router, Shape},
    spool::{Handle, Label, Portion, Spooler, messages},
};

/// Bytes that are kept in memory of what is on disk; at half of it more is read.
const KEEP: usize = 2 << 20;

/// Memory that a waiting message takes beside its own bytes.
const OVERHEAD: usize = 64;

/// Unrouted messages, oldest first.
#[derive(Debug)]
pub struct Backlog {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Memory of all backlogs of the receiver.
    of_all: Rc<Cell<usize>>,
    spooling: Option<Spooling>,
}

/// What does not fit into memory.
#[derive(Debug)]
struct Spooling {
    handle: Handle,
    /// Knows the templates at the end of the spool, which nobody has routed yet.
    end: Router,
    /// Number of the oldest message in memory.
    first: u64,
    /// Whether messages are in the spool that are not in memory. Newer ones go behind them.
    active: bool,
    /// The spool has let go of its messages before this number ...
    released: u64,
    /// ... and will do so of these next.
    taken: Option<Taken>,
}

impl Spooling {
    fn new(handle: Handle) -> Spooling {
        let end = end_router();
        Spooling { handle, end, first: 0, active: true, released: 0, taken: None }
    }
}

/// What was taken out of the backlog at some time, and with it the marks of the queues that it had
/// gone to.
#[derive(Debug)]
struct Taken {
    /// Number of the oldest message in memory at that time.
    upto: u64,
    marks: Vec<(OutletId, u64)>,
}

impl Taken {
    fn now(upto: u64, outlets: &[Outlet]) -> Taken {
        let marks = outlets.iter().map(|outlet| (outlet.id, outlet.queue().pushed())).collect();
        Taken { upto, marks }
    }

    /// Whether all of it has arrived. A queue that is no more has left it to a spool of its own.
    fn has_arrived(&self, outlets: &[Outlet]) -> bool {
        self.marks.iter().all(|(id, mark)| {
            let outlet = outlets.iter().find(|outlet| outlet.id == *id);
            outlet.is_none_or(|outlet| outlet.queue().has_arrived(*mark))
        })
    }
}

impl Backlog {
    /// An empty one, which adds to what the receiver's take `of_all`.
    pub fn new(of_all: Rc<Cell<usize>>) -> Backlog {
        Backlog { messages: VecDeque::new(), bytes: 0, of_all, spooling: None }
    }

    /// Appends a copy of `message`.
    pub fn push(&mut self, message: &[u8]) {
        self.grow(message.len());
        self.messages.push_back(Bytes::copy_from_slice(message));
    }

    /// Takes the oldest, as far as it is in memory.
    pub fn pop(&mut self) -> Option<BytesMut> {
        let message = self.messages.pop_front()?;
        self.shrink(cost(message.len()));
        if let Some(spooling) = &mut self.spooling {
            spooling.first += 1;
        }
        Some(BytesMut::from(message))
    }

    /// Puts back what [`Backlog::pop`] took.
    pub fn put_back(&mut self, message: BytesMut) {
        self.grow(message.len());
        self.messages.push_front(message.freeze());
        if let Some(spooling) = &mut self.spooling {
            spooling.first -= 1;
        }
    }

    /// The messages that wait.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.messages.iter()
    }

    /// Memory that the waiting messages take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that all backlogs of the receiver take, about.
    pub fn bytes_of_all(&self) -> usize {
        self.of_all.get()
    }

    /// Messages that wait in memory.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether one of those that wait can be had without the disk.
    pub fn has_in_memory(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.is_spooling()
    }

    /// Whether no more should go into its spool; `None` where nothing does.
    pub fn is_spool_full(&self) -> Option<bool> {
        let active = self.spooling.as_ref().filter(|spooling| spooling.active);
        active.map(|spooling| spooling.handle.is_full())
    }

    /// Whether newer messages go through a spool.
    pub fn is_spooling(&self) -> bool {
        self.spooling.as_ref().is_some_and(|spooling| spooling.active)
    }

    /// The number of its spool.
    pub fn spool(&self) -> Option<u64> {
        self.spooling.as_ref().map(|spooling| spooling.handle.id())
    }

    /// Goes on with the spool of an earlier session.
    pub fn adopt(&mut self, mut handle: Handle) {
        handle.ask();
        self.spooling = Some(Spooling::new(handle));
    }

    /// Puts everything into a spool, which newer messages go to as well: how many messages are not in
    /// memory any more. `router` knows all templates of the messages before.
    pub fn begin_spooling(
        &mut self,
        router: &Router,
        spooler: &Rc<Spooler>,
        exporter: SocketAddr,
    ) -> u64 {
        let spooling = self.spooling.take();
        let mut spooling = spooling.unwrap_or_else(|| Spooling::new(spooler.open(None, exporter)));
        let Spooling { handle, first, .. } = &mut spooling;
        let preamble = router.live(None, &[], 0);
        let mut end = end_router();
        messages(&preamble).for_each(|message| end.relearn(message));
        handle.begin(preamble);
        *first = (*first).min(handle.appended());
        let spooled = usize::try_from(handle.appended() - *first).unwrap_or(usize::MAX);
        let kept = self.fitting();
        handle.read_from(*first + u64::try_from(kept).unwrap_or(0));
        for (place, message) in self.messages.iter().enumerate() {
            if handle.wants_segment() {
                handle.begin(end.live(None, &[], 0));
            }
            end.relearn(message);
            if place >= spooled {
                handle.push(message, 1);
            }
        }
        handle.flush();
        let mut trimmed = 0;
        while self.messages.len() > kept
            && let Some(last) = self.messages.pop_back()
        {
            self.shrink(cost(last.len()));
            trimmed += 1;
        }
        (spooling.end, spooling.active) = (end, true);
        self.spooling = Some(spooling);
        trimmed
    }

    /// How many of the oldest messages stay in memory when all are on disk.
    fn fitting(&self) -> usize {
        let ends = self.messages.iter().scan(0, |bytes, message| {
            *bytes += cost(message.len());
            Some(*bytes)
        });
        ends.take_while(|bytes| *bytes <= KEEP).count()
    }

    /// Appends a message to the spool. False when that can't be, which templates, small as they are,
    /// hardly meet with: without them all that follows would be lost.
    pub fn push_spooled(&mut self, message: &[u8]) -> bool {
        let Some(Spooling { handle, end, .. }) = &mut self.spooling else { return false };
        let templates = || Sets::of(message).any(|set| set.is_ok_and(|set| set.is_template()));
        if handle.is_behind() && (handle.is_far_behind() || !templates()) {
            return false;
        }
        if handle.wants_segment() {
            handle.begin(end.live(None, &[], 0));
        }
        end.relearn(message);
        handle.push(message, 1);
        true
    }

    /// Hands over what has gathered, reads on when little is left in memory, and lets go of what has
    /// arrived at the outlets that it was given to.
    pub fn tend(&mut self, outlets: &[Outlet]) {
        let Some(spooling) = &mut self.spooling else { return };
        spooling.handle.flush();
        if spooling.active && self.bytes < KEEP / 2 {
            spooling.handle.ask();
        }
        if let Some(taken) = spooling.taken.take_if(|taken| taken.has_arrived(outlets)) {
            spooling.handle.release(taken.upto);
            spooling.released = taken.upto;
        }
        if !spooling.active && spooling.released >= spooling.handle.appended() {
            self.spooling = None;
        } else if spooling.taken.is_none() && spooling.first > spooling.released {
            spooling.taken = Some(Taken::now(spooling.first, outlets));
        }
    }

    /// Messages have gone from one outlet's queue to others'.
    pub fn handed_on(&mut self, outlets: &[Outlet]) {
        if let Some(taken) = self.spooling.as_mut().and_then(|spooling| spooling.taken.as_mut()) {
            *taken = Taken::now(taken.upto, outlets);
        }
    }

    /// Messages have been read. Those whose templates and options have been missed come back.
    pub fn read(&mut self, portion: Portion) -> Vec<u8> {
        let Some(spooling) = &mut self.spooling else { return Vec::new() };
        let gap = spooling.handle.came(&portion);
        // What was dropped in between counts as gone.
        let in_memory = u64::try_from(self.messages.len()).unwrap_or(0);
        spooling.first = portion.first.saturating_sub(in_memory);
        for message in messages(&portion.messages) {
            self.push(message);
        }
        let complete = |spooling: &&mut Spooling| spooling.handle.is_read();
        if let Some(spooling) = self.spooling.as_mut().filter(complete) {
            spooling.handle.seal();
            spooling.active = false;
        }
        if gap { portion.learn } else { Vec::new() }
    }

    /// The segment that messages are appended to was dropped.
    pub fn closed(&mut self) {
        if let Some(Spooling { handle, end, active, .. }) = &mut self.spooling {
            handle.closed();
            if *active {
                handle.begin(end.live(None, &[], 0));
            }
        }
    }

    /// Somebody else goes on with what is in memory: the spool need not keep it.
    pub fn hand_on(&mut self) {
        if let Some(Spooling { mut handle, .. }) = self.spooling.take() {
            handle.release(handle.appended());
            handle.seal();
        }
    }

    /// Leaves everything to the spool; its number, if there is anything.
    pub fn leave(
        &mut self,
        router: &Router,
        spooler: &Rc<Spooler>,
        exporter: SocketAddr,
    ) -> Option<(u64, Label)> {
        if !self.is_spooling() && !self.messages.is_empty() {
            self.begin_spooling(router, spooler, exporter);
        }
        let mut spooling = self.spooling.take()?;
        spooling.handle.flush();
        spooling.handle.release(spooling.first);
        spooling.handle.seal();
        self.messages.clear();
        self.shrink(self.bytes);
        if !spooling.active {
            return None;
        }
        Some((spooling.handle.id(), spooling.handle.label().clone()))
    }

    fn grow(&mut self, length: usize) {
        self.bytes += cost(length);
        self.of_all.set(self.of_all.get() + cost(length));
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.of_all.set(self.of_all.get() - bytes);
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

fn cost(length: usize) -> usize {
    length + OVERHEAD
}

/// A router that nothing is sent by.
fn end_router() -> Router {
    let shape = Shape {
        mode: Mode::All,
        input: Protocol::Tcp,
        outputs: Vec::new(),
        counts: false,
        template_seconds: 0,
        template_messages: 0,
    };
    Router::new(shape, 0)
}
