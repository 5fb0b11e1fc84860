//! One observation domain of a session: what it has defined, and its sequence numbers.

use std::{rc::Rc, time::Instant};

use bytes::Bytes;
use common::{
    message::{Header, Malformed, Sets},
    record::{BadRecord, DataRecords},
    sequence::{self, Sequence},
    template::{Kind, TemplateRecord, TemplateRecords},
};

use super::{
    Targets, bit,
    compose::Composer,
    details::SessionDetails,
    flows::FlowCount,
    options::{Kept, OptionsRecords},
    templates::{Change, Templates},
};

/// State of one observation domain.
#[derive(Debug)]
pub struct Domain {
    pub id: u32,
    /// Live templates. Shared with the queues that hold messages from before a redefinition.
    pub templates: Rc<Templates>,
    pub options: OptionsRecords,
    /// RoundRobin: the incoming number line ...
    pub line: Sequence,
    /// ... and the number of the next record for each destination.
    pub outgoing: Vec<u32>,
    /// Destinations that need all templates and options before anything else.
    pub unsynced: Targets,
    /// Sequence number of the exporter's next message, where no flow data leaves it open.
    pub next: Option<u32>,
    /// Counts data records, where that is asked for.
    pub flows: FlowCount,
    refreshed: Instant,
    messages_since: u32,
}

/// The templates of a domain as they were before a redefinition or withdrawal.
#[derive(Clone, Debug)]
pub struct Before {
    /// The observation domain.
    pub domain: u32,
    /// Its templates then.
    pub(super) templates: Rc<Templates>,
}

impl Before {
    /// Bytes that are kept for its sake, about.
    pub fn bytes(&self) -> usize {
        self.templates.bytes()
    }
}

/// Which kinds of sets a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Template or options template sets.
    pub templates: bool,
    /// Data sets of an options template.
    pub options: bool,
    /// Any other set.
    pub flow: bool,
}

impl Contents {
    /// Whether something has to be remembered, and to reach every destination.
    pub fn is_control(self) -> bool {
        self.templates || self.options
    }
}

/// What a domain has learned from a message.
#[derive(Debug, Default)]
pub struct Learned {
    /// Options records in it.
    pub options_records: u32,
    /// Options records that there was no room to keep.
    pub not_kept: u32,
    /// Whether the caches are not what they were before it.
    pub changed: bool,
    /// Templates redefined by it under a live id.
    pub replaced: Vec<(Kind, u16)>,
    /// The templates before it, if it redefined or withdrew any.
    pub before: Option<Before>,
}

impl Domain {
    pub fn new(id: u32, destinations: usize, sequence: u32, now: Instant) -> Domain {
        Domain {
            id,
            templates: Rc::default(),
            options: OptionsRecords::default(),
            line: Sequence::starting_at(sequence),
            outgoing: vec![0; destinations],
            unsynced: 0,
            next: None,
            flows: FlowCount::default(),
            refreshed: now,
            messages_since: 0,
        }
    }

    /// Bytes that a domain takes without templates and options, about.
    pub fn cost(targets: usize) -> usize {
        // Twice for the vector that has grown, and its place in the index.
        2 * size_of::<Domain>() + targets * size_of::<u32>() + 64
    }

    /// Whether templates are due to be repeated on outputs that may lose them; counts the message
    /// that asks. A limit of 0 is no limit.
    pub fn refresh_due(&mut self, seconds: u32, messages: u32, now: Instant) -> bool {
        self.messages_since = self.messages_since.saturating_add(1);
        let by_count = messages > 0 && self.messages_since > messages;
        let by_time =
            seconds > 0 && now.duration_since(self.refreshed).as_secs() >= u64::from(seconds);
        if by_count || by_time {
            self.refreshed = now;
            self.messages_since = 1;
        }
        by_count || by_time
    }

    /// Bytes by which the templates of `message` would make the cache grow, at most.
    pub fn growth(&self, message: &[u8]) -> usize {
        template_records(message).map(|record| self.templates.growth(&record)).sum()
    }

    /// Takes the templates and options of `message` into the caches, in the order of its sets.
    /// `keep_before` asks for the old templates, should it replace any.
    pub fn learn(&mut self, message: &[u8], rules: &Rules) -> Learned {
        let mut learned = Learned::default();
        for set in Sets::of(message).map_while(Result::ok) {
            match TemplateRecords::of(set) {
                Some(records) => {
                    for record in records.map_while(Result::ok) {
                        if !(record.is_withdrawal() && rules.ignore_withdrawals) {
                            self.learn_template(&record, rules, &mut learned);
                        }
                    }
                }
                None => self.learn_options(set.id, set.body(), rules, &mut learned),
            }
        }
        learned
    }

    fn learn_template(
        &mut self,
        record: &TemplateRecord<'_>,
        rules: &Rules,
        learned: &mut Learned,
    ) {
        let Some(change) = self.templates.change(record) else { return };
        learned.changed = true;
        if change != Change::Added {
            if rules.keep_before && learned.before.is_none() {
                learned.before =
                    Some(Before { domain: self.id, templates: Rc::clone(&self.templates) });
            }
            let all = record.withdraws_all();
            let templates = Rc::clone(&self.templates);
            self.options.forget(|id| if all { templates.is_options(id) } else { id == record.id });
        }
        if change == Change::Replaced {
            learned.replaced.push((record.kind, record.id));
        }
        Rc::make_mut(&mut self.templates).apply(record);
    }

