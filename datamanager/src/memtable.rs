//! What is the value of a key, at a position?
//!
//! An ordered map of collections to keys to versions. Pure data: it knows no lock and no snapshot, only the horizon
//! that its owner gives it, below which nobody reads any more.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{Direction, KeyRange, Position};

/// Versions of entries, ordered by collection and key.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    names: BTreeMap<String, usize>,
    collections: Vec<BTreeMap<Bytes, Entry>>,
    /// Keys that have a version which nobody needs once the horizon has reached the position here, in its order.
    superseded: VecDeque<(Position, usize, Bytes)>,
    pruned_to: Position,
}

#[derive(Debug)]
struct Entry {
    latest: Version,
    /// The versions before, in ascending order; mostly none, which allocates nothing.
    older: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    position: Position,
    /// None where the entry was deleted.
    value: Option<Bytes>,
}

/// How far a [`Memtable::scan`] came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// To the end of the range.
    All,
    /// To this key; go on after it.
    UpTo(Bytes),
}

impl Memtable {
    /// Writes the version of an entry at a position that is not before any written one; none deletes it.
    pub(crate) fn write(&mut self, position: Position, collection: &str, key: &Bytes, value: Option<&Bytes>) {
        let number = match self.names.get(collection) {
            Some(number) => *number,
            None if value.is_none() => return,
            None => {
                self.names.insert(collection.to_owned(), self.collections.len());
                self.collections.push(BTreeMap::new());
                self.collections.len() - 1
            }
        };
        let version = Version { position, value: value.cloned() };
        let entries = &mut self.collections[number];
        let Some(entry) = entries.get_mut(key) else {
            if version.value.is_some() {
                entries.insert(key.clone(), Entry { latest: version, older: Vec::new() });
            }
            return;
        };
        if entry.latest.position == position {
            let deletes = version.value.is_none();
            entry.latest = version;
            if deletes {
                self.superseded.push_back((position, number, key.clone()));
            }
            return;
        }
        entry.older.push(std::mem::replace(&mut entry.latest, version));
        self.superseded.push_back((position, number, key.clone()));
    }

    /// The value of an entry at a position.
    pub(crate) fn get(&self, at: Position, collection: &str, key: &[u8]) -> Option<Bytes> {
        self.entries(collection)?.get(key)?.at(at).cloned()
    }

    /// Adds entries of a range to `found`, until there are `want` of them or `steps` keys were looked at.
    pub(crate) fn scan(
        &self,
        at: Position,
        collection: &str,
        range: &KeyRange,
        direction: Direction,
        (want, steps): (usize, usize),
        found: &mut Vec<(Bytes, Bytes)>,
    ) -> Scanned {
        let Some(entries) = self.entries(collection) else { return Scanned::All };
        if range.is_empty() {
            return Scanned::All;
        }
        let keys = entries.range::<[u8], _>(range.as_slices());
        match direction {
            Direction::Ascending => scan_keys(keys, at, want, steps, found),
            Direction::Descending => scan_keys(keys.rev(), at, want, steps, found),
        }
    }

    /// The names of the collections, in their order.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Forgets versions that no read at `horizon` or later sees, for at most `steps` writes.
    pub(crate) fn prune(&mut self, horizon: Position, steps: usize) {
        for _ in 0..steps {
            if self.superseded.front().is_none_or(|(position, ..)| *position > horizon) {
                return;
            }
            let Some((_, number, key)) = self.superseded.pop_front() else { return };
            self.pruned_to = self.pruned_to.max(horizon);
            let entries = &mut self.collections[number];
            if entries.get_mut(&key).is_some_and(|entry| entry.prune(horizon)) {
                entries.remove(&key);
            }
        }
    }

    /// The oldest position whose reads are still right.
    pub(crate) fn pruned_to(&self) -> Position {
        self.pruned_to
    }

    fn entries(&self, collection: &str) -> Option<&BTreeMap<Bytes, Entry>> {
        self.names.get(collection).map(|number| &self.collections[*number])
    }

    #[cfg(test)]
    fn versions(&self) -> usize {
        self.collections.iter().flat_map(BTreeMap::values).map(|entry| entry.older.len() + 1).sum()
    }
}

impl Entry {
    fn at(&self, at: Position) -> Option<&Bytes> {
        if self.latest.position <= at {
            return self.latest.value.as_ref();
        }
        self.older.iter().rev().find(|version| version.position <= at)?.value.as_ref()
    }

    /// Returns whether nothing is left of the entry.
    fn prune(&mut self, horizon: Position) -> bool {
        if self.latest.position <= horizon {
            self.older.clear();
            return self.latest.value.is_none();
        }
        let seen = self.older.partition_point(|version| version.position <= horizon);
        // The newest of those stays, unless it says that there was nothing.
        let newest_is_needed = seen.checked_sub(1).is_some_and(|newest| self.older[newest].value.is_some());
        self.older.drain(..seen - usize::from(newest_is_needed));
        false
    }
}

