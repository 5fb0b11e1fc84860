//! The latest options records of one observation domain: state (sampling rates, interface names)
//! that a destination which connects later needs as much as the templates.

use std::collections::BTreeMap;

use common::record::DataRecord;

/// What one record costs beside its own bytes.
const OVERHEAD: usize = 96;

/// Options template id, and the bytes of the scope fields.
type Scope = (u16, Box<[u8]>);

/// Options records by options template and scope: a newer record of the same scope replaces the
/// older one.
#[derive(Clone, Debug, Default)]
pub struct OptionsRecords {
    by_scope: BTreeMap<Scope, Box<[u8]>>,
    bytes: usize,
}

/// What [`OptionsRecords::keep`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The very same record is there already.
    Known,
    /// It is there now.
    New,
    /// There is no room for it.
    NoRoom,
}

impl OptionsRecords {
    /// Keeps `record` of the options template `id`, unless that would take more than `room` bytes.
    pub fn keep(&mut self, id: u16, record: &DataRecord<'_>, room: usize) -> Kept {
        let key = (id, Box::from(record.scope));
        let old = self.by_scope.get(&key);
        if old.is_some_and(|old| **old == *record.bytes) {
            return Kept::Known;
        }
        let known = old.map_or(0, |old| cost(record.scope, old));
        let growth = cost(record.scope, record.bytes).saturating_sub(known);
        if growth > room {
            return Kept::NoRoom;
        }
        self.bytes = self.bytes - known + cost(record.scope, record.bytes);
        self.by_scope.insert(key, record.bytes.into());
        Kept::New
    }

    /// Forgets the records of every options template for which `gone` holds.
    pub fn forget(&mut self, gone: impl Fn(u16) -> bool) {
        self.by_scope.retain(|(id, _), _| !gone(*id));
        self.bytes = self.by_scope.iter().map(|((_, scope), record)| cost(scope, record)).sum();
    }

    /// The records with their options template's id, by id.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.by_scope.iter().map(|((id, _), record)| (*id, &**record))
    }

    /// Memory taken, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(scope: &[u8], record: &[u8]) -> usize {
    scope.len() + record.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(bytes: &'a [u8]) -> DataRecord<'a> {
        DataRecord { bytes, scope: &bytes[..1] }
    }

    #[test]
    fn the_latest_of_each_scope_is_kept() {
        let mut options = OptionsRecords::default();
        for bytes in [[1, 10], [2, 20], [1, 11]] {
            assert_eq!(options.keep(257, &record(&bytes), 1000), Kept::New);
        }
        assert_eq!(options.keep(257, &record(&[2, 20]), 1000), Kept::Known);
        let kept: Vec<_> = options.iter().collect();
        assert_eq!(kept, [(257, &[1, 11][..]), (257, &[2, 20])]);
        assert_eq!(options.bytes(), 2 * (3 + OVERHEAD));
    }

    #[test]
    fn no_more_than_there_is_room_for() {
        let mut options = OptionsRecords::default();
        assert_eq!(options.keep(257, &record(&[1, 2]), 3), Kept::NoRoom);
        assert_eq!(options.bytes(), 0);
    }

    #[test]
    fn records_go_with_their_template() {
        let mut options = OptionsRecords::default();
        options.keep(257, &record(&[1, 2]), 1000);
        options.keep(258, &record(&[1, 2]), 1000);
        options.forget(|id| id == 257);
        assert_eq!(options.iter().collect::<Vec<_>>(), [(258, &[1, 2][..])]);
        assert_eq!(options.bytes(), 3 + OVERHEAD);
    }
}
