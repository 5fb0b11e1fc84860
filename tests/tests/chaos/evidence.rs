//! What is known after a run.

use std::time::Duration;

use anyhow::{Context, Result};
use ipfix_balancer_tests::collector;
use ipfix_balancer_tests::daemon::{ReceiverStatus, Status};
use ipfix_balancer_tests::dump::{self, DumpFile};

use crate::arrivals::Arrivals;
use crate::event::Kind;
use crate::ledger::Session;
use crate::malformed::Fault;
use crate::wiring::RECEIVERS;

/// An event that has taken place. All times are counted from the begin of the run.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    pub kind: Kind,
    /// Before and after it was brought about.
    pub begun: (Duration, Duration),
    /// Before and after it was mended.
    pub ended: (Duration, Duration),
}

impl Happened {
    /// When it was over.
    pub fn end(&self) -> Duration {
        self.begun.1.max(self.ended.1)
    }

    /// Whether the session was open meanwhile.
    pub fn met(&self, session: &Session) -> bool {
        session.open.0 <= self.end() && session.open.1 >= self.begun.0
    }
}

/// Everything that the account is made of.
pub struct Evidence {
    pub sessions: Vec<Session>,
    pub happened: Vec<Happened>,
    /// What collectors have received, by receiver and site.
    pub received: Vec<Vec<Vec<collector::Session>>>,
    pub files: Vec<DumpFile>,
    /// Frames that the balancer's interfaces towards collectors have dropped.
    pub refused: u64,
    pub status: Status,
    /// What the network has counted.
    pub network: String,
    pub log: String,
}

impl Evidence {
    pub fn sessions_of(&self, receiver: usize) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(move |session| session.receiver == receiver)
    }

    /// What has arrived at each collector of a receiver, or in its files.
    pub fn arrivals(&self, receiver: usize) -> Result<Vec<Arrivals>> {
        if RECEIVERS[receiver].mode.is_none() {
            let mut recorded = Arrivals::default();
            for file in &self.files {
                dump::stands_alone(file)?;
                // What a file opens with is the balancer's own.
                recorded.take(&file.messages)?;
            }
            return Ok(vec![recorded]);
        }
        let of = |sessions: &Vec<collector::Session>| {
            let mut arrivals = Arrivals::default();
            sessions.iter().try_for_each(|session| arrivals.take(&session.messages))?;
            Ok(arrivals)
        };
        self.received[receiver].iter().map(of).collect()
    }

    /// Messages that collectors of a receiver have received, the balancer's own among them.
    pub fn messages_at(&self, receiver: usize) -> usize {
        self.received[receiver].iter().flatten().map(|one| one.messages.len()).sum()
    }

    pub fn receiver(&self, receiver: usize) -> Result<ReceiverStatus> {
        self.status.receiver(&name(receiver))
    }

    pub fn faults_to(&self, receiver: usize) -> impl Iterator<Item = Fault> {
        self.happened.iter().filter_map(move |one| match one.kind {
            Kind::Malformed(to, fault) if to == receiver => Some(fault),
            _ => None,
        })
    }

    /// Messages that the daemons say they have dropped for a destination of this receiver, or could not
    /// deliver before their end.
    pub fn counted(&self, receiver: usize) -> Result<u64> {
        let now = self.receiver(receiver)?;
        let destinations: u64 =
            now.destinations().iter().map(|destination| destination.dropped_in_all()).sum();
        let own = ["queue_full", "undelivered", "unrecorded", "overload", "receive_buffer"];
        let own: u64 = own.iter().map(|reason| now.dropped(reason)).sum();
        Ok(destinations + own + self.left_at_the_end(receiver)?)
    }

    fn left_at_the_end(&self, receiver: usize) -> Result<u64> {
        let named = format!(" {}: ", name(receiver));
        let mut left = 0;
        for line in self.log.lines().filter(|line| line.contains(&named)) {
            let Some((_, count)) = LEFT.iter().find(|(what, _)| line.contains(what)) else {
                continue;
            };
            let (_, details) = line.rsplit_once('(').context("no details in the log")?;
            let mut details = details.trim_end_matches(')').split(", ");
            let number = details.find_map(|detail| detail.strip_prefix(count));
            left += number.context("no count in the log")?.parse::<u64>()?;
        }
        Ok(left)
    }
}

/// What a daemon says at its end, and what stands before the number of messages.
const LEFT: [(&str, &str); 2] = [
    ("messages could not be delivered before the end", "waiting "),
    ("not recorded before the end", "messages "),
];

fn name(receiver: usize) -> String {
    format!("FULLFLOW[{receiver}]")
}
