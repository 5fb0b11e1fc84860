//! Every order of the steps.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap},
    fmt::{self, Debug, Formatter},
    hash::{Hash, Hasher},
};

use common::handover::{Daemon, Entry, Handover, Word};

use crate::{
    actors::{Keeper, Task, serve},
    scenario::Scenario,
    steps::{Run, Seen, Steps},
    world::{Actor, Outcome, Step, Stop, World},
};

/// Where `passed` begins: it wraps in the midst of every scenario.
const FIRST: u32 = u32::MAX - 2;

/// The program on a CPU: the message that it is at, and what it has seen since that came.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Cpu {
    next: usize,
    past: Vec<Seen>,
}

/// Everything, between two steps.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Situation {
    world: World,
    cpus: Vec<Cpu>,
    keeper: Keeper,
    task: Option<Task>,
    past: Vec<Seen>,
}

/// What was explored.
#[derive(Debug, Default)]
pub struct Explored {
    /// Different situations that came up.
    pub situations: usize,
    /// Steps from one to another.
    pub steps: usize,
    /// Different ends.
    pub ends: usize,
    /// Orders of the steps, all in all.
    pub orders: f64,
    /// What happened in any of them.
    pub events: BTreeSet<&'static str>,
}

/// A fault, and the way to it.
pub struct Fault {
    pub what: &'static str,
    way: Vec<(Actor, Step, Outcome)>,
}

impl Debug for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after:", self.what)?;
        self.way.iter().try_for_each(|(actor, step, outcome)| {
            writeln!(f, "  {actor:?}: {step:?} -> {}", outcome.value)
        })
    }
}

/// Tries every order.
pub fn explore(scenario: &Scenario) -> Result<Explored, Fault> {
    let mut explorer =
        Explorer { scenario, seen: HashMap::new(), way: Vec::new(), explored: Explored::default() };
    explorer.explored.orders = explorer
        .visit(Situation::start(scenario))
        .map_err(|what| Fault { what, way: explorer.way.clone() })?;
    explorer.explored.situations = explorer.seen.len();
    Ok(explorer.explored)
}

impl Situation {
    fn start(scenario: &Scenario) -> Situation {
        let (words, daemon) = if scenario.installed { forwarding() } else { Default::default() };
        Situation {
            world: World::new(scenario, words),
            cpus: vec![Cpu::default(); scenario.cpus.len()],
            keeper: Keeper::new(daemon, scenario.changes, scenario.repairs),
            task: None,
            past: Vec::new(),
        }
    }

    fn key(&self) -> Key {
        let mut digest = Digest([1, 2]);
        self.hash(&mut digest);
        digest.0
    }

    /// Those who may take a step.
    fn actors(&self, scenario: &Scenario) -> Vec<(Actor, Option<Task>)> {
        let programs = self.cpus.iter().zip(&scenario.cpus).enumerate();
        let mut actors: Vec<_> = programs
            .filter_map(|(cpu, (at, messages))| {
                let message = *messages.get(at.next)?;
                Some((Actor::Program { cpu, message }, None))
            })
            .collect();
        match self.task {
            Some(task) => actors.push((Actor::Daemon, Some(task))),
            None => {
                let tasks = self.keeper.tasks(&self.world);
                actors.extend(tasks.map(|task| (Actor::Daemon, Some(task))));
            }
        }
        actors
    }

    /// Whether everybody is at rest, rather than waiting for one another.
    fn is_over(&self, scenario: &Scenario) -> bool {
        self.task.is_none()
            && self.cpus.iter().zip(&scenario.cpus).all(|(cpu, stream)| cpu.next == stream.len())
    }
}

/// By which a situation is known again. That two of millions have the same is out of the question.
type Key = [u64; 2];

/// Makes a [`Key`]. In a test without optimisation the standard library's hash would take most of the
/// time.
struct Digest(Key);

impl Hasher for Digest {
    fn write_u64(&mut self, value: u64) {
        let Digest([first, second]) = self;
        *first = mix(*first ^ value, 0x9e37_79b9_7f4a_7c15);
        *second = mix(*second ^ value, 0xd1b5_4a32_d192_ed03);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.write_u64(chunk.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte)));
        }
    }

    fn finish(&self) -> u64 {
        self.0[0]
    }
}

/// Both halves of a product, one over the other.
#[expect(clippy::cast_possible_truncation, reason = "each half by itself")]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(b.into());
    product as u64 ^ (product >> 64) as u64
}

/// What a step leads to.
struct Next {
    situation: Situation,
    step: Step,
    outcome: Outcome,
}

struct Explorer<'a> {
    scenario: &'a Scenario,
    /// In how many orders it goes on from each situation; none while that is being found out.
    seen: HashMap<Key, Option<f64>>,
    way: Vec<(Actor, Step, Outcome)>,
    explored: Explored,
}

