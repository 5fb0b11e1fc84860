//! The account: every message that was sent has arrived where it was due, or somebody can say why not.
//!
//! A message that is missing in a place must have its reason:
//!
//! - *counted*: the daemon has dropped it, and says so: in `status`, or at its end in the log. Or, over
//!   UDP, the interface towards a collector has: what waits for a destination leaves in one burst when it
//!   is back, and the ring of a veth pair is short. As many may be missing as were counted;
//! - *lost by the network*, over UDP only: it was sent in the window of an event that loses datagrams
//!   to this collector ([`Kind::loses_datagrams_to`]). The window begins [`LAG`] before the event and
//!   ends when the first message that the same exporter sent after the event has arrived there, no
//!   later than [`excuses::RECOVERY`] after it. Or it was waiting when the event came, because the
//!   collector had been away since an event before ([`Kind::keeps_away`]), with all that was sent before
//!   it, or after it;
//! - *lost with the daemon*, where it was killed: what it may have had in its memory
//!   ([`Account::is_lost_with_daemon`]). A daemon that is replaced in order loses nothing.
//!
//! Everything else is a fault.

mod counters;
mod decodable;
mod excuses;

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;

use crate::arrivals::Arrivals;
use crate::event::{Kind, Place};
use crate::evidence::{Evidence, Happened};
use crate::ledger::{Content, Session};
use crate::wiring::{RECEIVERS, SPARE};
use excuses::RECOVERY;

/// How long a message may be on its way inside the balancer when an event hits it.
const LAG: Duration = Duration::from_secs(1);

/// What became of one receiver's messages.
#[derive(Debug, Default)]
pub struct Balance {
    pub sent: usize,
    /// Deliveries that were due, and those that took place.
    pub due: usize,
    pub delivered: usize,
    /// Deliveries beyond the first.
    pub surplus: usize,
    pub lost_by_network: usize,
    /// Those of them that somebody has sent: options records that are not the latest any more when a
    /// destination returns are not sent to it.
    swallowed: usize,
    pub lost_with_daemon: usize,
    /// What the daemon says that it has dropped.
    pub counted: u64,
    /// Missing for no reason above: as many as were counted may be.
    pub missing: Vec<String>,
    pub faults: Vec<String>,
}

/// One message of a session.
#[derive(Clone, Copy)]
struct Message<'a> {
    session: &'a Session,
    /// Its place in the session.
    number: usize,
    at: Duration,
    /// Serial number of its first record.
    serial: u32,
    records: u32,
    content: Content,
    /// Its sequence number.
    sequence: u32,
}

/// The account of one receiver.
pub struct Account<'a> {
    evidence: &'a Evidence,
    receiver: usize,
    /// By site; for a receiver that records, its files.
    places: Vec<Arrivals>,
    balance: Balance,
}

impl<'a> Account<'a> {
    /// Balances the messages of a receiver.
    /// `refused` is what interfaces have dropped and no other receiver has lost.
    pub fn of(evidence: &'a Evidence, receiver: usize, refused: &mut u64) -> Result<Balance> {
        let places = evidence.arrivals(receiver)?;
        let mut account = Self { evidence, receiver, places, balance: Balance::default() };
        account.balance.counted = evidence.counted(receiver)?;
        account.everything_is_whole();
        account.everything_is_decodable();
        account.nobody_was_disconnected();
        for session in evidence.sessions_of(receiver) {
            account.session(session);
        }
        account.counters()?;
        let Balance { counted, missing, faults, .. } = &mut account.balance;
        let missed = u64::try_from(missing.len())?;
        if RECEIVERS[receiver].output == Udp {
            let by_interfaces = missed.saturating_sub(*counted).min(*refused);
            *refused -= by_interfaces;
            *counted += by_interfaces;
        }
        if missed > *counted {
            faults.push(format!("{} are missing, {counted} are counted", missing.len()));
            faults.append(missing);
        }
        Ok(account.balance)
    }

    /// Datagrams are made of whole messages.
    fn everything_is_whole(&mut self) {
        if RECEIVERS[self.receiver].output != Udp {
            return;
        }
        for (site, sessions) in self.evidence.received[self.receiver].iter().enumerate() {
            let octets: usize = sessions.iter().map(|session| session.rest.len()).sum();
            if octets > 0 {
                self.balance.faults.push(format!("site {site}: {octets} octets are no message"));
            }
        }
    }

    /// No exporter had to connect again, whoever has served it.
    fn nobody_was_disconnected(&mut self) {
        let again = self.evidence.sessions_of(self.receiver).filter(|session| session.again);
        let lines = again.map(|session| format!("domain {}: disconnected before", session.domain));
        self.balance.faults.extend(lines.collect::<Vec<_>>());
    }

    fn session(&mut self, session: &Session) {
        self.balance.sent += session.sent.len();
        let mut missing_records = 0;
        for message in messages(session).filter(|message| message.records > 0) {
            missing_records += self.message(message);
        }
        self.gaps(session, missing_records);
    }

