//! Collectors, networks, disks, the daemon and its exporters fail at random, and at the end every message
//! is accounted for.
//!
//! A run is one world, one plan that is drawn from a seed, and one account. `IPFIX_CHAOS_SEED` replays
//! a run's plan, `IPFIX_CHAOS_SECONDS` asks for runs until so many seconds have passed, each with the
//! next seed, the first one of them random.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]
#![expect(clippy::print_stdout, reason = "a run is told, so that it can be replayed")]

mod account;
mod arrivals;
mod dice;
mod event;
mod evidence;
mod ledger;
mod malformed;
mod plan;
mod traffic;
mod wiring;
mod world;

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use account::{Account, Balance};
use anyhow::{Context, Result, bail, ensure};
use evidence::{Evidence, Happened};
use ipfix_balancer_tests::lab::available;
use plan::{Plan, Step};
use wiring::RECEIVERS;
use world::World;

/// Seeds of the runs in CI: one of each [`plan::Regime`].
const SEEDS: [u64; 3] = [81, 82, 83];
/// How long the events of a run go on.
const SECONDS: u64 = 12;
/// How long exporters go on when everything works again.
const CALM: Duration = Duration::from_secs(1);
/// Unbalanced messages of a receiver that are shown.
const SHOWN: usize = 12;

/// A run, with the first part of its plan if it fails.
fn run(seed: u64) -> Result<()> {
    let plan = Plan::draw(seed, SECONDS)?;
    println!("chaos: seed {seed}, {} events", plan.events.len());
    let mut happened = Vec::new();
    let outcome = live(&plan, &mut happened).and_then(|evidence| judge(&evidence));
    outcome.map_err(|error| {
        let mut told = String::new();
        for one in &happened {
            told.push_str(&format!("  {one:.3?}\n"));
        }
        error.context(format!(
            "seed {seed}: replay with IPFIX_CHAOS_SEED={seed}; what happened:\n{told}"
        ))
    })
}

/// Has the plan happen.
fn live(plan: &Plan, happened: &mut Vec<Happened>) -> Result<Evidence> {
    let mut world = World::new(plan.seed)?;
    let mut start = Instant::now();
    let mut under_way = HashMap::new();
    for (at, number, step) in plan.steps() {
        std::thread::sleep(at.saturating_sub(start.elapsed()));
        // What took longer than planned delays all others, and does not have them happen at once.
        start += start.elapsed().saturating_sub(at);
        let event = plan.events[number];
        let before = world.begin.elapsed();
        world.happen(event.kind, step).with_context(|| format!("{step:?} of {event}"))?;
        let times = (before, world.begin.elapsed());
        match step {
            Step::Begin => {
                under_way.insert(number, happened.len());
                happened.push(Happened { kind: event.kind, begun: times, ended: times });
            }
            Step::End => {
                let place = under_way.remove(&number).context("it has not begun")?;
                happened[place].ended = times;
            }
        }
    }
    world.wait_until_up()?;
    std::thread::sleep(CALM);
    let sessions = world.end_exporters()?;
    world.drain()?;
    Ok(Evidence {
        sessions,
        happened: happened.clone(),
        received: world.received(),
        files: world.files()?,
        refused: world.refused()?,
        status: world.status()?,
        network: world.network()?,
        log: world.log(),
    })
}

fn judge(evidence: &Evidence) -> Result<()> {
    let mut unbalanced = String::new();
    let mut refused = evidence.refused;
    for receiver in 0..RECEIVERS.len() {
        let balance = Account::of(evidence, receiver, &mut refused)?;
        println!("FULLFLOW[{receiver}]: {balance}");
        let Balance { faults, .. } = balance;
        for fault in faults.iter().take(SHOWN) {
            unbalanced.push_str(&format!("FULLFLOW[{receiver}]: {fault}\n"));
        }
        if faults.len() > SHOWN {
            unbalanced
                .push_str(&format!("FULLFLOW[{receiver}]: and {} more\n", faults.len() - SHOWN));
        }
    }
    let Evidence { network, log, .. } = evidence;
    ensure!(
        unbalanced.is_empty(),
        "the account does not balance:\n{unbalanced}\nnetwork:\n{network}\nlog:\n{log}"
    );
    Ok(())
}

/// A run in a thread of its own, whose file systems go with it.
fn run_apart(seed: u64) -> Result<()> {
    let run = std::thread::scope(|scope| scope.spawn(|| run(seed)).join());
    run.unwrap_or_else(|_| bail!("seed {seed}: the run's thread has panicked"))
}

fn number_in(variable: &str) -> Result<Option<u64>> {
    let Some(value) = std::env::var_os(variable) else { return Ok(None) };
    let value = value.to_str().with_context(|| format!("{variable} is no text"))?;
    Ok(Some(value.parse().with_context(|| format!("{variable}={value}"))?))
}

fn runs() -> Result<()> {
    let now = u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos());
    let begin = Instant::now();
    let first = number_in("IPFIX_CHAOS_SEED")?;
    match number_in("IPFIX_CHAOS_SECONDS")? {
        Some(seconds) => {
            let mut seed = first.unwrap_or(now);
            while begin.elapsed() < Duration::from_secs(seconds) {
                run_apart(seed)?;
                seed += 1;
            }
            Ok(())
        }
        None => match first {
            Some(seed) => run_apart(seed),
            None => SEEDS.iter().try_for_each(|seed| run_apart(*seed)),
        },
    }
}

#[test]
fn every_message_is_accounted_for() {
    if available()
        && let Err(error) = runs()
    {
        panic!("{error:#}");
    }
}
