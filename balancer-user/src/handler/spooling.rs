//! Spools at the handler: what their thread says, and those whose sessions have ended.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, time::Duration};

use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver, oneshot},
    time::{Instant, sleep},
};

use super::{relay::Relay, shared::Shared, thread::DRAIN_POLL};
use crate::{
    config::{Destination, Protocol, Receiver},
    spool::{Label, Reply, Spooler},
};

/// Spools of ended sessions that are sent to one destination at a time.
const AT_A_TIME: usize = 4;
/// How long the disk may take for what is left to it at the end.
const LEAVE: Duration = Duration::from_secs(5);

/// So many sessions may each have a file on disk for the little that waits: once a second the disk is
/// asked to have all of them.
pub const EARLY: usize = 64;
/// How long a disk may take to say what an earlier daemon has left, and to give the next messages of
/// it, before newer ones wait no longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Spools whose sessions have ended, oldest first, and those of them that are being sent.
pub struct Orphans {
    waiting: VecDeque<(u64, Label)>,
    sent: Vec<(u64, Label)>,
    /// Whether it is known what an earlier daemon has left; when it was asked for.
    known: bool,
    since: Instant,
    /// Notified when one has been sent.
    changed: Rc<Notify>,
}

impl Default for Orphans {
    fn default() -> Orphans {
        Orphans {
            waiting: VecDeque::new(),
            sent: Vec::new(),
            known: false,
            since: Instant::now(),
            changed: Rc::default(),
        }
    }
}

/// Starts the thread of a receiver that has destinations, or lets it know of a change.
pub fn follow(shared: &Rc<Shared>, receiver: &Receiver) -> io::Result<()> {
    let running = shared.spooler.borrow().clone();
    match running {
        Some(spooler) => spooler.reconfigure(receiver),
        None if receiver.outputs().is_empty() => return Ok(()),
        None => {
            let (spooler, replies) = Spooler::start(receiver, &shared.stats)?;
            *shared.spooler.borrow_mut() = Some(Rc::new(spooler));
            tokio::task::spawn_local(listen(Rc::clone(shared), replies));
        }
    }
    adopt(shared);
    Ok(())
}

/// Passes on what the thread says.
async fn listen(shared: Rc<Shared>, mut replies: UnboundedReceiver<Reply>) {
    while let Some(reply) = replies.recv().await {
        match reply {
            Reply::Read(spool, portion) => {
                if let Some(relay) = owner(&shared, spool) {
                    relay.borrow_mut().spool_read(spool, portion);
                }
            }
            Reply::Closed(spool) => {
                if let Some(relay) = owner(&shared, spool) {
                    relay.borrow_mut().spool_closed(spool);
                }
            }
            Reply::Found(spool, label) => {
                shared.orphans.borrow_mut().waiting.push_back((spool, label));
                adopt(&shared);
            }
            Reply::Looked => {
                let mut orphans = shared.orphans.borrow_mut();
                orphans.known = true;
                orphans.changed.notify_waiters();
            }
            Reply::Space => {
                for relay in shared.relays() {
                    relay.borrow().space.notify_one();
                }
            }
        }
    }
}

fn owner(shared: &Shared, spool: u64) -> Option<Rc<RefCell<Relay>>> {
    shared.relays().into_iter().find(|relay| relay.borrow().has_spool(spool))
}

/// Takes note of a spool whose session has ended.
pub fn leave(shared: &Rc<Shared>, spool: u64, label: Label) {
    let mut orphans = shared.orphans.borrow_mut();
    orphans.sent.retain(|(sent, _)| *sent != spool);
    orphans.waiting.push_back((spool, label));
}

/// A spool has been sent to its end.
pub fn sent(shared: &Rc<Shared>, spool: u64) {
    let mut orphans = shared.orphans.borrow_mut();
    orphans.sent.retain(|(sent, _)| *sent != spool);
    orphans.changed.notify_waiters();
}

/// Lets those who wait look again whether it is their turn.
pub fn remind(shared: &Shared) {
    shared.orphans.borrow().changed.notify_waiters();
}

/// Notified when what is spooled may have left.
pub fn changed(shared: &Shared) -> Rc<Notify> {
    Rc::clone(&shared.orphans.borrow().changed)
}

/// Whether nothing that is to leave for a destination before newer messages is on disk any more. Over
/// UDP, which does not keep an order, they need not wait.
pub fn is_clear(shared: &Shared, destination: &Destination) -> bool {
    if destination.protocol == Protocol::Udp || shared.spooler.borrow().is_none() {
        return true;
    }
    let orphans = shared.orphans.borrow();
    if !orphans.known {
        return orphans.since.elapsed() >= PATIENCE;
    }
    let name = destination.to_string();
    let precedes = |(_, label): &&(u64, Label)| {
        label.destination.as_ref().is_none_or(|destination| *destination == name)
    };
    let mut sent = orphans.sent.iter().filter(precedes).peekable();
    match sent.peek() {
        // A disk that gives nothing holds up nothing.
        Some(_) => sent.all(|(spool, _)| {
            owner(shared, *spool).is_none_or(|relay| relay.borrow().waits_for_disk(PATIENCE))
        }),
        None => !orphans.waiting.iter().any(|orphan| precedes(&orphan)),
    }
}

/// Has the oldest spools of ended sessions sent, a few for each destination.
pub fn adopt(shared: &Rc<Shared>) {
    if *shared.stopping.borrow() {
        return;
    }
    while let Some((spool, label)) = next(shared) {
        Relay::revive(shared, spool, label);
    }
}

/// Drops what is spooled for a destination, or for all; `done` hears how many messages that was.
pub fn purge(shared: &Shared, destination: Option<String>, done: oneshot::Sender<u64>) {
    match &*shared.spooler.borrow() {
        Some(spooler) => spooler.purge(destination, done),
        None => drop(done.send(0)),
    }
}

/// Leaves to the disk what the sessions have not sent, for the next start; whether it has taken it.
pub async fn leave_all(shared: &Shared) -> bool {
    for relay in shared.relays() {
        relay.borrow_mut().leave();
    }
    let Some(spooler) = shared.spooler.borrow().clone() else { return true };
    spooler.end();
    let deadline = Instant::now() + LEAVE;
    while !spooler.has_ended() && Instant::now() < deadline {
        sleep(DRAIN_POLL).await;
    }
    spooler.has_ended()
}

fn next(shared: &Shared) -> Option<(u64, Label)> {
    let receiver = shared.receiver();
    let mut orphans = shared.orphans.borrow_mut();
    let Orphans { waiting, sent, .. } = &mut *orphans;
    let place = waiting.iter().position(|(_, label)| {
        let under_way = sent.iter().filter(|(_, other)| other.destination == label.destination);
        let is_wanted = match &label.destination {
            Some(name) => receiver.outputs().iter().any(|output| output.to_string() == *name),
            None => !receiver.outputs().is_empty(),
        };
        is_wanted && under_way.count() < AT_A_TIME
    })?;
    let next = waiting.remove(place)?;
    sent.push(next.clone());
    Some(next)
}
