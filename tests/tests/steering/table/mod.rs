//! The table of cases, by subject.

mod checksums;
mod everyone;
mod frames;
mod handover;
mod messages;
mod refusals;
mod sequences;
mod turns;

use std::collections::HashSet;

use anyhow::Result;
use common::reason::PassUp;
use ipfix_balancer_tests::lab::available;

use super::case::{Case, Verdict};
use super::kernel::{self, Kernel};
use super::userspace;
use super::world::Hook;

/// All cases.
fn table() -> Vec<Case> {
    [
        checksums::cases(),
        everyone::cases(),
        frames::cases(),
        handover::cases(),
        messages::cases(),
        refusals::cases(),
        sequences::cases(),
        turns::cases(),
    ]
    .concat()
}

/// Runs every case, whatever comes of the others.
fn run<'a>(
    cases: impl IntoIterator<Item = &'a Case>,
    mut check: impl FnMut(&Case) -> Result<()>,
) -> String {
    let failures = cases.into_iter().filter_map(|case| check(case).err());
    failures.map(|failure| format!("\n{failure:#}")).collect()
}

fn in_kernel(hook: Hook) -> String {
    let mut kernel = match Kernel::shared() {
        Ok(kernel) => kernel,
        Err(error) => return format!("{error:#}"),
    };
    let table = table();
    run(table.iter().filter(|case| case.hooks.contains(&hook)), |case| {
        kernel::check(&mut kernel, hook, case)
    })
}

#[test]
fn every_case_at_xdp() {
    if available() {
        assert_eq!(in_kernel(Hook::Xdp), "");
    }
}

#[test]
fn every_case_coming_in_at_tc() {
    if available() {
        assert_eq!(in_kernel(Hook::Ingress), "");
    }
}

#[test]
fn every_case_of_an_exporter_on_this_host() {
    if available() {
        assert_eq!(in_kernel(Hook::Host), "");
    }
}

#[test]
fn every_case_through_the_router() {
    assert_eq!(run(&table(), userspace::check), "");
}

#[test]
fn every_reason_has_a_case() {
    let table = table();
    let verdicts = table.iter().flat_map(|case| &case.steps).map(|step| &step.verdict);
    let covered: Vec<_> = verdicts.collect();
    let missing =
        PassUp::ALL.into_iter().filter(|reason| !covered.contains(&&Verdict::Up(*reason)));
    assert_eq!(missing.collect::<Vec<_>>(), []);
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let table = table();
    let mut names = HashSet::new();
    let again: Vec<_> = table.iter().filter(|case| !names.insert(&case.name)).collect();
    assert!(again.is_empty(), "{again:?}");
}
