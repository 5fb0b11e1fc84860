//! What each collector got, at a low rate: whether it can be read, and has no breaks. A fast balancer
//! that breaks the stream has lost.

use std::time::Duration;

use anyhow::{Context, Result};
use ipfix_balancer_tests::collector::{Collector, Protocol as Transport, total};
use ipfix_balancer_tests::decode::{Decoded, Problem, Record, Tally, session};
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::net::V4;
use ipfix_balancer_tests::poll;
use serde::Serialize;

use super::case::Route;
use super::rig::pause;
use super::side::{Side, Task, free_address};
use super::{Mode, Plan, Protocol};
use crate::interrupt;
use crate::process::wait_until;

/// Observation domains of the exporters: each has its own, so that nobody can mix them up. As they
/// send in turn, an even number of them would be in step with two destinations.
const DOMAINS: [u32; 3] = [1, 2, 3];
/// Domain of what is sent afterwards, and looked at by nobody: some programs hold messages back until
/// more come.
const FILLER: u32 = 99;
const FILLERS: usize = 40;
/// Messages of an exporter before, and after, it repeats its templates; and records in each.
const MESSAGES: usize = 100;
const RECORDS: usize = 10;
/// Between two messages.
const PACE: Duration = Duration::from_millis(1);
/// Nothing more arrives after such a silence.
const SILENCE: Duration = Duration::from_millis(500);
/// How long the first template may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What the collectors would say of a side.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Account {
    /// Data sets whose template had not come.
    pub unknown: usize,
    /// Sequence numbers that were not the expected ones.
    pub breaks: usize,
    pub malformed: usize,
    /// Records that did not arrive, or could not be read; and those that arrived too often.
    pub missing: usize,
    pub surplus: usize,
    /// Messages at each collector.
    pub messages: Vec<usize>,
}

impl Account {
    /// Whether nobody would complain.
    pub fn is_clean(&self) -> bool {
        self.unknown + self.breaks + self.malformed + self.missing + self.surplus == 0
    }
}

/// The sides of one route.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub name: &'static str,
    pub sides: Vec<(Side, Account)>,
    pub left_out: Vec<(String, String)>,
}

/// Has each side forward the same.
pub fn measure(plan: &Plan, name: &'static str, route: &Route) -> Result<CaseResult> {
    let mut result = CaseResult { name, sides: Vec::new(), left_out: Vec::new() };
    for side in Side::all(plan, route).into_iter().filter(|side| *side != Side::Direct) {
        match account(plan, &side, route) {
            Ok(account) => result.sides.push((side, account)),
            Err(error) if matches!(side, Side::Peer(_)) && !interrupt::requested() => {
                result.left_out.push((side.name().to_owned(), format!("{error:#}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(result)
}

fn account(plan: &Plan, side: &Side, route: &Route) -> Result<Account> {
    let directory = tempfile::Builder::new().prefix("ipfix-bench-").tempdir()?;
    let count = usize::try_from(side.destinations(route))?;
    let collectors = Collector::several(count, transport(route.output), V4)?;
    let destinations: Vec<_> = collectors.iter().map(Collector::address).collect();
    let listen = free_address(route.input)?;
    let task = Task { route, listen, destinations: &destinations, directory: directory.path() };
    let _process = side.start(plan, &task)?.context("nothing to start")?;
    let connect = |_| Exporter::connect(transport(route.input), listen);
    let mut exporters = DOMAINS.into_iter().map(connect).collect::<Result<Vec<_>>>()?;
    wake(&mut exporters, &collectors)?;
    let sessions = DOMAINS.map(messages);
    for place in 0..sessions.iter().map(Vec::len).max().unwrap_or(0) {
        let messages = sessions.iter().filter_map(|messages| messages.get(place));
        for (exporter, message) in exporters.iter_mut().zip(messages) {
            exporter.send(message)?;
        }
        pause(PACE)?;
    }
    for _ in 0..FILLERS {
        filler(&mut exporters)?;
    }
    poll::settled(SILENCE, || total(&collectors))?;
    Ok(judge(route.mode, &sessions, &collectors))
}

/// Sends what nobody looks at until something arrives.
fn wake(exporters: &mut [Exporter], collectors: &[Collector]) -> Result<()> {
    wait_until("something arrives", LIMIT, || {
        filler(exporters)?;
        Ok((total(collectors) > 0).then_some(()))
    })
}

fn filler(exporters: &mut [Exporter]) -> Result<()> {
    let message = Flows::new(FILLER).templates();
    exporters.iter_mut().try_for_each(|exporter| exporter.send(&message))?;
    pause(PACE)
}

/// An exporter's session, with a repetition of its templates.
fn messages(domain: u32) -> Vec<Vec<u8>> {
    let mut flows = Flows::new(domain);
    let mut messages = flows.session(MESSAGES, RECORDS);
    messages.push(flows.templates());
    messages.push(flows.options_data(1));
    messages.extend((0..MESSAGES).map(|_| flows.data(RECORDS)));
    messages
}

fn judge(mode: Mode, sent: &[Vec<Vec<u8>>], collectors: &[Collector]) -> Account {
    let sent: Vec<Decoded> = sent.iter().map(session).collect();
    let mut account = Account::default();
    let got: Vec<Vec<Decoded>> = collectors
        .iter()
        .map(|collector| {
            let sessions = collector.sessions();
            sessions.iter().map(|one| session(&one.messages)).collect()
        })
        .collect();
    for (collector, sessions) in collectors.iter().zip(&got) {
        account.messages.push(collector.messages());
        sessions.iter().for_each(|session| account.complaints(session));
        // Options are for those who get the flows that they explain.
        let concerned = |record: &Record| {
            sessions.iter().any(|session| session.domains.contains_key(&record.domain))
        };
        let wanted = |record: &Record| match (is_flow(record), mode) {
            (true, Mode::RoundRobin) => false,
            (true, Mode::All) => true,
            (false, _) => mode == Mode::All || concerned(record),
        };
        account.compare(records(&sent, wanted), records(sessions, wanted));
    }
    if mode == Mode::RoundRobin {
        account.compare(records(&sent, is_flow), records(got.iter().flatten(), is_flow));
    }
    account
}

fn is_flow(record: &Record) -> bool {
    !record.is_options()
}

fn records<'a>(
    sessions: impl IntoIterator<Item = &'a Decoded>,
    which: impl Fn(&Record) -> bool,
) -> Tally<'a> {
    let records = sessions.into_iter().flat_map(|session| &session.records);
    Tally::of(records.filter(|record| record.domain != FILLER && which(record)))
}

impl Account {
    fn complaints(&mut self, session: &Decoded) {
        for problem in &session.problems {
            match problem {
                Problem::UnknownTemplate { domain: FILLER, .. }
                | Problem::Sequence { domain: FILLER, .. } => {}
                Problem::UnknownTemplate { .. } => self.unknown += 1,
                Problem::Sequence { .. } => self.breaks += 1,
                Problem::Malformed { .. } => self.malformed += 1,
            }
        }
    }

    fn compare(&mut self, sent: Tally<'_>, got: Tally<'_>) {
        let difference = sent.difference(&got);
        self.missing += difference.missing;
        self.surplus += difference.surplus;
    }
}

fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    }
}
