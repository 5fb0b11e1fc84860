//! The live templates of one observation domain.

use std::{collections::BTreeMap, rc::Rc};

use common::{
    message::MIN_DATA_SET,
    template::{Kind, TemplateRecord},
};

/// What one template costs beside its own bytes: map entry, reference counts.
const OVERHEAD: usize = 64;

/// Live templates by id. Cheap to clone but for the map itself: the records are shared.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    by_id: BTreeMap<u16, Template>,
    options: Vec<u16>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Template {
    kind: Kind,
    record: Rc<[u8]>,
}

/// What a template record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new template.
    Added,
    /// Another definition under a live id.
    Replaced,
    /// One template, or all of a kind, are gone.
    Withdrawn,
}

impl Templates {
    /// The change that `record` would make, `None` for what is known already.
    pub fn change(&self, record: &TemplateRecord<'_>) -> Option<Change> {
        if record.is_withdrawal() {
            let gone = if record.withdraws_all() {
                self.by_id.values().any(|template| template.kind == record.kind)
            } else {
                self.by_id.contains_key(&record.id)
            };
            return gone.then_some(Change::Withdrawn);
        }
        match self.by_id.get(&record.id) {
            None => Some(Change::Added),
            Some(known) if known.kind == record.kind && *known.record == *record.bytes => None,
            Some(_) => Some(Change::Replaced),
        }
    }

    /// Ids of the options templates.
    pub fn options_ids(&self) -> &[u16] {
        &self.options
    }

    /// Applies a record.
    pub fn apply(&mut self, record: &TemplateRecord<'_>) {
        if record.withdraws_all() {
            self.retain(|_, template| template.kind != record.kind);
        } else {
            self.retain_not(record.id);
        }
        if record.is_withdrawal() {
            return;
        }
        if record.kind == Kind::Options {
            let place = self.options.partition_point(|id| *id < record.id);
            self.options.insert(place, record.id);
        }
        self.bytes += cost(record.bytes);
        let template = Template { kind: record.kind, record: record.bytes.into() };
        self.by_id.insert(record.id, template);
    }

    /// Bytes by which `record` would make the cache grow, at most.
    pub fn growth(&self, record: &TemplateRecord<'_>) -> usize {
        if record.is_withdrawal() || self.change(record).is_none() {
            return 0;
        }
        let replaced = self.by_id.get(&record.id).map_or(0, |known| cost(&known.record));
        cost(record.bytes).saturating_sub(replaced)
    }

    /// Memory taken, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether data sets with this id hold options data.
    #[inline]
    pub fn is_options(&self, id: u16) -> bool {
        !self.options.is_empty() && self.options.binary_search(&id).is_ok()
    }

    /// An id that no live template has, far from those that exporters begin with.
    pub fn unused_id(&self) -> u16 {
        let mut ids = (MIN_DATA_SET..=u16::MAX).rev();
        ids.find(|id| !self.by_id.contains_key(id)).unwrap_or(u16::MAX)
    }

    /// The live template of this id.
    pub fn get(&self, id: u16) -> Option<TemplateRecord<'_>> {
        let template = self.by_id.get(&id)?;
        TemplateRecord::read(template.kind, &template.record).ok()
    }

    /// All live templates: first those of flow data, then those of options, each by id.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u16, &[u8])> {
        let of = |kind| {
            self.by_id
                .iter()
                .filter(move |(_, template)| template.kind == kind)
                .map(move |(id, template)| (kind, *id, &*template.record))
        };
        of(Kind::Data).chain(of(Kind::Options))
    }

    fn retain_not(&mut self, id: u16) {
        if let Some(old) = self.by_id.remove(&id) {
            self.bytes -= cost(&old.record);
            self.options.retain(|options_id| *options_id != id);
        }
    }

    fn retain(&mut self, keep: impl Fn(u16, &Template) -> bool) {
        self.by_id.retain(|id, template| keep(*id, template));
        self.bytes = self.by_id.values().map(|template| cost(&template.record)).sum();
        let by_id = &self.by_id;
        self.options.retain(|id| by_id.contains_key(id));
    }
}

fn cost(record: &[u8]) -> usize {
    record.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, bytes: &[u8]) -> TemplateRecord<'_> {
        TemplateRecord::read(kind, bytes).unwrap()
    }

    const A: [u8; 8] = [1, 0, 0, 1, 0, 8, 0, 4];
    const A2: [u8; 8] = [1, 0, 0, 1, 0, 12, 0, 4];
    const OPTIONS: [u8; 10] = [1, 1, 0, 1, 0, 1, 0, 149, 0, 4];

    #[test]
    fn additions_repeats_redefinitions_and_withdrawals() {
        let mut templates = Templates::default();
        assert_eq!(templates.change(&record(Kind::Data, &A)), Some(Change::Added));
        templates.apply(&record(Kind::Data, &A));
        assert_eq!(templates.change(&record(Kind::Data, &A)), None);
        assert_eq!(templates.change(&record(Kind::Data, &A2)), Some(Change::Replaced));
        templates.apply(&record(Kind::Data, &A2));
        assert_eq!(templates.get(256).unwrap().bytes, A2);
        assert_eq!(templates.bytes(), 8 + OVERHEAD);
        templates.apply(&record(Kind::Options, &OPTIONS));
        assert!(templates.is_options(257) && !templates.is_options(256));
        let withdrawal = record(Kind::Data, &[1, 0, 0, 0]);
        assert_eq!(templates.change(&withdrawal), Some(Change::Withdrawn));
        templates.apply(&withdrawal);
        assert_eq!(templates.change(&withdrawal), None);
        templates.apply(&record(Kind::Options, &[0, 3, 0, 0]));
        assert_eq!((templates.iter().count(), templates.bytes()), (0, 0));
        assert!(!templates.is_options(257));
    }

    #[test]
    fn an_options_id_that_becomes_a_data_id_is_no_options_id_any_more() {
        let mut templates = Templates::default();
        templates.apply(&record(Kind::Options, &OPTIONS));
        templates.apply(&record(Kind::Data, &[1, 1, 0, 1, 0, 8, 0, 4]));
        assert!(!templates.is_options(257));
        assert_eq!(templates.get(257).unwrap().kind, Kind::Data);
    }
}
