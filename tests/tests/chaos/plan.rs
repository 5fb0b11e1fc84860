//! What happens when: drawn from a seed before anything starts, so that a run can be replayed.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, anyhow};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};

use crate::dice::Dice;
use crate::event::{Kind, Place};
use crate::malformed::Fault;
use crate::wiring::{RECEIVERS, SITES};

/// A class of events.
struct Class {
    /// How often it is drawn, compared with the others.
    weight: u32,
    /// The shortest and the longest that it lasts, in milliseconds.
    lasts: (u64, u64),
    draw: fn(&mut Dice) -> Result<Kind>,
}

/// Everything that may happen.
const CLASSES: [Class; 15] = [
    class(4, (300, 3000), |dice| Ok(Kind::Kill(dice.collector_over(Tcp)?))),
    class(4, (1, 2), |dice| Ok(Kind::Reset(dice.collector_over(Tcp)?))),
    class(4, (1500, 3000), |dice| Ok(Kind::Kill(dice.collector_over(Udp)?))),
    class(4, (300, 4000), |dice| Ok(Kind::Stall(dice.collector_over(Tcp)?))),
    class(2, (300, 2000), |dice| Ok(Kind::Stall(dice.collector_over(Udp)?))),
    class(2, (200, 4000), |dice| Ok(Kind::BlackHole(dice.site()?))),
    class(2, (200, 3000), |dice| Ok(Kind::LinkDown(dice.site()?))),
    class(2, (200, 3000), |dice| Ok(Kind::RouteGone(dice.site()?))),
    class(3, (1, 2), |dice| Ok(Kind::Forgotten(dice.site()?))),
    class(1, (50, 1000), |dice| Ok(Kind::NewMac(dice.site()?))),
    class(2, (500, 3000), |_| Ok(Kind::DiskFull)),
    class(3, (300, 4000), |dice| Ok(Kind::Reload(dice.balancing_receiver()?))),
    class(1, (1, 2), |_| Ok(Kind::Restart)),
    class(1, (1, 2), |_| Ok(Kind::KillDaemon)),
    class(6, (1, 2), |dice| dice.fault()),
];

const fn class(weight: u32, lasts: (u64, u64), draw: fn(&mut Dice) -> Result<Kind>) -> Class {
    Class { weight, lasts, draw }
}

/// Between the beginnings of two events, in milliseconds.
const GAP: (u64, u64) = (100, 900);

/// An event of the plan: when it begins and for how long it lasts, counted from the begin of the run.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub at: Duration,
    pub lasts: Duration,
    pub kind: Kind,
}

/// Who starts the daemon of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// A service manager, which keeps sockets.
    Managed,
    /// Somebody at a terminal.
    Alone,
    /// Likewise, once: its counters hold for the whole run.
    Steady,
}

impl Regime {
    pub fn of(seed: u64) -> Self {
        match seed % 4 {
            1 => Self::Managed,
            3 => Self::Alone,
            _ => Self::Steady,
        }
    }

    fn allows(self, kind: &Kind) -> bool {
        match kind {
            Kind::Restart => self != Self::Steady,
            Kind::KillDaemon => self == Self::Managed,
            _ => true,
        }
    }
}

/// A run's schedule.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub events: Vec<Event>,
}

impl Plan {
    /// Draws the events of so many seconds; all have ended by then.
    pub fn draw(seed: u64, seconds: u64) -> Result<Self> {
        let mut dice = Dice::new(seed);
        let end = Duration::from_secs(seconds);
        let mut events: Vec<Event> = Vec::new();
        let mut at = Duration::ZERO;
        loop {
            at += dice.millis(GAP)?;
            let class = dice.class()?;
            let event =
                Event { at, lasts: dice.millis(class.lasts)?, kind: (class.draw)(&mut dice)? };
            if event.end() > end {
                return Ok(Self { seed, events });
            }
            let disturbs = |other: &Event| other.end() >= at && other.kind.excludes(&event.kind);
            let possible = Regime::of(seed).allows(&event.kind);
            if possible && !events.iter().any(disturbs) {
                events.push(event);
            }
        }
    }

