//! What collectors and the daemon say themselves: sequence numbers, `status`.

use std::collections::BTreeMap;

use anyhow::Result;
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::{DestinationStatus, Mode, ReceiverStatus};

use super::Account;
use crate::arrivals::Arrivals;
use crate::event::{Kind, Place};
use crate::evidence::Happened;
use crate::ledger::Session;
use crate::wiring::{RECEIVERS, SITES};

/// A session of fewer messages may have ended before something came that shows a gap.
const SHORT: usize = 20;

impl Account<'_> {
    /// In RoundRobin what is missing at the collectors shows there as gaps in the sequence numbers. Over
    /// UDP, and where a connection has broken, they can be larger: options records that the balancer has
    /// repeated were lost as well. After one
    /// that was killed the next daemon's numbers may jump, and at the end of a destination nobody sees
    /// what is missing. In All messages keep their numbers.
    pub(super) fn gaps(&mut self, session: &Session, missing: u64) {
        let wiring = &RECEIVERS[self.receiver];
        let blurs = |one: &Happened| {
            one.kind == Kind::Reload(self.receiver)
                || (one.kind == Kind::KillDaemon && one.met(session))
        };
        let short = session.sent.len() < SHORT;
        if wiring.mode != Some(Mode::RoundRobin)
            || short
            || self.evidence.happened.iter().any(blurs)
        {
            return;
        }
        let gaps = |place: &Arrivals| place.gaps.get(&session.domain).copied().unwrap_or(0);
        let gaps: u64 = self.places.iter().map(gaps).sum();
        if gaps < missing || (gaps > missing && wiring.output == Tcp && !self.may_have_broken()) {
            let line =
                format!("domain {}: {missing} records missing, gaps of {gaps}", session.domain);
            self.balance.faults.push(line);
        }
    }

    /// Whether a connection to a collector may have broken.
    fn may_have_broken(&self) -> bool {
        let breaks = |one: &Happened, site| {
            one.kind.breaks_connections_to(Place { receiver: self.receiver, site })
        };
        self.evidence.happened.iter().any(|one| (0..SITES).any(|site| breaks(one, site)))
    }

    /// Where the daemon was left alone its counters hold for the whole run.
    pub(super) fn counters(&mut self) -> Result<()> {
        if self.evidence.happened.iter().any(|one| one.kind.ends_the_daemon()) {
            return Ok(());
        }
        let protocol = RECEIVERS[self.receiver].input;
        let now = self.evidence.receiver(self.receiver)?;
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        let mut messages = u64::try_from(self.balance.sent)?;
        for fault in self.evidence.faults_to(self.receiver) {
            messages += fault.messages(protocol);
            for (reason, count) in fault.counted(protocol) {
                *expected.entry(reason).or_default() += count;
            }
        }
        let received = now.messages() + now.dropped("receive_buffer");
        if received != messages {
            self.balance.faults.push(format!("{messages} messages sent, {received} received"));
        }
        for (reason, count) in expected {
            let found = now.dropped(reason);
            if found != count {
                self.balance.faults.push(format!("{reason}: {found} counted instead of {count}"));
            }
        }
        self.handed_over(&now)
    }

    /// What the daemon says that it has sent has arrived, or is what the network has swallowed: at least
    /// the messages that the account puts down to it. With a destination its counters go.
    fn handed_over(&mut self, now: &ReceiverStatus) -> Result<()> {
        let wiring = &RECEIVERS[self.receiver];
        let happened = || self.evidence.happened.iter().map(|one| one.kind);
        if wiring.mode.is_none() || happened().any(|kind| kind == Kind::Reload(self.receiver)) {
            return Ok(());
        }
        let sent: u64 = now.destinations().iter().map(DestinationStatus::messages).sum();
        let arrived = u64::try_from(self.evidence.messages_at(self.receiver))?;
        let swallowed = u64::try_from(self.balance.swallowed)?;
        let exact = wiring.output == Tcp && !self.may_have_broken();
        if sent < arrived + swallowed || (exact && sent != arrived) {
            let line =
                format!("{sent} sent to collectors, {arrived} arrived, {swallowed} swallowed");
            self.balance.faults.push(line);
        }
        Ok(())
    }
}
