//! What the program and the daemon share, one step at a time, and what must be true of it.

use std::collections::VecDeque;

use crate::scenario::{Id, Interface, Scenario};

/// The words of the hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    Lock,
    Passed,
    Marked,
    MarkNumber,
    Handled,
    Wanted,
}

/// Stands for a change of the configuration in the list of what was processed.
pub const CHANGE: Id = 14;

/// Who takes a step.
#[derive(Clone, Copy, Debug)]
pub enum Actor {
    /// The program on a CPU, at work on a message.
    Program {
        cpu: usize,
        message: Id,
    },
    Daemon,
}

/// What is not a word. A reading or a change of it takes two steps, so that somebody else may come
/// between.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The session's turn and sequence numbers.
    State,
    /// The first bytes of the marked message.
    Mark,
}

/// A step.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Load(Field),
    Store(Field, u32),
    Swap(Field, u32),
    Add(Field, u32),
    /// Program: a message is here; whether its domain is in the maps.
    Arrive(Id),
    /// Begins to work on a place: what stands there.
    Open(Place),
    /// Ends that, with something new or not.
    Close(Place, Option<u64>),
    /// Program: the message leaves for its destination.
    Forward(Id),
    /// The message goes towards the daemon's socket. It may be lost.
    Put(Id),
    /// Daemon: takes a message from its socket.
    Pop,
    /// Daemon: processes a message and sends it to its destination.
    Send(Id),
    /// Daemon: processes a change of the configuration.
    Change,
    /// Daemon: adds an observation domain to the maps.
    Know(u8),
    /// Daemon: sees that nothing comes.
    Idle,
}

/// Why a step was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is somebody else's turn.
    Pause,
    /// It can't be taken yet.
    Blocked,
    /// It shows a fault.
    Broken(&'static str),
}

/// What came of a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub value: u64,
    /// Whether it could have gone another way.
    pub has_alternative: bool,
    /// What is worth telling of it.
    pub event: Option<&'static str>,
}

/// A value that is not a word.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Shared {
    value: u64,
    in_use: bool,
}

/// A set of messages.
type Set = u16;

const fn only(id: Id) -> Set {
    1 << id
}

/// All that is shared.
///
/// The session's state is the list of the messages that it was worked on for. Whatever the real state
/// is, it follows from that list: where this one is right, so is every other.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct World {
    pub words: [u32; 6],
    pub queue: VecDeque<Id>,
    state: Shared,
    mark: Shared,
    /// Domains in the maps, one bit each.
    known: u8,
    /// What the state ought to be: everything that was processed.
    processed_list: u64,
    processed: Set,
    sent: Set,
    pub lost: Set,
    /// Messages that the program is done with.
    done: Set,
    /// For each message those of its domain that the program was done with when it came.
    before: [Set; 16],
    /// Counted, and not in the socket's queue yet, in the order of their numbers.
    counted: VecDeque<Id>,
    losses: u8,
}

/// The list, with one more message.
pub fn append(list: u64, id: Id) -> u64 {
    (list << 4) | (id as u64 + 1)
}

impl World {
    /// A session that the program may forward if it is known.
    pub fn new(scenario: &Scenario, words: [u32; 6]) -> World {
        let mut world = World { words, losses: scenario.losses, ..World::default() };
        world.known = u8::from(scenario.installed);
        for &id in &scenario.early {
            world.before[id] = world.done & world.rank(scenario, id);
            world.done |= only(id);
            world.queue.push_back(id);
        }
        world
    }

    /// Whether a program would find the state to be its own.
    pub fn is_even(&self) -> bool {
        self.word(Field::Passed) == self.word(Field::Handled) && !self.is_mark_wanted()
    }

    fn is_mark_wanted(&self) -> bool {
        self.word(Field::Wanted) != self.word(Field::Marked)
    }

    fn word(&self, field: Field) -> u32 {
        self.words[field as usize]
    }

    /// Takes a step; `other` picks its alternative.
    pub fn take(
        &mut self,
        scenario: &Scenario,
        actor: Actor,
        step: Step,
        other: bool,
    ) -> Result<Outcome, Stop> {
        match step {
            Step::Load(_) | Step::Store(..) | Step::Swap(..) | Step::Add(..) => {
                return Ok(self.access(actor, step));
            }
            Step::Arrive(id) => {
                self.before[id] = self.done & self.rank(scenario, id);
                return Ok(value(self.known >> scenario.messages[id].domain & 1));
            }
            Step::Open(place) => return self.open(place).map(value),
            Step::Close(place, new) => return self.close(scenario, actor, place, new),
            Step::Put(id) => return self.put(scenario, id, other),
            Step::Pop => return Ok(value(self.queue.pop_front().ok_or(Stop::Blocked)? as u64)),
            Step::Forward(id) => {
                self.send(scenario, id)?;
                self.done |= only(id);
            }
            Step::Send(id) => {
                self.process(scenario, id)?;
                self.send(scenario, id)?;
            }
            Step::Change => self.processed_list = append(self.processed_list, CHANGE),
            Step::Know(domain) => self.known |= 1 << domain,
            Step::Idle => {}
        }
        Ok(Outcome::default())
    }

