//! Exporters over UDP.

use std::{
    cell::RefCell, collections::HashMap, io, net::SocketAddr, ops::Range, os::fd::AsFd, rc::Rc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use common::{message::Malformed, reason::Reason};
use tokio::{
    io::Interest,
    net::UdpSocket,
    time::{Instant, MissedTickBehavior, interval},
};

use super::frame::{check_datagram, next_in_datagram};
use crate::{
    advice::advice,
    handler::{Relay, Scratch, Shared},
    kernel::Orphan,
    net::{
        barrier::wait_for_packets_in_hand,
        mmsg::{self, RECEIVE_SLOTS, SLOT_LEN, Train},
    },
    session::Outlook,
    succession::{Heir, Leaving},
};

/// A session that has been idle for so long may be given up for a new one when there is no room.
const REUSABLE: Duration = Duration::from_secs(10);
/// How often idle sessions are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// How often hand-overs to the kernel path are looked after.
const LOOK: Duration = Duration::from_millis(50);
/// Batches received before other tasks of the handler get their turn.
const BATCHES_A_TURN: usize = 8;
/// Batches received when the handler ends: more than the socket's buffer holds, and yet an end.
const BATCHES_AT_THE_END: usize = 1024;

/// Receives datagrams until the handler ends.
pub async fn serve(shared: Rc<Shared>, socket: UdpSocket, heirs: Vec<Heir>) {
    let mut stopping = shared.stopping.clone();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut input = Input::new(shared, socket);
    input.resume(heirs);
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            _ = sweep.tick() => input.sweep(),
            _ = look.tick() => input.look_after(),
            ready = input.socket.readable() => if ready.is_ok() { input.receive(BATCHES_A_TURN) },
        }
        tokio::task::yield_now().await;
    }
    // What the kernel has received will not come again.
    input.receive(BATCHES_AT_THE_END);
    for relay in input.sessions.values() {
        if input.shared.leaving.get() == Leaving::Nothing {
            relay.borrow_mut().end("ends with its receiver");
        } else {
            relay.borrow_mut().wind_up("ends with the balancer");
            input.shared.leave_behind(relay, None);
        }
    }
}

struct Input {
    shared: Rc<Shared>,
    socket: UdpSocket,
    receiver: mmsg::Receiver,
    trains: Vec<Train>,
    slab: BytesMut,
    sessions: HashMap<SocketAddr, Rc<RefCell<Relay>>>,
    /// Sessions that the batch has messages of, each with the end of its part of the plan.
    touched: Vec<(Rc<RefCell<Relay>>, usize)>,
    kernel_drops: u32,
    /// `kernel_drops` when the hand-overs were last looked after.
    drops_seen: u32,
    last_reuse: Instant,
}

impl Input {
    fn new(shared: Rc<Shared>, socket: UdpSocket) -> Input {
        Input {
            shared,
            socket,
            receiver: mmsg::Receiver::default(),
            trains: Vec::with_capacity(RECEIVE_SLOTS),
            slab: BytesMut::zeroed(RECEIVE_SLOTS * SLOT_LEN),
            sessions: HashMap::new(),
            touched: Vec::new(),
            kernel_drops: 0,
            drops_seen: 0,
            last_reuse: Instant::now(),
        }
    }

    /// Goes on with the sessions of a daemon before this one: with those of which it has left what it
    /// knew, and with those that it has left to the kernel path.
    fn resume(&mut self, heirs: Vec<Heir>) {
        let orphans = self.orphans();
        let longest = Duration::from_secs(self.shared.limits().idle_seconds.into());
        for heir in heirs {
            let peer = heir.session.peer;
            let idle = heir.idle() >= longest && !orphans.contains_key(&peer);
            if !idle && self.shared.allows(peer) && !self.shared.is_crowded() {
                self.sessions.insert(peer, Relay::restore(&self.shared, heir));
            }
        }
        if let Some(offload) = self.shared.offload.borrow().clone() {
            for (peer, orphan) in orphans {
                let open = || Relay::open(&self.shared, peer);
                let relay = self.sessions.entry(peer).or_insert_with(open);
                relay.borrow_mut().adopt(&offload, &orphan);
                // That daemon may have had another ALLOW_FROM.
                if !self.shared.allows(peer)
                    && let Some(relay) = self.sessions.remove(&peer)
                {
                    relay.borrow_mut().dismiss();
                }
            }
        }
        self.shared.begin_journal();
    }

