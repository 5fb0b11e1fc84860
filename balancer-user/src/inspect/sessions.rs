//! The exporter sessions of a file: which templates they have live, how far they have counted.

use std::{collections::HashMap, path::Path};

use common::template::TemplateRecord;

use super::{fault::Fault, session::Session, source::Flow};
use crate::{
    config::Protocol,
    session::{MAX_DOMAINS, Templates},
};

/// Bytes of templates kept of all sessions of a file.
const MAX_TEMPLATE_BYTES: usize = 64 << 20;
/// Sessions that are told apart in one file.
const MAX_SESSIONS: usize = 16_384;

/// The sequence number of a message, held against what its domain has sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the one that was due, or none was known to be.
    Due,
    /// So many records before it are missing.
    Missing(u32),
    /// It is lower than the one that was due: out of order, or the exporter began anew.
    Back,
}

/// One observation domain of a session.
#[derive(Debug, Default)]
pub struct Domain {
    /// Its live templates.
    pub templates: Templates,
    next: Option<u32>,
}

impl Domain {
    /// Takes the sequence number of a message.
    pub fn step(&self, sequence: u32) -> Step {
        match self.next.map_or(0, |next| sequence.wrapping_sub(next)) {
            0 => Step::Due,
            ahead if ahead <= u32::MAX / 2 => Step::Missing(ahead),
            _ => Step::Back,
        }
    }

    /// The message with this number had so many records; `None` where nobody can say.
    pub fn counted(&mut self, sequence: u32, records: Option<u32>) {
        self.next = records.map(|records| sequence.wrapping_add(records));
    }
}

/// All sessions of a file.
#[derive(Debug, Default)]
pub struct Sessions {
    by_flow: HashMap<Option<Flow>, Known>,
    /// Sessions so far, those that have ended too.
    begun: usize,
    template_bytes: usize,
}

/// What is known of one session.
#[derive(Debug)]
struct Known {
    number: usize,
    session: Session,
    domains: HashMap<u32, Domain>,
}

/// One observation domain of one session.
#[derive(Debug)]
pub struct Place<'a> {
    /// Number of the session, in the order in which they began.
    pub session_number: usize,
    /// The session.
    pub session: &'a mut Session,
    /// The domain.
    pub domain: &'a mut Domain,
    template_bytes: &'a mut usize,
}

impl Sessions {
    /// The domain of the session of `flow`, known already or new.
    pub fn place(
        &mut self,
        flow: Option<&Flow>,
        domain: u32,
        file: &Path,
    ) -> Result<Place<'_>, Fault> {
        let flow = flow.copied();
        if self.by_flow.len() >= MAX_SESSIONS && !self.by_flow.contains_key(&flow) {
            return Err(Fault::Limit("sessions"));
        }
        let known = self.by_flow.entry(flow).or_insert_with(|| {
            self.begun += 1;
            Known {
                number: self.begun,
                session: Session::new(flow.as_ref(), file),
                domains: HashMap::new(),
            }
        });
        if known.domains.len() >= MAX_DOMAINS && !known.domains.contains_key(&domain) {
            return Err(Fault::Limit("observation domains of a session"));
        }
        Ok(Place {
            session_number: known.number,
            session: &mut known.session,
            domain: known.domains.entry(domain).or_default(),
            template_bytes: &mut self.template_bytes,
        })
    }

    /// Forgets a session that has ended.
    pub fn forget(&mut self, flow: &Flow) {
        if let Some(known) = self.by_flow.remove(&Some(*flow)) {
            let bytes = |domain: &Domain| domain.templates.bytes();
            self.template_bytes -= known.domains.values().map(bytes).sum::<usize>();
        }
    }
}

impl Place<'_> {
    /// Takes a template record; whether it defines something new.
    pub fn learn(&mut self, record: &TemplateRecord<'_>) -> Result<bool, Fault> {
        let templates = &mut self.domain.templates;
        // Over UDP a withdrawal has no meaning (RFC 7011 section 8.4).
        let ignored = record.is_withdrawal() && self.session.protocol == Some(Protocol::Udp);
        if ignored || templates.change(record).is_none() {
            return Ok(false);
        }
        if *self.template_bytes + templates.growth(record) > MAX_TEMPLATE_BYTES {
            return Err(Fault::Limit("templates"));
        }
        *self.template_bytes -= templates.bytes();
        templates.apply(record);
        *self.template_bytes += templates.bytes();
        Ok(!record.is_withdrawal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_due_missing_and_back_also_around_zero() {
        let mut domain = Domain::default();
        assert_eq!(domain.step(77), Step::Due);
        domain.counted(u32::MAX - 1, Some(4));
        assert_eq!(domain.step(2), Step::Due);
        assert_eq!(domain.step(5), Step::Missing(3));
        assert_eq!(domain.step(1), Step::Back);
        domain.counted(5, None);
        assert_eq!(domain.step(1000), Step::Due);
    }
}