    fn access(&mut self, actor: Actor, step: Step) -> Outcome {
        match step {
            Step::Load(field) => value(self.word(field)),
            Step::Store(field, new) => {
                self.words[field as usize] = new;
                Outcome::default()
            }
            Step::Swap(field, new) => {
                let old = std::mem::replace(&mut self.words[field as usize], new);
                let event = (field == Field::Lock && old != 0).then_some("busy");
                Outcome { event, ..value(old) }
            }
            Step::Add(field, count) => {
                let sum = self.word(field).wrapping_add(count);
                self.words[field as usize] = sum;
                if let (Field::Passed, Actor::Program { message, .. }) = (field, actor) {
                    self.counted.push_back(message);
                }
                value(sum)
            }
            _ => Outcome::default(),
        }
    }

    fn place(&mut self, place: Place) -> &mut Shared {
        match place {
            Place::State => &mut self.state,
            Place::Mark => &mut self.mark,
        }
    }

    fn open(&mut self, place: Place) -> Result<u64, Stop> {
        let shared = self.place(place);
        if std::mem::replace(&mut shared.in_use, true) {
            return Err(Stop::Broken("two at once"));
        }
        Ok(shared.value)
    }

    fn close(
        &mut self,
        scenario: &Scenario,
        actor: Actor,
        place: Place,
        new: Option<u64>,
    ) -> Result<Outcome, Stop> {
        let shared = self.place(place);
        shared.in_use = false;
        shared.value = new.unwrap_or(shared.value);
        let mut outcome = Outcome::default();
        if let (Place::State, Actor::Program { message, .. }) = (place, actor) {
            self.process(scenario, message)?;
            let went_wrong = self.lost != 0;
            outcome.event = Some(if went_wrong { "forwarded after a loss" } else { "forwarded" });
        }
        if self.state.value != self.processed_list && matches!(place, Place::State) {
            return Err(Stop::Broken("worked on a state that was not the last"));
        }
        Ok(outcome)
    }

    fn put(&mut self, scenario: &Scenario, id: Id, loses: bool) -> Result<Outcome, Stop> {
        if let Some(place) = self.counted.iter().position(|&counted| counted == id) {
            if place != 0 && scenario.keeps_order {
                return Err(Stop::Blocked);
            }
            self.counted.remove(place);
        }
        self.done |= only(id);
        let has_alternative = self.losses != 0;
        if !loses {
            self.queue.push_back(id);
            return Ok(Outcome { has_alternative, ..Outcome::default() });
        }
        self.losses -= 1;
        self.lost |= only(id);
        let is_marked = self.mark.value == id as u64 && !self.is_mark_wanted();
        let event = Some(if is_marked { "lost the marked one" } else { "lost" });
        Ok(Outcome { has_alternative, event, value: 0 })
    }

    /// The messages that keep an order with this one: of its domain, and by interfaces where the
    /// program is. Templates hold for a domain, and the program can't wait for what it does not see.
    fn rank(&self, scenario: &Scenario, id: Id) -> Set {
        let message = scenario.messages[id];
        if message.interface == Interface::Other || !scenario.asserts_order {
            return 0;
        }
        (0..scenario.messages.len())
            .filter(|&other| {
                let other = scenario.messages[other];
                other.domain == message.domain && other.interface == message.interface
            })
            .fold(0, |set, other| set | only(other))
    }

    fn process(&mut self, scenario: &Scenario, id: Id) -> Result<(), Stop> {
        self.processed_list = append(self.processed_list, id);
        self.overtakes(scenario, id, self.processed)?;
        self.processed |= only(id);
        Ok(())
    }

    fn send(&mut self, scenario: &Scenario, id: Id) -> Result<(), Stop> {
        self.overtakes(scenario, id, self.sent)?;
        if self.sent & only(id) != 0 {
            return Err(Stop::Broken("sent twice"));
        }
        self.sent |= only(id);
        Ok(())
    }

    fn overtakes(&self, scenario: &Scenario, id: Id, dealt_with: Set) -> Result<(), Stop> {
        let missing = self.before[id] & !dealt_with & !self.lost & self.rank(scenario, id);
        if missing == 0 { Ok(()) } else { Err(Stop::Broken("overtook")) }
    }

    /// What must be true when nobody has anything to do any more.
    pub fn check_end(&self, scenario: &Scenario) -> Result<(), Stop> {
        let all = (0..scenario.messages.len()).fold(0, |set, id| set | only(id));
        if self.sent | self.lost != all || self.sent & self.lost != 0 || self.processed != self.sent
        {
            return Err(Stop::Broken("neither sent nor lost"));
        }
        if self.state.value != self.processed_list {
            return Err(Stop::Broken("not all that was processed is in the state"));
        }
        if scenario.ends_even && !self.is_even() {
            return Err(Stop::Broken("nothing was lost, and the program does not forward"));
        }
        Ok(())
    }
}

fn value(value: impl Into<u64>) -> Outcome {
    Outcome { value: value.into(), ..Outcome::default() }
}
