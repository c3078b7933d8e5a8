//! Where is the version of an entry that a reader sees?
//!
//! In the newest tier that knows the key: the table that is written, those that are frozen, the base. A view is a list
//! of tiers; it never changes, so who holds one reads the same whatever is installed later.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use bytes::Bytes;

use crate::{
    Direction, KeyRange, Position,
    base::Base,
    broken::{self, Broken},
    entry::Entry,
    history::History,
    manifest::Tip,
    memtable::{Memtable, Scanned},
};

/// How many keys are looked at before a commit is let in between; few in tests, so that ends of pages are met.
const PAGE_KEYS: usize = if cfg!(test) { 4 } else { 1024 };

/// A table that may be read while it is written. Its lock is held for short sections, never across an await.
#[derive(Debug, Default)]
pub(crate) struct Table(RwLock<Memtable>);

/// The tiers of a store.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) base: Arc<Base>,
    /// The newest first, which is the one that is written.
    tables: Vec<Arc<Table>>,
}

/// What a checkpoint is made of: everything in memory, at the end of a batch.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// What is below the tables.
    pub(crate) base: Arc<Base>,
    /// The newest first; nobody writes them any more.
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) tip: Tip,
    /// The last transaction.
    pub(crate) position: Position,
    pub(crate) history: History,
}

/// Yields what some tables know of a range, tombstones among it, one entry for each key.
#[derive(Debug)]
pub(crate) struct Entries {
    tables: Vec<Arc<Table>>,
    at: Position,
    collection: String,
    direction: Direction,
    /// What is still to be looked at.
    rest: Option<KeyRange>,
    page: VecDeque<Entry>,
    page_keys: usize,
}

impl Table {
    pub(super) fn bottom() -> Self {
        Self(RwLock::new(Memtable::bottom()))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Memtable> {
        self.0.read().expect("the lock is never poisoned: no panic while held")
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Memtable> {
        self.0.write().expect("the lock is never poisoned: no panic while held")
    }
}

impl View {
    pub(super) fn new(base: Arc<Base>, active: Table) -> Self {
        Self { base, tables: vec![Arc::new(active)] }
    }

    pub(super) fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    pub(super) fn active(&self) -> &Table {
        &self.tables[0]
    }

    /// The same with an empty table on top, if there is something in the top one.
    pub(super) fn rotated(&self) -> Self {
        let mut tables = self.tables.clone();
        if self.active().read().newest() > Position::ZERO {
            tables.insert(0, Arc::default());
        }
        Self { base: Arc::clone(&self.base), tables }
    }

    /// The same on another base, without the frozen tables that it covers.
    pub(super) fn on(&self, base: Arc<Base>) -> Self {
        let (active, frozen) = self.tables.split_at(1);
        let is_covered = |newest: Position| newest <= base.position() || broken::is(Broken::MemoryDroppedEarly);
        let uncovered = frozen.iter().filter(|table| !is_covered(table.read().newest()));
        let tables = active.iter().chain(uncovered).cloned().collect();
        Self { base, tables }
    }

    /// The oldest position that can be read from here.
    pub(super) fn oldest(&self) -> Position {
        let pruned = self.tables.iter().map(|table| table.read().pruned_to()).max();
        self.base.position().max(pruned.unwrap_or_default())
    }

    /// What is in memory of an entry: nothing, or its value, or that it was deleted.
    pub(super) fn get(&self, at: Position, collection: &str, key: &[u8]) -> Option<Option<Bytes>> {
        self.tables.iter().find_map(|table| table.read().get(at, collection, key))
    }

    /// When an entry was written last, as far as is in memory.
    pub(super) fn written_at(&self, collection: &str, key: &[u8]) -> Option<Position> {
        self.tables.iter().find_map(|table| table.read().written_at(collection, key))
    }

    /// Whether an entry of a range was written after a position, as far as is in memory.
    pub(super) fn written_after(&self, collection: &str, range: &KeyRange, position: Position) -> bool {
        self.tables.iter().any(|table| table.read().written_after(collection, range, position))
    }

    /// The names of all collections of all tiers.
    pub(super) fn collections(&self) -> BTreeSet<String> {
        let mut names = collections(&self.tables);
        names.extend(self.base.collections().map(str::to_owned));
        names
    }
}

impl Frozen {
    /// The names of the collections that were changed.
    pub(crate) fn collections(&self) -> BTreeSet<String> {
        collections(&self.tables)
    }

    /// The newest version of each changed entry of a range, ascending.
    pub(crate) fn entries(&self, collection: &str, range: KeyRange) -> Entries {
        Entries::new(self.tables.clone(), self.position, (collection, range, Direction::Ascending), PAGE_KEYS)
    }
}

fn collections(tables: &[Arc<Table>]) -> BTreeSet<String> {
    tables.iter().flat_map(|table| table.read().collections().map(str::to_owned).collect::<Vec<_>>()).collect()
}

impl Entries {
    /// `want` is how many entries will be asked for, if that is known to be few.
    pub(super) fn new(
        tables: Vec<Arc<Table>>,
        at: Position,
        (collection, range, direction): (&str, KeyRange, Direction),
        want: usize,
    ) -> Self {
        Self {
            tables,
            at,
            collection: collection.to_owned(),
            direction,
            rest: Some(range),
            page: VecDeque::new(),
            page_keys: want.clamp(1, PAGE_KEYS),
        }
    }

    /// Looks at the next keys of every table, and takes what is before the first one that a table stopped at.
    fn fill(&mut self) {
        let Some(range) = self.rest.take() else { return };
        let mut found = Vec::new();
        let mut end: Option<Bytes> = None;
        for table in &self.tables {
            let (at, direction) = (self.at, self.direction);
            let scanned = table.read().scan(at, &self.collection, &range, direction, self.page_keys, &mut found);
            if let Scanned::UpTo(last) = scanned {
                end = Some(end.filter(|end| direction.compare(end, &last).is_lt()).unwrap_or(last));
            }
        }
        if self.tables.len() > 1 {
            // Stable: of equal keys, that of the newest table stays first, and is the one that is kept.
            found.sort_by(|one, other| self.direction.compare(&one.key, &other.key));
            found.dedup_by(|later, earlier| later.key == earlier.key);
        }
        self.page.extend(found);
        if let Some(end) = end {
            while self.page.back().is_some_and(|entry| self.direction.compare(&entry.key, &end).is_gt()) {
                self.page.pop_back();
            }
            self.rest = Some(match self.direction {
                Direction::Ascending => range.after(end),
                Direction::Descending => range.before(end),
            });
        }
        self.page_keys = PAGE_KEYS;
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        while self.page.is_empty() && self.rest.is_some() {
            self.fill();
        }
        self.page.pop_front()
    }
}