    fn orphans(&self) -> HashMap<SocketAddr, Orphan> {
        let offload = self.shared.offload.borrow();
        let orphans = offload.iter().flat_map(|offload| offload.orphans());
        orphans.map(|orphan| (orphan.peer, orphan)).collect()
    }

    /// Receives and passes on up to `batches` batches, or until there is nothing more.
    fn receive(&mut self, batches: usize) {
        for _ in 0..batches {
            let received = self.socket.try_io(Interest::READABLE, || {
                self.receiver.receive(self.socket.as_fd(), &mut self.slab, &mut self.trains)
            });
            match received {
                Ok(received) => self.count_kernel_drops(received.kernel_drops),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    let receiver = self.shared.receiver().id;
                    tracing::error!(%receiver, "can't receive, it is tried again: {error}");
                    return;
                }
            }
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        let shared = Rc::clone(&self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let trains = std::mem::take(&mut self.trains);
        for train in &trains {
            self.take_train(train, &mut scratch);
        }
        self.trains = trains;
        let slab = std::mem::take(&mut self.slab).freeze();
        self.send(&slab, &mut scratch);
        // Nobody has kept a part of it: the queues have settled for copies.
        self.slab =
            slab.try_into_mut().unwrap_or_else(|_| BytesMut::zeroed(RECEIVE_SLOTS * SLOT_LEN));
    }

    /// Routes the datagrams of one train. A peer without a session gets one with its first good
    /// datagram.
    fn take_train(&mut self, train: &Train, scratch: &mut Scratch) {
        let mut session = self.known_session(train.peer);
        if session.is_none() && !self.shared.allows(train.peer) {
            return self.refuse(train);
        }
        let (now, mut outlook) = (Instant::now(), None);
        let (mut start, end) = (train.start, train.start + train.len);
        while start < end {
            let range = start..end.min(start + train.segment);
            start = range.end;
            if let Some(relay) = &session {
                let datagram = self.slab.get(range.clone()).unwrap_or_default();
                relay.borrow_mut().came_up(train.local, datagram);
            }
            if let Err(malformed) = self.check(range.clone()) {
                let (reason, detail) = classify(malformed);
                self.shared.stats.messages.add(1);
                self.shared.report(reason, 1, train.peer, detail);
                continue;
            }
            if session.is_none() {
                session = self.open_session(train.peer);
                if let Some(relay) = &session {
                    let datagram = self.slab.get(range.clone()).unwrap_or_default();
                    relay.borrow_mut().came_up(train.local, datagram);
                }
            }
            let Some(relay) = &session else {
                self.shared.stats.messages.add(1);
                continue;
            };
            let mut relay = relay.borrow_mut();
            let outlook = *outlook.get_or_insert_with(|| {
                relay.last_seen = now;
                relay.outlook(now)
            });
            self.take_datagram(range, &mut relay, &outlook, scratch);
        }
        if let Some(relay) = session {
            self.touched.push((relay, scratch.pending.len()));
        }
    }

    /// Drops the datagrams of an exporter that is not allowed, without a look into them.
    fn refuse(&self, train: &Train) {
        let datagrams = u64::try_from(train.len.div_ceil(train.segment.max(1))).unwrap_or(0);
        self.shared.stats.messages.add(datagrams);
        self.shared.stats.bytes.add(u64::try_from(train.len).unwrap_or(0));
        self.shared.report(Reason::NotAllowed, datagrams, train.peer, "It was dropped.");
    }

    /// Whether a datagram is made of whole messages. One that is a single message is looked into
    /// when it is routed.
    fn check(&self, datagram: Range<usize>) -> Result<(), Malformed> {
        let datagram = self.slab.get(datagram).unwrap_or_default();
        self.shared.stats.bytes.add(u64::try_from(datagram.len()).unwrap_or(0));
        match next_in_datagram(datagram)? {
            length if length == datagram.len() => Ok(()),
            _ => check_datagram(datagram),
        }
    }

    fn take_datagram(
        &mut self,
        datagram: Range<usize>,
        relay: &mut Relay,
        outlook: &Outlook,
        scratch: &mut Scratch,
    ) {
        let Range { mut start, end } = datagram;
        while start < end {
            let rest = self.slab.get_mut(start..end).unwrap_or_default();
            let Ok(length) = next_in_datagram(rest) else { return };
            let Some(message) = rest.get_mut(..length) else { return };
            self.shared.stats.messages.add(1);
            // Dropped messages have been counted and reported; the session goes on.
            let _ = relay.accept(message, start, outlook, scratch);
            start += length;
        }
    }

    fn send(&mut self, slab: &Bytes, scratch: &mut Scratch) {
        let redefined =
            |(relay, _): &(Rc<RefCell<Relay>>, usize)| relay.borrow_mut().must_let_pass();
        // All are asked: each answers once.
        if self.touched.iter().filter(|touched| redefined(touched)).count() > 0 {
            wait_for_packets_in_hand();
        }
        let mut planned = scratch.pending.drain(..);
        let mut taken = 0;
        for (relay, end) in &self.touched {
            let part = planned.by_ref().take(end - taken);
            relay.borrow_mut().dispatch(slab, part);
            taken = *end;
        }
        drop(planned);
        for (relay, _) in self.touched.drain(..) {
            let mut relay = relay.borrow_mut();
            relay.flush(&mut scratch.sender, None);
            relay.hand_over();
        }
    }

    fn known_session(&self, peer: SocketAddr) -> Option<Rc<RefCell<Relay>>> {
        match self.touched.last() {
            Some((relay, _)) if relay.borrow().peer == peer => Some(Rc::clone(relay)),
            _ => self.sessions.get(&peer).filter(|relay| !relay.borrow().has_ended()).cloned(),
        }
    }

    /// Opens the session of `peer`, if there is room.
    fn open_session(&mut self, peer: SocketAddr) -> Option<Rc<RefCell<Relay>>> {
        if self.shared.is_crowded() && !self.reuse_oldest() {
            self.shared.report(Reason::SessionLimit, 1, peer, "The datagram was dropped.");
            return None;
        }
        let relay = Relay::open(&self.shared, peer);
        relay.borrow().note_begin();
        self.sessions.insert(peer, Rc::clone(&relay));
        Some(relay)
    }

    /// Ends the session that has been idle for longest, to make room. Looking for it costs time,
    /// which nobody must be able to ask for with every datagram.
    fn reuse_oldest(&mut self) -> bool {
        if self.last_reuse.elapsed() < Duration::from_secs(1) {
            return false;
        }
        self.last_reuse = Instant::now();
        let oldest = self.sessions.values().min_by_key(|relay| relay.borrow().last_seen).cloned();
        let Some(relay) = oldest.filter(|relay| relay.borrow().last_seen.elapsed() >= REUSABLE)
        else {
            return false;
        };
        let peer = relay.borrow().peer;
        self.sessions.remove(&peer);
        relay.borrow_mut().leave_kernel_path();
        relay.borrow_mut().end("made room for another");
        true
    }

    /// Ends the sessions that have been idle for `IDLE_SECONDS`.
    fn sweep(&mut self) {
        let longest = Duration::from_secs(self.shared.limits().idle_seconds.into());
        self.sessions.retain(|_, relay| {
            let mut relay = relay.borrow_mut();
            if relay.has_ended() {
                return false;
            }
            if relay.is_forwarded() {
                relay.last_seen = Instant::now();
            }
            let idle = relay.last_seen.elapsed() >= longest;
            if idle {
                relay.leave_kernel_path();
                relay.end("was idle");
            }
            !idle
        });
    }

    fn look_after(&mut self) {
        let overloaded =
            std::mem::replace(&mut self.drops_seen, self.kernel_drops) != self.kernel_drops;
        // Without the kernel path there are no hand-overs, and many sessions to look at in vain.
        if self.shared.offload.borrow().is_none() {
            return;
        }
        for relay in self.sessions.values() {
            relay.borrow_mut().look_after(overloaded);
        }
    }

    fn count_kernel_drops(&mut self, total: Option<u32>) {
        let Some(total) = total else { return };
        let new = total.wrapping_sub(std::mem::replace(&mut self.kernel_drops, total));
        if new == 0 {
            return;
        }
        self.shared.stats.drops.add(Reason::ReceiveBuffer, new.into());
        if let Some(left_out) = self.shared.stats.log_kernel_drops.pass() {
            let receiver = self.shared.receiver().id;
            let reason = Reason::ReceiveBuffer;
            tracing::warn!(
                %receiver, reason = reason.as_str(), new, left_out,
                "{} {}", reason.meaning(), advice(reason)
            );
        }
    }
}

fn classify(malformed: Malformed) -> (Reason, &'static str) {
    match malformed {
        Malformed::Version(5) => (Reason::NetflowV5, ""),
        Malformed::Version(9) => (Reason::NetflowV9, ""),
        Malformed::Version(_) => (Reason::Version, ""),
        _ => (Reason::Malformed, "The datagram was dropped."),
    }
}
