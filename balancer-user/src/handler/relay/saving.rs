//! What is left of the session to the next daemon, and a session that was left by the one before.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{Relay, shape};
use crate::{
    config::{Mode, Protocol, Receiver},
    handler::Shared,
    output::Outlet,
    succession::{Heir, Progress, SavedSession},
};

impl Relay {
    /// Goes on with a session of the daemon before this one.
    pub fn restore(shared: &Rc<Shared>, heir: Heir) -> Rc<RefCell<Relay>> {
        let last_seen = Instant::now().checked_sub(heir.idle());
        let Heir { session, mut router } = heir;
        let receiver = shared.receiver();
        let kept = places(&session, &receiver, router.shape().mode);
        let mut targets = kept.clone();
        let shape = shape(&receiver);
        if shape.file().is_some() {
            targets.push(router.shape().file());
        }
        router.reconfigure(shape, &targets);
        let source = |old: &Option<usize>| *session.progress.sources.get((*old)?)?;
        let sources: Vec<_> = kept.iter().map(source).collect();
        for (target, (destination, source)) in receiver.outputs().iter().zip(&sources).enumerate() {
            // Connections are new, and so are their transport sessions. A UDP socket at the same port
            // goes on with the old one, where that port was noted before the end.
            if destination.protocol == Protocol::Tcp || source.is_none() {
                router.reconnected(target, &[]);
            }
        }
        shared.log_session(session.peer, "goes on");
        let relay = Relay::begin(shared, session.peer, router, &sources);
        let mut this = relay.borrow_mut();
        this.local = session.local;
        this.last_seen = last_seen.unwrap_or(this.last_seen);
        for message in &session.waiting {
            this.wait(message);
        }
        this.saves_backlog = !session.waiting.is_empty();
        drop(this);
        relay
    }

    /// All that is known of the session.
    pub fn save(&self) -> SavedSession {
        SavedSession {
            peer: self.peer,
            local: self.local,
            destinations: self.outlets.iter().map(|outlet| outlet.destination.clone()).collect(),
            progress: self.progress(),
            router: self.router.save(),
            waiting: match self.saves_backlog {
                true => self.backlog.iter().cloned().collect(),
                false => Vec::new(),
            },
        }
    }

    /// All that is known of the session, with the messages that wait: this daemon won't send them any
    /// more.
    pub fn save_all(&mut self) -> SavedSession {
        self.saves_backlog = true;
        self.save()
    }

    /// Notes in the journal that what had waited under the daemon before is on its way.
    pub(super) fn note_release(&mut self) {
        if std::mem::take(&mut self.saves_backlog) {
            self.shared.journal.borrow_mut().released(self.journal_number());
        }
    }

    /// What changes with nearly every message.
    pub fn progress(&self) -> Progress {
        let last_seen = SystemTime::now().checked_sub(self.last_seen.elapsed());
        let last_seen = last_seen.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Progress {
            numbers: self.router.numbers(),
            sources: self.outlets.iter().map(Outlet::local).collect(),
            last_seen: last_seen.unwrap_or_default().as_secs(),
        }
    }

    /// Notes in the journal that the session has begun.
    pub fn note_begin(&self) {
        self.shared.journal.borrow_mut().began(self.journal_number(), self.save());
    }

    /// Notes in the journal what a message has changed that has just been routed.
    pub(super) fn note(&mut self, message: &[u8]) {
        if self.router.take_changed()
            && let Some(lesson) = self.router.lesson(message)
        {
            let (number, progress) = (self.journal_number(), self.progress());
            let mut journal = self.shared.journal.borrow_mut();
            journal.learned(number, lesson);
            journal.progressed(number, progress);
        } else {
            self.note_numbers();
        }
    }

    /// Has the journal told of numbers that have changed.
    pub(super) fn note_numbers(&mut self) {
        if self.numbered && !self.noted {
            self.noted = true;
            self.shared.progressed(self.number);
        }
    }

    /// The session's progress, if it has made any since it was last asked for.
    pub fn take_progress(&mut self) -> Option<(u64, Progress)> {
        let noted = std::mem::take(&mut self.noted);
        noted.then(|| (self.journal_number(), self.progress()))
    }

    /// The session's name in the journal.
    pub fn journal_number(&self) -> u64 {
        u64::try_from(self.number).unwrap_or(u64::MAX)
    }
}

/// Whether the next daemon has to know more of a session than its templates: numbers of the
/// balancer's own, or what a UDP destination lacks.
pub(super) fn is_numbered(receiver: &Receiver) -> bool {
    receiver.mode == Mode::RoundRobin
        || receiver.outputs().iter().any(|output| output.protocol == Protocol::Udp)
}

/// For each of the receiver's destinations its place in the saved session.
fn places(session: &SavedSession, receiver: &Receiver, mode: Mode) -> Vec<Option<usize>> {
    let place = |wanted| session.destinations.iter().position(|known| known == wanted);
    let outputs = receiver.outputs().iter();
    outputs.map(|wanted| place(wanted).filter(|_| mode == receiver.mode)).collect()
}