    /// What is to be done when: begins and ends of events, by their number.
    pub fn steps(&self) -> Vec<(Duration, usize, Step)> {
        let mut steps: Vec<_> = (0..)
            .zip(&self.events)
            .flat_map(|(number, event)| {
                [(event.at, number, Step::Begin), (event.end(), number, Step::End)]
            })
            .collect();
        steps.sort_by_key(|(at, ..)| *at);
        steps
    }
}

/// A side of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin,
    End,
}

impl Event {
    fn end(&self) -> Duration {
        self.at + self.lasts
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:7.3} s + {:5.3} s  {:?}",
            self.at.as_secs_f64(),
            self.lasts.as_secs_f64(),
            self.kind
        )
    }
}

/// What an event befalls.
impl Dice {
    fn class(&mut self) -> Result<&'static Class> {
        const ALL: &[Class] = &CLASSES;
        let sum: u32 = ALL.iter().map(|class| class.weight).sum();
        let mut left = self.number(1, sum.into())?;
        for class in ALL {
            match left.checked_sub(class.weight.into()).filter(|left| *left > 0) {
                Some(less) => left = less,
                None => return Ok(class),
            }
        }
        Err(anyhow!("no class of events"))
    }

    fn site(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.number(0, u64::try_from(SITES)? - 1)?)?)
    }

    fn collector_over(&mut self, output: Protocol) -> Result<Place> {
        let receiver = self.receiver(|receiver| {
            RECEIVERS[receiver].mode.is_some() && RECEIVERS[receiver].output == output
        })?;
        Ok(Place { receiver, site: self.site()? })
    }

    fn balancing_receiver(&mut self) -> Result<usize> {
        self.receiver(|receiver| RECEIVERS[receiver].mode.is_some())
    }

    fn fault(&mut self) -> Result<Kind> {
        let receiver = self.receiver(|_| true)?;
        let faults = Fault::over(RECEIVERS[receiver].input);
        Ok(Kind::Malformed(receiver, self.one(faults)?))
    }

    fn receiver(&mut self, fits: impl Fn(usize) -> bool) -> Result<usize> {
        let fitting: Vec<_> = (0..RECEIVERS.len()).filter(|receiver| fits(*receiver)).collect();
        self.one(&fitting)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;

    use super::*;
    use crate::{SECONDS, SEEDS};

    #[test]
    fn a_seed_gives_the_same_plan_again() {
        let [one, other] = [7, 7].map(|seed| format!("{:?}", Plan::draw(seed, 60).unwrap()));
        assert_eq!(one, other);
        assert_ne!(one, format!("{:?}", Plan::draw(9, 60).unwrap()));
    }

    #[test]
    fn no_two_events_that_undo_each_other_overlap() {
        for seed in 0..50 {
            let events = Plan::draw(seed, 60).unwrap().events;
            for (place, event) in events.iter().enumerate() {
                let earlier = &events[..place];
                let overlaps = |other: &&Event| other.end() >= event.at;
                let undo = |other: &Event| other.kind.excludes(&event.kind);
                assert!(!earlier.iter().filter(overlaps).any(undo), "{seed}: {event}");
            }
        }
    }

    #[test]
    fn the_fixed_seeds_have_events_of_every_class() {
        let mut dice = Dice::new(0);
        let due: HashSet<_> =
            CLASSES.iter().map(|class| discriminant(&(class.draw)(&mut dice).unwrap())).collect();
        let plans = SEEDS.map(|seed| Plan::draw(seed, SECONDS).unwrap());
        let drawn = plans.iter().flat_map(|plan| &plan.events);
        assert_eq!(due, drawn.map(|event| discriminant(&event.kind)).collect());
    }
}