    fn learn_options(&mut self, set_id: u16, body: &[u8], rules: &Rules, learned: &mut Learned) {
        if !self.templates.is_options(set_id) {
            return;
        }
        let Some(template) = self.templates.get(set_id) else { return };
        for record in DataRecords::of(body, &template).map_while(Result::ok) {
            learned.options_records = learned.options_records.wrapping_add(1);
            let room = rules.options_bytes.saturating_sub(self.options.bytes());
            match self.options.keep(set_id, &record, room) {
                Kept::Known => {}
                Kept::New => learned.changed = true,
                Kept::NoRoom => learned.not_kept += 1,
            }
        }
    }

    /// Every live template, then the latest options records, as messages of at most `limit` bytes;
    /// and how many records these are. `number` says for that count what number the first message
    /// has. `templates` are the domain's, or those of an earlier time: of the options then go only
    /// those whose template is still the same. Of both, the `details` are the first.
    pub fn state(
        &self,
        templates: &Templates,
        details: Option<&SessionDetails>,
        like: &Header,
        number: impl FnOnce(u32) -> u32,
        limit: usize,
    ) -> (Vec<Bytes>, u32) {
        let unchanged = |id| templates.get(id) == self.templates.get(id);
        let options: Vec<_> = self.options.iter().filter(|(id, _)| unchanged(*id)).collect();
        let details = details.map(|details| (details, templates.unused_id()));
        let records = options.len() + usize::from(details.is_some());
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let like = Header { domain: self.id, ..*like };
        let mut composer = Composer::new(&like, number(records), limit);
        if let Some((details, id)) = details {
            composer.template(Kind::Options.set_id(), &details.template(id));
        }
        for (kind, _, record) in templates.iter() {
            composer.template(kind.set_id(), record);
        }
        if let Some((details, id)) = details {
            composer.data(id, &details.record());
        }
        for (id, record) in options {
            composer.data(id, record);
        }
        (composer.finish(), records)
    }

    /// Follows a change of the destinations; see [`super::Router::reconfigure`].
    pub fn rearrange(&mut self, kept: &[Option<usize>]) {
        if self.line.holder != sequence::FIRST {
            let holder = usize::try_from(self.line.holder).unwrap_or(usize::MAX);
            let place = kept.iter().position(|old| *old == Some(holder));
            let place = place.and_then(|place| u32::try_from(place).ok());
            self.line.holder = place.unwrap_or(sequence::GONE);
        }
        let (mut outgoing, mut unsynced) = (Vec::with_capacity(kept.len()), 0);
        for (place, old) in kept.iter().enumerate() {
            outgoing.push(old.and_then(|old| self.outgoing.get(old).copied()).unwrap_or(0));
            if old.is_none_or(|old| self.unsynced & bit(old) != 0) {
                unsynced |= bit(place);
            }
        }
        self.outgoing = outgoing;
        self.unsynced = unsynced;
    }
}

/// How a domain learns.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Over UDP withdrawals mean nothing (RFC 7011 section 8.4).
    pub ignore_withdrawals: bool,
    /// Messages wait somewhere that were encoded by the templates of now.
    pub keep_before: bool,
    /// Bytes of options records that the domain may keep.
    pub options_bytes: usize,
}

/// Looks at every set of `message`, given the templates that are known of its domain.
///
/// Template records are checked to their end, options records where their template was known
/// before; records of flow data are not parsed.
pub fn examine(message: &[u8], known: Option<&Templates>) -> Result<Contents, Malformed> {
    let mut contents = Contents::default();
    let mut defined: Vec<(u16, Kind)> = Vec::new();
    for set in Sets::of(message) {
        let set = set?;
        if let Some(records) = TemplateRecords::of(set) {
            contents.templates = true;
            for record in records {
                let record = record?;
                defined.push((record.id, record.kind));
            }
            continue;
        }
        match defined.iter().rev().find(|(id, _)| *id == set.id) {
            Some((_, kind)) if *kind == Kind::Options => contents.options = true,
            Some(_) => contents.flow = true,
            None => match known.filter(|templates| templates.is_options(set.id)) {
                Some(templates) => {
                    check_options(templates, set.id, set.body())?;
                    contents.options = true;
                }
                None => contents.flow = true,
            },
        }
    }
    Ok(contents)
}

fn check_options(templates: &Templates, id: u16, body: &[u8]) -> Result<(), Malformed> {
    let Some(template) = templates.get(id) else { return Ok(()) };
    let overrun = DataRecords::of(body, &template).any(|r| r == Err(BadRecord::Overrun));
    if overrun { Err(Malformed::SetLength) } else { Ok(()) }
}

fn template_records(message: &[u8]) -> impl Iterator<Item = TemplateRecord<'_>> {
    Sets::of(message)
        .map_while(Result::ok)
        .filter_map(TemplateRecords::of)
        .flat_map(|records| records.map_while(Result::ok))
}