    /// How often a message is in each place: as often as its rarest record.
    fn copies(&self, message: Message<'_>) -> Vec<usize> {
        let count = |place: &Arrivals| {
            let domain = message.session.domain;
            let serials = message.serial..message.serial + message.records;
            serials.map(|serial| place.count(domain, serial)).min().unwrap_or(0)
        };
        self.places.iter().map(count).collect()
    }

    /// Judges one message; how many of its records are missing, over all places.
    fn message(&mut self, message: Message<'_>) -> u64 {
        let copies = self.copies(message);
        let all: Vec<usize> = (0..self.places.len()).collect();
        let one_place = RECEIVERS[self.receiver].mode == Some(Mode::RoundRobin)
            && matches!(message.content, Content::Flows(_));
        if one_place {
            let count = copies.iter().sum();
            return self.due(message, &all, count);
        }
        let mut missing = 0;
        for (site, count) in copies.iter().enumerate() {
            if site != SPARE || self.is_due_at_spare(message) {
                missing += self.due(message, &[site], *count);
                self.keeps_its_number(message, site);
            }
        }
        missing
    }

    /// A message is due once in one of these places.
    fn due(&mut self, message: Message<'_>, sites: &[usize], count: usize) -> u64 {
        self.balance.due += 1;
        self.balance.delivered += usize::from(count > 0);
        if matches!(message.content, Content::Flows(_)) && count > 1 {
            self.balance.surplus += count - 1;
            self.surplus(message, sites, count);
        }
        if count > 0 {
            return 0;
        }
        if self.is_lost_with_daemon(message, sites) {
            self.balance.lost_with_daemon += 1;
        } else if sites.iter().any(|site| self.is_lost_by_network(message, *site)) {
            self.balance.lost_by_network += 1;
            self.balance.swallowed += usize::from(matches!(message.content, Content::Flows(_)));
        } else {
            let Message { session, number, at, .. } = message;
            let line = format!(
                "{}/{number} sent at {at:.3?} ({:?}) is not at {sites:?}",
                session.domain, message.content
            );
            self.balance.missing.push(line);
        }
        u64::from(message.records)
    }

    /// Until when a message may have been on its way inside the balancer: for [`LAG`], and longer where the
    /// daemon was replaced meanwhile.
    fn handed_on_by(&self, at: Duration) -> Duration {
        let replaced = |one: &&Happened| {
            one.kind.ends_the_daemon() && at + LAG >= one.begun.0 && at <= one.begun.1
        };
        let replaced = self.evidence.happened.iter().filter(replaced);
        replaced.map(|one| one.begun.1).fold(at, Duration::max) + LAG
    }

    /// Only what was sent by a TCP connection that broke later, and perhaps not read, is sent twice.
    fn surplus(&mut self, message: Message<'_>, sites: &[usize], count: usize) {
        let breaks = |one: &Happened| {
            let here = |site: &usize| {
                one.kind.breaks_connections_to(Place { receiver: self.receiver, site: *site })
            };
            let broke = RECEIVERS[self.receiver].output == Tcp && sites.iter().any(here);
            // It may take a while until the daemon notices.
            one.kind == Kind::KillDaemon || (broke && message.at <= one.end() + RECOVERY)
        };
        if !self.evidence.happened.iter().any(breaks) {
            let Message { session, number, at, .. } = message;
            let line = format!(
                "{}/{number} sent at {at:.3?} is {count} times at {sites:?}",
                session.domain
            );
            self.balance.faults.push(line);
        }
    }

    /// In All a message is passed on as it was.
    fn keeps_its_number(&mut self, message: Message<'_>, site: usize) {
        let domain = message.session.domain;
        let found = self.places[site].sequence(domain, message.serial);
        let repeated = message.content == Content::Options;
        if RECEIVERS[self.receiver].mode != Some(Mode::RoundRobin)
            && !repeated
            && found.is_some_and(|found| found != message.sequence)
        {
            let line = format!("{domain}/{}: number {found:?} at site {site}", message.number);
            self.balance.faults.push(line);
        }
    }

    /// In RoundRobin a destination that has never been up is owed nothing.
    fn is_due_at_spare(&self, message: Message<'_>) -> bool {
        let everything = RECEIVERS[self.receiver].mode != Some(Mode::RoundRobin);
        everything
            && self.evidence.happened.iter().any(|one| {
                one.kind == Kind::Reload(self.receiver)
                    && message.at > one.begun.1
                    && message.at + LAG < one.ended.0
            })
    }
}

fn messages(session: &Session) -> impl Iterator<Item = Message<'_>> {
    let mut next = 0;
    session.sent.iter().enumerate().map(move |(number, sent)| {
        let records = u32::try_from(sent.kind.records()).unwrap_or(0);
        let sequence = next;
        next += records;
        let (at, content) = (sent.at, sent.kind);
        // Serial numbers begin with 1.
        Message { session, number, at, serial: sequence + 1, records, content, sequence }
    })
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:6} sent, {:6} due, {:6} delivered, {:4} twice, {:4} lost by the network, {:4} with a \
             daemon, {:4} of {:4} counted",
            self.sent,
            self.due,
            self.delivered,
            self.surplus,
            self.lost_by_network,
            self.lost_with_daemon,
            self.missing.len(),
            self.counted
        )
    }
}
