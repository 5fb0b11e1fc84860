//! What the program and the daemon do, around the hand-over.

use common::handover::{Daemon, Entry};

use crate::{
    scenario::{Id, Interface, Kind},
    steps::Steps,
    world::{Place, Step, World, append},
};

/// The program, at work on a message. Beyond the hand-over it is `steer` of `balancer-ebpf`.
pub fn serve(steps: &Steps, id: Id) {
    let message = steps.scenario.messages[id];
    if message.interface == Interface::Other || steps.step(Step::Arrive(id)) == 0 {
        steps.step(Step::Put(id));
        return;
    }
    let words = steps.words();
    let fits = message.kind != Kind::Template;
    let entry = words.enter();
    let forwards = message.kind == Kind::Data && entry == Entry::Open;
    if forwards {
        let state = steps.step(Step::Open(Place::State));
        steps.step(Step::Close(Place::State, Some(append(state, id))));
    } else {
        words.pass(1, entry != Entry::Busy, || fits && note(steps, id));
    }
    if entry != Entry::Busy {
        words.leave();
    }
    // What becomes of the packet comes after the decision.
    steps.step(if forwards { Step::Forward(id) } else { Step::Put(id) });
}

fn note(steps: &Steps, id: Id) -> bool {
    steps.step(Step::Open(Place::Mark));
    steps.step(Step::Close(Place::Mark, Some(id as u64)));
    true
}

/// What the daemon may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Handles a datagram from its socket.
    Receive,
    /// Publishes what was handled.
    Give,
    /// Changes the configuration.
    Change,
    /// Looks after a session from which nothing comes.
    Repair,
}

/// The daemon between two tasks.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keeper {
    /// None: the session is not in the maps.
    pub daemon: Option<Daemon>,
    /// Its copy of the state.
    copy: u64,
    /// Domains that it has added to the maps.
    known: u8,
    /// Whether there is something to publish.
    unsaved: bool,
    changes: bool,
    repairs: u8,
}

impl Keeper {
    pub fn new(daemon: Option<Daemon>, changes: bool, repairs: u8) -> Keeper {
        let known = u8::from(daemon.is_some());
        Keeper { daemon, copy: 0, known, unsaved: false, changes, repairs }
    }

    /// What it may do now.
    pub fn tasks(&self, world: &World) -> impl Iterator<Item = Task> {
        let is_installed = self.daemon.is_some();
        let is_empty = world.queue.is_empty();
        [
            (Task::Receive, !is_empty),
            (Task::Give, is_installed && self.unsaved),
            (Task::Change, is_installed && self.changes),
            (Task::Repair, is_installed && self.repairs != 0 && is_empty && !world.is_even()),
        ]
        .into_iter()
        .filter_map(|(task, is_possible)| is_possible.then_some(task))
    }

    /// Does it.
    pub fn perform(mut self, steps: &Steps, task: Task) -> Keeper {
        match (task, self.daemon) {
            (Task::Receive, None) => self.install(steps),
            (Task::Receive, Some(daemon)) => self.receive(steps, daemon),
            (Task::Give, Some(daemon)) => self.give(steps, daemon),
            (Task::Change, Some(daemon)) => self.change(steps, daemon),
            (Task::Repair, Some(daemon)) => self.repair(steps, daemon),
            (_, None) => {}
        }
        self
    }

    fn install(&mut self, steps: &Steps) {
        let id = pop(steps);
        self.send(steps, id);
        self.daemon = Some(Daemon::install(&steps.words()));
        self.know(steps, steps.scenario.messages[id].domain);
    }

    fn receive(&mut self, steps: &Steps, mut daemon: Daemon) {
        let id = pop(steps);
        self.take(steps, &mut daemon);
        let message = steps.scenario.messages[id];
        let is_known = self.known >> message.domain & 1 != 0;
        let adds_late = steps.scenario.adds_domain_late;
        if !is_known && !adds_late {
            self.know(steps, message.domain);
        }
        let tells = steps.scenario.tells_interfaces;
        let counted = is_known && (message.interface == Interface::Served || !tells);
        daemon.handle(&steps.words(), counted, || is_marked(steps, id));
        if !is_known && adds_late {
            self.know(steps, message.domain);
        }
        self.send(steps, id);
        self.daemon = Some(daemon);
    }

    fn give(&mut self, steps: &Steps, mut daemon: Daemon) {
        steps.step(Step::Open(Place::State));
        steps.step(Step::Close(Place::State, Some(self.copy)));
        if daemon.give(&steps.words()) {
            self.copy = 0;
        }
        self.unsaved = false;
        self.daemon = Some(daemon);
    }

    fn change(&mut self, steps: &Steps, mut daemon: Daemon) {
        self.take(steps, &mut daemon);
        steps.step(Step::Change);
        self.copy = append(self.copy, crate::world::CHANGE);
        self.changes = false;
        self.unsaved = true;
        self.daemon = Some(daemon);
    }

    fn repair(&mut self, steps: &Steps, mut daemon: Daemon) {
        steps.step(Step::Idle);
        self.take(steps, &mut daemon);
        daemon.ask(&steps.words());
        self.repairs -= 1;
        self.daemon = Some(daemon);
    }

    /// Makes the state the daemon's.
    fn take(&mut self, steps: &Steps, daemon: &mut Daemon) {
        if daemon.take(&steps.words()) {
            self.copy = steps.step(Step::Open(Place::State));
            steps.step(Step::Close(Place::State, None));
        }
    }

    fn send(&mut self, steps: &Steps, id: Id) {
        steps.step(Step::Send(id));
        self.copy = append(self.copy, id);
        self.unsaved = true;
    }

    fn know(&mut self, steps: &Steps, domain: u8) {
        steps.step(Step::Know(domain));
        self.known |= 1 << domain;
    }
}

fn pop(steps: &Steps) -> Id {
    usize::try_from(steps.step(Step::Pop)).unwrap()
}

fn is_marked(steps: &Steps, id: Id) -> bool {
    let mark = steps.step(Step::Open(Place::Mark));
    steps.step(Step::Close(Place::Mark, None));
    mark == id as u64
}