impl Explorer<'_> {
    fn visit(&mut self, situation: Situation) -> Result<f64, &'static str> {
        let key = situation.key();
        match self.seen.insert(key, None) {
            None => {}
            Some(None) => return Err("goes round in circles"),
            Some(Some(orders)) => {
                self.seen.insert(key, Some(orders));
                return Ok(orders);
            }
        }
        let mut orders = 0.0;
        for (actor, task) in situation.actors(self.scenario) {
            for other in [false, true] {
                let Some((more, has_alternative)) = self.follow(&situation, actor, task, other)?
                else {
                    break;
                };
                orders += more;
                if !has_alternative {
                    break;
                }
            }
        }
        if orders == 0.0 {
            self.end(&situation)?;
            orders = 1.0;
        }
        self.seen.insert(key, Some(orders));
        Ok(orders)
    }

    /// Takes a step, and goes on from there. None if it can't be taken now.
    fn follow(
        &mut self,
        situation: &Situation,
        actor: Actor,
        task: Option<Task>,
        other: bool,
    ) -> Result<Option<(f64, bool)>, &'static str> {
        let Next { situation, step, outcome } = match self.step(situation, actor, task, other) {
            Ok(next) => next,
            Err(Stop::Blocked | Stop::Pause) => return Ok(None),
            Err(Stop::Broken(what)) => return Err(what),
        };
        self.explored.steps += 1;
        self.explored.events.extend(outcome.event);
        self.way.push((actor, step, outcome));
        let orders = self.visit(situation)?;
        self.way.pop();
        Ok(Some((orders, outcome.has_alternative)))
    }

    fn step(
        &mut self,
        before: &Situation,
        actor: Actor,
        task: Option<Task>,
        other: bool,
    ) -> Result<Next, Stop> {
        let mut situation = before.clone();
        let world = &mut situation.world;
        let (step, outcome) = match (actor, task) {
            (Actor::Program { cpu, message }, _) => {
                let past = &before.cpus[cpu].past;
                let steps = Steps::new(self.scenario, actor, past, world, other);
                let run = steps.run(|steps| serve(steps, message))?;
                situation.cpus[cpu].go_on(&run);
                (run.step, run.outcome)
            }
            (Actor::Daemon, Some(task)) => {
                let steps = Steps::new(self.scenario, actor, &before.past, world, other);
                let run = steps.run(|steps| before.keeper.clone().perform(steps, task))?;
                let (step, outcome) = (run.step, run.outcome);
                self.explored.events.extend(situation.go_on(task, run));
                (step, outcome)
            }
            (Actor::Daemon, None) => return Err(Stop::Broken("no task")),
        };
        Ok(Next { situation, step, outcome })
    }

    fn end(&mut self, situation: &Situation) -> Result<(), &'static str> {
        self.explored.ends += 1;
        if !situation.is_over(self.scenario) {
            return Err("all wait for one another");
        }
        if let Err(Stop::Broken(what)) = situation.world.check_end(self.scenario) {
            return Err(what);
        }
        match situation.keeper.daemon {
            Some(daemon) if !revives(&situation.world, daemon) => Err("never forwards again"),
            _ => Ok(()),
        }
    }
}

impl Cpu {
    fn go_on(&mut self, run: &Run<()>) {
        match run.result {
            Some(()) => *self = Cpu { next: self.next + 1, past: Vec::new() },
            None => self.past.push(run.seen),
        }
    }
}

impl Situation {
    fn go_on(&mut self, task: Task, run: Run<Keeper>) -> Option<&'static str> {
        let Some(keeper) = run.result else {
            self.task = Some(task);
            self.past.push(run.seen);
            return None;
        };
        self.keeper = keeper;
        self.task = None;
        self.past.clear();
        let owns = self.keeper.daemon.is_some_and(|daemon| daemon.owns());
        match task {
            Task::Give if !owns => Some("given back"),
            Task::Repair => Some("repaired"),
            _ => None,
        }
    }
}

/// A word that only one has.
#[derive(Default)]
struct PlainWord(Cell<u32>);

impl Word for PlainWord {
    fn load(&self) -> u32 {
        self.0.get()
    }

    fn store(&self, value: u32) {
        self.0.set(value);
    }

    fn swap(&self, value: u32) -> u32 {
        self.0.replace(value)
    }

    fn add(&self, count: u32) -> u32 {
        self.0.set(self.0.get().wrapping_add(count));
        self.0.get()
    }
}

fn plain(words: [u32; 6]) -> Handover<PlainWord> {
    let [lock, passed, marked, mark_number, handled, wanted] =
        words.map(|word| PlainWord(Cell::new(word)));
    Handover { lock, passed, marked, mark_number, handled, wanted }
}

/// A message of flow data, from the program through the daemon, and nothing else meanwhile. Whether it
/// was forwarded.
fn goes_straight(words: &Handover<PlainWord>, daemon: &mut Daemon) -> bool {
    let entry = words.enter();
    let mut is_marked = false;
    if entry != Entry::Open {
        words.pass(1, entry != Entry::Busy, || {
            is_marked = true;
            true
        });
    }
    words.leave();
    if entry != Entry::Open {
        daemon.take(words);
        daemon.handle(words, true, || is_marked);
        daemon.give(words);
    }
    entry == Entry::Open
}

/// A session that the program forwards: its words, and the daemon's side of it.
fn forwarding() -> ([u32; 6], Option<Daemon>) {
    let words = plain([0, FIRST, 0, 0, 0, 0]);
    let mut daemon = Daemon::install(&words);
    goes_straight(&words, &mut daemon);
    let Handover { lock, passed, marked, mark_number, handled, wanted } = &words;
    ([lock, passed, marked, mark_number, handled, wanted].map(Word::load), Some(daemon))
}

/// Whether the program forwards again, when the daemon gets its turns and nothing more is lost: the
/// message after the marked one at the latest.
fn revives(world: &World, mut daemon: Daemon) -> bool {
    let words = plain(world.words);
    if !world.is_even() {
        daemon.take(&words);
        daemon.ask(&words);
    }
    goes_straight(&words, &mut daemon) || goes_straight(&words, &mut daemon)
}
