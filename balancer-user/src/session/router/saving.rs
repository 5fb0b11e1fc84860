//! What a router knows, for the daemon after this one.
//!
//! Templates and options are saved as what they came as: IPFIX messages. So one way of learning
//! serves exporters, a state that was saved whole, and a journal of what has changed since.

use std::time::Instant;

use bytes::Bytes;
use common::{
    message::{Header, VERSION},
    sequence::Sequence,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        MAX_DOMAINS, MAX_OPTIONS_BYTES, Targets, all_targets, domain::Rules,
        split::templates_and_options,
    },
    Router, Shape,
};
use crate::config::Protocol;

/// Everything that a router goes on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// What it went by.
    pub shape: Shape,
    /// Turn and numbers.
    pub numbers: Numbers,
    /// Live templates and latest options records.
    pub messages: Vec<Bytes>,
}

/// What nearly every message changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    turn: usize,
    domains: Vec<DomainNumbers>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DomainNumbers {
    id: u32,
    credited: u32,
    holder: u32,
    outgoing: Vec<u32>,
    unsynced: Targets,
    next: Option<u32>,
}

impl Router {
    /// The state of now.
    pub fn save(&self) -> Saved {
        let like = Header { version: VERSION, length: 0, export_time: 0, sequence: 0, domain: 0 };
        let messages = self
            .domains
            .iter()
            .flat_map(|domain| domain.state(&domain.templates, None, &like, |_| 0, usize::MAX).0);
        Saved { shape: self.shape.clone(), messages: messages.collect(), numbers: self.numbers() }
    }

    /// Turn and numbers of now.
    pub fn numbers(&self) -> Numbers {
        let domains = self.domains.iter().map(|domain| DomainNumbers {
            id: domain.id,
            credited: domain.line.credited,
            holder: domain.line.holder,
            outgoing: domain.outgoing.clone(),
            unsynced: domain.unsynced,
            next: domain.next,
        });
        Numbers { turn: self.cursor, domains: domains.collect() }
    }

    /// A router that goes on where the saved one was. What it was saved from may have been damaged:
    /// what makes no sense is left out.
    pub fn restore(saved: &Saved) -> Router {
        let mut router = Router::new(saved.shape.clone(), 0);
        router.renumber(&saved.numbers);
        for message in &saved.messages {
            router.relearn(message);
        }
        router.changed = false;
        router
    }

    /// Learns the templates and options of a message that was routed by another router. A domain that
    /// is new begins with its sequence number.
    pub fn relearn(&mut self, message: &[u8]) {
        let Some(header) = Header::read(message) else { return };
        let Some(place) = self.known_or_new(header.domain, header.sequence) else { return };
        let kept: usize = self.domains.iter().map(|domain| domain.options.bytes()).sum();
        let Some(domain) = self.domains.get_mut(place) else { return };
        let others = kept - domain.options.bytes();
        let learned = domain.learn(
            message,
            &Rules {
                ignore_withdrawals: self.shape.input == Protocol::Udp,
                keep_before: false,
                options_bytes: MAX_OPTIONS_BYTES.saturating_sub(others),
            },
        );
        self.changed |= learned.changed;
    }

    /// Goes on with the turn and the numbers of another router.
    pub fn renumber(&mut self, numbers: &Numbers) {
        let targets = self.shape.targets();
        self.cursor = numbers.turn.checked_rem(self.shape.outputs.len()).unwrap_or(0);
        for saved in &numbers.domains {
            let place = self.known_or_new(saved.id, 0);
            let Some(domain) = place.and_then(|place| self.domains.get_mut(place)) else {
                return;
            };
            domain.line = Sequence { credited: saved.credited, holder: saved.holder };
            domain.outgoing.clone_from(&saved.outgoing);
            domain.outgoing.resize(targets, 0);
            domain.unsynced = saved.unsynced & all_targets(targets);
            domain.next = saved.next;
        }
    }

    /// Whether any template or options record is new or gone since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What there is to learn of a message that has just been routed, without its flow data.
    pub fn lesson(&self, message: &[u8]) -> Option<Bytes> {
        let domain = self.domains.get(self.place(Header::read(message)?.domain)?)?;
        templates_and_options(message, 0, |id| domain.templates.is_options(id))
    }

    fn known_or_new(&mut self, domain: u32, sequence: u32) -> Option<usize> {
        match self.index.get(&domain) {
            Some(place) => Some(*place),
            None if self.domains.len() >= MAX_DOMAINS => None,
            None => Some(self.insert_domain(domain, sequence, Instant::now())),
        }
    }
}
