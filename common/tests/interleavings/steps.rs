//! Real code, one step at a time.
//!
//! What an actor does is a function of what it reads. So to go on where it was, it is run anew from
//! its last resting place: the steps it has taken return what they returned, the next one is taken,
//! and at the one after that it is stopped, by unwinding.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use common::handover::{Handover, Word};

use crate::{
    scenario::Scenario,
    world::{Actor, Field, Outcome, Step, Stop, World},
};

/// A step that was taken, as far as the actor has seen it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    value: u64,
    /// The word, if it was a load.
    loaded: Option<Field>,
}

impl Seen {
    fn of(step: Step, outcome: Outcome) -> Seen {
        let loaded = if let Step::Load(field) = step { Some(field) } else { None };
        Seen { value: outcome.value, loaded }
    }
}

/// What an actor does its steps with.
pub struct Steps<'a> {
    pub scenario: &'a Scenario,
    pub actor: Actor,
    past: &'a [Seen],
    at: Cell<usize>,
    other: bool,
    world: RefCell<&'a mut World>,
    taken: Cell<Option<(Step, Outcome)>>,
}

/// How far an actor came.
pub struct Run<T> {
    /// What it leaves behind, if it is at rest again.
    pub result: Option<T>,
    /// The step that it took.
    pub step: Step,
    pub outcome: Outcome,
    pub seen: Seen,
}

impl<'a> Steps<'a> {
    pub fn new(
        scenario: &'a Scenario,
        actor: Actor,
        past: &'a [Seen],
        world: &'a mut World,
        other: bool,
    ) -> Steps<'a> {
        let (at, world, taken) = (Cell::new(0), RefCell::new(world), Cell::new(None));
        Steps { scenario, actor, past, at, other, world, taken }
    }

    /// Takes one more step of `action`.
    pub fn run<T>(self, action: impl FnOnce(&Steps) -> T) -> Result<Run<T>, Stop> {
        let result = match catch_unwind(AssertUnwindSafe(|| action(&self))) {
            Ok(result) => Some(result),
            Err(payload) => match payload.downcast::<Stop>().map(|stop| *stop) {
                Ok(Stop::Pause) => None,
                Ok(stop) => return Err(stop),
                Err(panic) => resume_unwind(panic),
            },
        };
        let (step, outcome) = self.taken.get().ok_or(Stop::Broken("no step"))?;
        Ok(Run { result, step, outcome, seen: Seen::of(step, outcome) })
    }

    pub fn step(&self, step: Step) -> u64 {
        let at = self.at.replace(self.at.get() + 1);
        if let Some(seen) = self.past.get(at) {
            return seen.value;
        }
        if at > self.past.len() {
            resume_unwind(Box::new(Stop::Pause));
        }
        match self.take(step) {
            Ok(outcome) => {
                self.taken.set(Some((step, outcome)));
                outcome.value
            }
            Err(stop) => resume_unwind(Box::new(stop)),
        }
    }

    fn take(&self, step: Step) -> Result<Outcome, Stop> {
        let outcome = self.world.borrow_mut().take(self.scenario, self.actor, step, self.other)?;
        // Who finds the lock taken, and looks again, waits for a change.
        let seen = Seen::of(step, outcome);
        if seen.loaded == Some(Field::Lock) && self.past.last() == Some(&seen) {
            return Err(Stop::Blocked);
        }
        Ok(outcome)
    }

    /// The words of the hand-over; each access to one is a step.
    pub fn words(&self) -> Handover<SteppedWord<'_, 'a>> {
        let word = |field| SteppedWord { steps: self, field };
        Handover {
            lock: word(Field::Lock),
            passed: word(Field::Passed),
            marked: word(Field::Marked),
            mark_number: word(Field::MarkNumber),
            handled: word(Field::Handled),
            wanted: word(Field::Wanted),
        }
    }
}

/// A word of the hand-over.
pub struct SteppedWord<'s, 'a> {
    steps: &'s Steps<'a>,
    field: Field,
}

impl SteppedWord<'_, '_> {
    fn step(&self, step: Step) -> u32 {
        u32::try_from(self.steps.step(step)).unwrap()
    }
}

impl Word for SteppedWord<'_, '_> {
    fn load(&self) -> u32 {
        self.step(Step::Load(self.field))
    }

    fn store(&self, value: u32) {
        self.step(Step::Store(self.field, value));
    }

    fn swap(&self, value: u32) -> u32 {
        self.step(Step::Swap(self.field, value))
    }

    fn add(&self, count: u32) -> u32 {
        self.step(Step::Add(self.field, count))
    }
}
