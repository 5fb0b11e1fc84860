//! Spools at the handler: what their thread says, and those whose sessions have ended.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, time::Duration};

use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot},
    time::{Instant, sleep},
};

use super::{relay::Relay, shared::Shared, thread::DRAIN_POLL};
use crate::{
    config::Receiver,
    spool::{Label, Reply, Spooler},
};

/// Spools of ended sessions that are sent to one destination at a time.
const AT_A_TIME: usize = 4;
/// How long the disk may take for what is left to it at the end.
const LEAVE: Duration = Duration::from_secs(5);

/// Spools whose sessions have ended, oldest first, and those of them that are being sent.
#[derive(Default)]
pub struct Orphans {
    waiting: VecDeque<(u64, Label)>,
    sent: Vec<(u64, Label)>,
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
    shared.orphans.borrow_mut().sent.retain(|(sent, _)| *sent != spool);
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
    let Orphans { waiting, sent } = &mut *orphans;
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
