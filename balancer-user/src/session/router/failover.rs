//! RoundRobin: messages that a destination was given, and that others take over from it.
//!
//! The records of the exporter's last message are known when the next one comes, and to the
//! destination that has it no other message can be given before: its number would not be known.

use bytes::Bytes;
use common::message::{Header, Sets};

use super::{super::flows::records, Router, bit};
use crate::{config::Mode, session::domain::Domain};

impl Router {
    /// The number of the next record of a domain for `target`.
    pub fn next_number(&self, domain: u32, target: usize) -> Option<u32> {
        if self.shape.mode != Mode::RoundRobin {
            return None;
        }
        self.domain(domain)?.outgoing.get(target).copied()
    }

    /// `records` of a domain that `target` was to be sent are taken out of its queue.
    pub fn take_back(&mut self, domain: u32, target: usize, records: u32) {
        let number = self.domain_mut(domain).and_then(|domain| domain.outgoing.get_mut(target));
        if let Some(number) = number {
            *number = number.wrapping_sub(records);
        }
    }

    /// Whether [`Router::next_number`] counts the last message of a domain, if `target` has that.
    pub fn is_settled(&self, domain: u32, target: usize) -> bool {
        self.domain(domain).is_none_or(|domain| domain.next.is_some() || !holds(domain, target))
    }

    /// Whether `target` can be given another destination's message as it is: it is not too long, and
    /// has no options records, of which there may be newer ones by now.
    pub fn can_give_again(&self, target: usize, message: &[u8]) -> bool {
        let domain = Header::read(message).and_then(|header| self.domain(header.domain));
        let is_options = |id| domain.is_some_and(|domain| domain.templates.is_options(id));
        self.limits.get(target).is_some_and(|limit| *limit >= message.len())
            && !Sets::of(message).map_while(Result::ok).any(|set| is_options(set.id))
    }

    /// Counts the records of the exporter's last message by parsing it, if `message`, the last one of
    /// its domain that `target` was given, is that. What the exporter's next number then says
    /// otherwise is loss.
    pub fn settle(&mut self, target: usize, message: &[u8]) {
        let Some(header) = Header::read(message) else { return };
        let Some(domain) = self.domain_mut(header.domain) else { return };
        let is_last = domain.outgoing.get(target) == Some(&header.sequence);
        if !is_last || !holds(domain, target) || domain.next.is_some() {
            return;
        }
        if let Some(records) = records(message, &domain.templates) {
            let next = domain.line.credited.wrapping_add(records);
            domain.line.credit(&mut domain.outgoing, next);
            domain.next = Some(next);
        }
    }

    /// Gives `target` a message of so many `records` that another destination had; without `records`
    /// it is the exporter's last. The number that it leaves with, and what has to leave before it.
    pub fn give_again(
        &mut self,
        target: usize,
        header: &Header,
        records: Option<u32>,
    ) -> (Vec<Bytes>, u32) {
        let limit = self.limits.get(target).copied().unwrap_or(usize::MAX);
        let Some(domain) = self.domain_mut(header.domain) else { return (Vec::new(), 0) };
        let number = domain.outgoing.get(target).copied().unwrap_or_default();
        let (ahead, options) = match domain.unsynced & bit(target) {
            0 => (Vec::new(), 0),
            _ => domain.state(&domain.templates, None, header, |_| number, limit),
        };
        domain.unsynced &= !bit(target);
        let number = number.wrapping_add(options);
        if let Some(next) = domain.outgoing.get_mut(target) {
            *next = number.wrapping_add(records.unwrap_or(0));
        }
        if records.is_none() {
            domain.line.holder = u32::try_from(target).unwrap_or(u32::MAX);
        }
        (ahead, number)
    }

    fn domain(&self, id: u32) -> Option<&Domain> {
        self.index.get(&id).and_then(|place| self.domains.get(*place))
    }

    fn domain_mut(&mut self, id: u32) -> Option<&mut Domain> {
        self.index.get(&id).and_then(|place| self.domains.get_mut(*place))
    }
}

fn holds(domain: &Domain, target: usize) -> bool {
    u32::try_from(target) == Ok(domain.line.holder)
}
