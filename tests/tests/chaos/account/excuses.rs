//! Why a message may be missing although nobody has counted it.

use std::time::Duration;

use ipfix_balancer_tests::collector::Protocol::Udp;

use super::{Account, Message, messages};
use crate::event::{Kind, Place};
use crate::evidence::Happened;
use crate::wiring::RECEIVERS;

/// How soon messages must arrive again after an event.
pub(super) const RECOVERY: Duration = Duration::from_secs(10);

/// How soon a destination takes messages again after an event: a pause of a second before it is tried, and
/// somewhat more than a second in which nothing speaks against it, after the neighbour has answered.
pub(super) const RETURN: Duration = Duration::from_secs(6);

impl Account<'_> {
    pub(super) fn is_lost_by_network(&self, message: Message<'_>, site: usize) -> bool {
        let place = Place { receiver: self.receiver, site };
        let wiring = &RECEIVERS[self.receiver];
        let loses = |one: &&Happened| one.kind.loses_datagrams_to(place);
        wiring.mode.is_some()
            && wiring.output == Udp
            && self.evidence.happened.iter().filter(loses).any(|one| {
                self.is_in_window(message, one, &[site]) || self.waited(message, one, place)
            })
    }

    /// Whether a message was waiting for a collector when an event befell that, which had been away because
    /// of others. What waits leaves in its order: so nothing that had been waiting before this message has
    /// arrived, or nothing that came after it and before the event.
    fn waited(&self, message: Message<'_>, event: &Happened, place: Place) -> bool {
        let since = self.away_since(event, place);
        if message.at > event.begun.0 || self.handed_on_by(message.at) < since {
            return false;
        }
        let missing = |from: Duration, to: Duration| {
            messages(message.session)
                .filter(|one| one.at > from && self.handed_on_by(one.at) < to)
                .all(|one| self.copies(one)[place.site] == 0)
        };
        missing(message.at, event.begun.0) || missing(since, self.handed_on_by(message.at))
    }

    /// Since when a collector may have been away without a break when an event befell it.
    fn away_since(&self, event: &Happened, place: Place) -> Duration {
        let mut since = event.begun.0;
        for one in self.evidence.happened.iter().rev() {
            let away = one.kind.keeps_away(place) && one.begun.0 < since;
            if away && one.end() + RETURN >= since {
                since = one.begun.0;
            }
        }
        since
    }

    /// Whether a daemon that was killed may have had the message in its memory: received over UDP and not
    /// sent yet, recorded and not on the disk yet, or waiting for a collector that did not take it.
    pub(super) fn is_lost_with_daemon(&self, message: Message<'_>, sites: &[usize]) -> bool {
        let kills = |one: &&Happened| one.kind == Kind::KillDaemon && message.at <= one.begun.1;
        self.evidence.happened.iter().filter(kills).any(|kill| {
            let wiring = &RECEIVERS[self.receiver];
            let at_once = wiring.input == Udp || wiring.mode.is_none();
            (at_once && self.handed_on_by(message.at) >= kill.begun.0)
                || sites.iter().any(|site| self.may_wait(message, kill, *site))
        })
    }

    /// Whether the message may have been waiting for a collector when the daemon was killed.
    fn may_wait(&self, message: Message<'_>, kill: &Happened, site: usize) -> bool {
        let place = Place { receiver: self.receiver, site };
        self.evidence.happened.iter().any(|one| {
            one.kind.holds_up(place)
                && one.begun.0 <= kill.begun.1
                && one.end() + RETURN >= kill.begun.0
                && self.handed_on_by(message.at) >= one.begun.0
        })
    }

    fn is_in_window(&self, message: Message<'_>, event: &Happened, sites: &[usize]) -> bool {
        let end = event.end();
        let arrived = |message: &Message<'_>| {
            let copies = self.copies(*message);
            sites.iter().any(|site| copies[*site] > 0)
        };
        if self.handed_on_by(message.at) < event.begun.0 || message.at > end + RECOVERY {
            return false;
        }
        message.at <= end
            || messages(message.session)
                .filter(|one| one.records > 0 && one.at > end)
                .find(arrived)
                .is_none_or(|first| message.at < first.at)
    }
}