fn scan_keys<'a>(
    mut keys: impl Iterator<Item = (&'a Bytes, &'a Entry)>,
    at: Position,
    want: usize,
    steps: usize,
    found: &mut Vec<(Bytes, Bytes)>,
) -> Scanned {
    for _ in 1..steps.max(1) {
        if found.len() >= want {
            break;
        }
        let Some((key, entry)) = keys.next() else { return Scanned::All };
        found.extend(entry.at(at).map(|value| (key.clone(), value.clone())));
    }
    // One more, looked at even if it fills the page, so that there is a key to go on after.
    let Some((key, entry)) = keys.next() else { return Scanned::All };
    found.extend(entry.at(at).map(|value| (key.clone(), value.clone())));
    Scanned::UpTo(key.clone())
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;

    fn at(lsn: u64) -> Position {
        Position { lsn, index: 0 }
    }

    fn write(table: &mut Memtable, lsn: u64, key: &'static str, value: Option<&'static str>) {
        table.write(at(lsn), "c", &Bytes::from(key), value.map(Bytes::from).as_ref());
    }

    #[test]
    fn a_read_sees_the_newest_version_at_its_position() {
        let mut table = Memtable::default();
        write(&mut table, 1, "k", Some("one"));
        write(&mut table, 3, "k", None);
        write(&mut table, 5, "k", Some("five"));
        let seen: Vec<_> = (0..=6).map(|lsn| table.get(at(lsn), "c", b"k")).collect();
        let one = Some(Bytes::from("one"));
        let five = Some(Bytes::from("five"));
        assert_eq!(seen, [None, one.clone(), one, None, None, five.clone(), five]);
    }

    #[test]
    fn pruning_keeps_what_reads_from_the_horizon_on_see_and_nothing_else() {
        let mut table = Memtable::default();
        for (lsn, value) in [(1, Some("one")), (2, Some("two")), (4, None), (6, Some("six")), (8, None)] {
            write(&mut table, lsn, "k", value);
        }
        for (horizon, versions) in [(1, 5), (3, 4), (4, 2), (5, 2), (6, 2), (7, 2), (8, 0)] {
            let before: Vec<_> = (horizon..10).map(|lsn| table.get(at(lsn), "c", b"k")).collect();
            table.prune(at(horizon), usize::MAX);
            let after: Vec<_> = (horizon..10).map(|lsn| table.get(at(lsn), "c", b"k")).collect();
            assert_eq!(before, after, "horizon {horizon}");
            assert_eq!(table.versions(), versions, "horizon {horizon}");
        }
        assert!(table.superseded.is_empty());
    }

    #[test]
    fn the_last_write_of_a_transaction_wins_and_leaves_nothing_behind() {
        let mut table = Memtable::default();
        write(&mut table, 1, "k", Some("first"));
        write(&mut table, 1, "k", Some("second"));
        assert_eq!(table.get(at(1), "c", b"k"), Some(Bytes::from("second")));
        write(&mut table, 2, "k", Some("third"));
        write(&mut table, 2, "k", None);
        assert_eq!(table.get(at(2), "c", b"k"), None);
        write(&mut table, 2, "new", Some("x"));
        write(&mut table, 2, "new", None);
        table.prune(at(2), usize::MAX);
        assert_eq!(table.versions(), 0);
    }

    #[test]
    fn a_scan_goes_on_where_its_steps_ended() {
        let mut table = Memtable::default();
        for (n, key) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            write(&mut table, n as u64 + 1, key, Some("v"));
        }
        write(&mut table, 9, "c", None);
        for direction in [Direction::Ascending, Direction::Descending] {
            let mut range = KeyRange::all();
            let mut found = Vec::new();
            while let Scanned::UpTo(last) = table.scan(at(9), "c", &range, direction, (9, 1), &mut found) {
                range = match direction {
                    Direction::Ascending => range.after(last),
                    Direction::Descending => range.before(last),
                };
            }
            let mut keys: Vec<_> = found.iter().map(|(key, _)| &key[..]).collect();
            if direction == Direction::Descending {
                keys.reverse();
            }
            assert_eq!(keys, [b"a", b"b", b"d", b"e"]);
        }
    }

    #[test]
    fn an_empty_or_inverted_range_holds_nothing() {
        let mut table = Memtable::default();
        write(&mut table, 1, "k", Some("v"));
        let key = |key: &'static str| Bytes::from(key);
        for (start, end) in [
            (Bound::Included(key("z")), Bound::Included(key("a"))),
            (Bound::Excluded(key("k")), Bound::Excluded(key("k"))),
            (Bound::Included(key("k")), Bound::Excluded(key("k"))),
        ] {
            let range = KeyRange { start, end };
            let mut found = Vec::new();
            assert_eq!(table.scan(at(1), "c", &range, Direction::Ascending, (9, 9), &mut found), Scanned::All);
            assert!(found.is_empty(), "{range:?}");
        }
    }
}
