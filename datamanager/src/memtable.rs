//! What is the value of a key, at a position, as far as one table knows?
//!
//! An ordered map of collections to keys to versions. Pure data: it knows no lock and no snapshot, only the horizon
//! that its owner gives it, below which nobody reads any more. A deleted entry stays as a tombstone, because it may
//! hide one in a table or file below, and because it says when the key was written last.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use bytes::Bytes;

use crate::{
    Direction, KeyRange, Position,
    broken::{self, Broken},
    entry::Entry,
};

/// Versions of entries, ordered by collection and key.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    names: BTreeMap<String, usize>,
    collections: Vec<Collection>,
    /// Keys with a version that nobody needs once the horizon has reached the position here, in its order.
    superseded: VecDeque<Place>,
    /// Keys that are deleted, each at least once; kept only where nothing is below, so that tombstones may go.
    tombstones: Option<BTreeSet<Place>>,
    pruned_to: Position,
    newest: Position,
}

#[derive(Debug, Default)]
struct Collection {
    latest: BTreeSet<Version>,
    /// The versions before, in ascending order. Most keys have none, so their place is not in `latest`.
    older: BTreeMap<Box<[u8]>, Vec<Version>>,
    newest: Position,
}

/// A write: its position, the number of its collection, its key.
type Place = (Position, usize, Box<[u8]>);

/// One version of an entry in one allocation, ordered by its key:
/// lsn u64 | index u32 | length of the key u32, its highest bit set in a tombstone | key | value.
#[derive(Debug)]
struct Version(Box<[u8]>);

/// How far a [`Memtable::scan`] came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// To the end of the range.
    All,
    /// To this key; go on after it.
    UpTo(Bytes),
}

impl Memtable {
    /// A table with nothing below it, now and later, which therefore need not keep tombstones for ever.
    pub(crate) fn bottom() -> Self {
        Self { tombstones: Some(BTreeSet::new()), ..Self::default() }
    }

    /// Writes the version of an entry at a position that is not before any written one; none deletes it.
    pub(crate) fn write(&mut self, position: Position, collection: &str, key: &[u8], value: Option<&[u8]>) {
        let number = self.number(collection);
        let collection = &mut self.collections[number];
        collection.newest = position;
        self.newest = position;
        let old = collection.latest.replace(Version::new(position, key, value));
        let was_deleted = old.as_ref().is_some_and(Version::is_tombstone);
        if let Some(old) = old.filter(|old| old.position() < position) {
            collection.older.entry(key.into()).or_default().push(old);
            self.superseded.push_back((position, number, key.into()));
        }
        if let Some(tombstones) = self.tombstones.as_mut().filter(|_| value.is_none() && !was_deleted) {
            tombstones.insert((position, number, key.into()));
        }
    }

    /// What the table says of an entry at a position: nothing, or its value, or that it was deleted.
    pub(crate) fn get(&self, at: Position, collection: &str, key: &[u8]) -> Option<Option<Bytes>> {
        let collection = self.collection(collection)?;
        let version = collection.at(collection.latest.get(key)?, at)?;
        Some(version.value().map(Bytes::copy_from_slice))
    }

    /// When an entry was written last, here.
    pub(crate) fn written_at(&self, collection: &str, key: &[u8]) -> Option<Position> {
        let latest = self.collection(collection)?.latest.get(key)?;
        (!latest.is_tombstone() || !broken::is(Broken::DeletesUnrecorded)).then(|| latest.position())
    }

    /// Whether an entry of a range was written after a position.
    pub(crate) fn written_after(&self, collection: &str, range: &KeyRange, position: Position) -> bool {
        self.collection(collection).is_some_and(|collection| {
            collection.newest > position
                && !range.is_empty()
                && collection.latest.range::<[u8], _>(range.as_slices()).any(|latest| latest.position() > position)
        })
    }

    /// Adds what is known of the entries of a range to `found`, tombstones among it, from at most `steps` keys.
    pub(crate) fn scan(
        &self,
        at: Position,
        collection: &str,
        range: &KeyRange,
        direction: Direction,
        steps: usize,
        found: &mut Vec<Entry>,
    ) -> Scanned {
        let Some(collection) = self.collection(collection).filter(|_| !range.is_empty()) else { return Scanned::All };
        let keys = collection.latest.range::<[u8], _>(range.as_slices());
        match direction {
            Direction::Ascending => collection.scan(keys, at, steps, found),
            Direction::Descending => collection.scan(keys.rev(), at, steps, found),
        }
    }

    /// The names of the collections, in their order.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The last write; zero if there is none.
    pub(crate) fn newest(&self) -> Position {
        self.newest
    }

    /// Forgets versions that no read at `horizon` or later sees, for at most `steps` writes, and if nothing is below,
    /// as many tombstones that are no longer needed to find conflicts with reads after `forgotten`.
    pub(crate) fn prune(&mut self, horizon: Position, forgotten: Position, steps: usize) {
        for _ in 0..steps {
            if self.superseded.front().is_none_or(|(position, ..)| *position > horizon) {
                break;
            }
            let Some((position, number, key)) = self.superseded.pop_front() else { break };
            self.pruned_to = self.pruned_to.max(position);
            let older = &mut self.collections[number].older;
            if let Some(versions) = older.get_mut(&key) {
                let unseen = versions.partition_point(|version| version.position() < position);
                versions.drain(..unseen);
                if versions.is_empty() {
                    older.remove(&key);
                }
            }
        }
        let Some(tombstones) = &mut self.tombstones else { return };
        for _ in 0..steps {
            let Some((_, number, key)) = tombstones.first().filter(|(position, ..)| *position <= forgotten) else {
                break;
            };
            let collection = &mut self.collections[*number];
            if collection.older.contains_key(key) {
                // It still hides a version that an old snapshot reads.
                break;
            }
            let Some((_, number, key)) = tombstones.pop_first() else { break };
            let latest = collection.latest.get(&key[..]).filter(|latest| latest.is_tombstone());
            match latest.map(Version::position) {
                // Deleted again since.
                Some(position) if position > forgotten => drop(tombstones.insert((position, number, key))),
                Some(_) => drop(collection.latest.remove(&key[..])),
                None => {}
            }
        }
    }

    /// The oldest position whose reads are still right.
    pub(crate) fn pruned_to(&self) -> Position {
        self.pruned_to
    }

    fn number(&mut self, collection: &str) -> usize {
        if let Some(number) = self.names.get(collection) {
            return *number;
        }
        self.names.insert(collection.to_owned(), self.collections.len());
        self.collections.push(Collection::default());
        self.collections.len() - 1
    }

    fn collection(&self, name: &str) -> Option<&Collection> {
        self.names.get(name).map(|number| &self.collections[*number])
    }
}

impl Collection {
    fn at<'a>(&'a self, latest: &'a Version, at: Position) -> Option<&'a Version> {
        if latest.position() <= at {
            return Some(latest);
        }
        self.older.get(latest.key())?.iter().rev().find(|version| version.position() <= at)
    }

    fn scan<'a>(
        &'a self,
        mut keys: impl Iterator<Item = &'a Version>,
        at: Position,
        steps: usize,
        found: &mut Vec<Entry>,
    ) -> Scanned {
        for step in 1.. {
            let Some(latest) = keys.next() else { return Scanned::All };
            let entry = self.at(latest, at).map(Version::to_entry);
            let last = (step >= steps).then(|| Bytes::copy_from_slice(latest.key()));
            found.extend(entry);
            if let Some(last) = last {
                return Scanned::UpTo(last);
            }
        }
        Scanned::All
    }
}

impl Version {
    const HEAD_BYTES: usize = 8 + 4 + 4;
    const TOMBSTONE: u32 = 1 << 31;

    fn new(position: Position, key: &[u8], value: Option<&[u8]>) -> Self {
        let mut bytes = Vec::with_capacity(Self::HEAD_BYTES + key.len() + value.map_or(0, <[u8]>::len));
        bytes.extend(position.lsn.to_le_bytes());
        bytes.extend(position.index.to_le_bytes());
        let tombstone = if value.is_none() { Self::TOMBSTONE } else { 0 };
        bytes.extend((key.len() as u32 | tombstone).to_le_bytes());
        bytes.extend(key);
        bytes.extend(value.unwrap_or_default());
        Self(bytes.into_boxed_slice())
    }

    fn position(&self) -> Position {
        Position { lsn: u64::from_le_bytes(self.head(0)), index: u32::from_le_bytes(self.head(8)) }
    }

    fn is_tombstone(&self) -> bool {
        u32::from_le_bytes(self.head(12)) & Self::TOMBSTONE != 0
    }

    fn key(&self) -> &[u8] {
        &self.0[Self::HEAD_BYTES..self.key_end()]
    }

    fn value(&self) -> Option<&[u8]> {
        (!self.is_tombstone()).then(|| &self.0[self.key_end()..])
    }

    fn to_entry(&self) -> Entry {
        Entry {
            key: Bytes::copy_from_slice(self.key()),
            position: self.position(),
            value: self.value().map(Bytes::copy_from_slice),
        }
    }

    fn key_end(&self) -> usize {
        Self::HEAD_BYTES + (u32::from_le_bytes(self.head(12)) & !Self::TOMBSTONE) as usize
    }

    fn head<const N: usize>(&self, from: usize) -> [u8; N] {
        *self.0[from..].first_chunk().expect("every version begins with a head")
    }
}

impl Borrow<[u8]> for Version {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;

    fn at(lsn: u64) -> Position {
        Position { lsn, index: 0 }
    }

    fn write(table: &mut Memtable, lsn: u64, key: &str, value: Option<&str>) {
        table.write(at(lsn), "c", key.as_bytes(), value.map(str::as_bytes));
    }

    fn versions(table: &Memtable) -> usize {
        let older = |collection: &Collection| collection.older.values().map(Vec::len).sum::<usize>();
        table.collections.iter().map(|collection| collection.latest.len() + older(collection)).sum()
    }

    #[test]
    fn a_read_sees_the_newest_version_at_its_position_and_tells_a_delete_from_silence() {
        let mut table = Memtable::default();
        write(&mut table, 1, "k", Some("one"));
        write(&mut table, 3, "k", None);
        write(&mut table, 5, "k", Some(""));
        let seen: Vec<_> = (0..=6).map(|lsn| table.get(at(lsn), "c", b"k")).collect();
        let one = Some(Some(Bytes::from("one")));
        let empty = Some(Some(Bytes::new()));
        assert_eq!(seen, [None, one.clone(), one, Some(None), Some(None), empty.clone(), empty]);
        assert_eq!(table.written_at("c", b"k"), Some(at(5)));
        assert_eq!(table.written_at("c", b"other"), None);
        assert_eq!(table.get(at(9), "other", b"k"), None);
    }

    #[test]
    fn pruning_keeps_what_reads_from_the_horizon_on_see_and_nothing_else() {
        let mut table = Memtable::default();
        for (lsn, value) in [(1, Some("one")), (2, Some("two")), (4, None), (6, Some("six")), (8, None)] {
            write(&mut table, lsn, "k", value);
        }
        for (horizon, left, pruned_to) in [(1, 5, 0), (3, 4, 2), (4, 3, 4), (5, 3, 4), (6, 2, 6), (7, 2, 6), (8, 1, 8)]
        {
            let before: Vec<_> = (horizon..10).map(|lsn| table.get(at(lsn), "c", b"k")).collect();
            table.prune(at(horizon), Position::ZERO, usize::MAX);
            let after: Vec<_> = (horizon..10).map(|lsn| table.get(at(lsn), "c", b"k")).collect();
            assert_eq!(before, after, "horizon {horizon}");
            assert_eq!(versions(&table), left, "horizon {horizon}");
            assert_eq!(table.pruned_to(), at(pruned_to), "horizon {horizon}");
        }
        assert!(table.superseded.is_empty() && table.collections[0].older.is_empty());
        table.prune(at(9), at(9), usize::MAX);
        assert_eq!(versions(&table), 1, "the tombstone may hide something below");
    }

    #[test]
    fn where_nothing_is_below_tombstones_go_once_they_are_forgotten_and_not_before() {
        let mut table = Memtable::bottom();
        write(&mut table, 1, "k", Some("one"));
        write(&mut table, 2, "k", None);
        write(&mut table, 3, "absent", None);
        write(&mut table, 4, "absent", None);
        write(&mut table, 5, "again", None);
        write(&mut table, 6, "again", Some("six"));
        table.prune(at(1), at(2), 100);
        assert_eq!(table.get(at(1), "c", b"k"), Some(Some("one".into())), "an old snapshot still reads it");
        assert_eq!(table.get(at(2), "c", b"k"), Some(None));
        table.prune(at(9), at(3), 100);
        assert_eq!(table.written_at("c", b"k"), None);
        assert_eq!(table.written_at("c", b"absent"), Some(at(4)), "the later delete is not forgotten");
        table.prune(at(9), at(4), 100);
        assert_eq!(table.written_at("c", b"absent"), None);
        table.prune(at(9), at(9), 100);
        assert_eq!(table.get(at(9), "c", b"again"), Some(Some("six".into())));
        assert_eq!(versions(&table), 1);
        assert_eq!(table.tombstones.as_ref().map(BTreeSet::len), Some(0));
    }

    #[test]
    fn the_last_write_of_a_transaction_wins_and_leaves_nothing_behind() {
        let mut table = Memtable::default();
        write(&mut table, 1, "k", Some("first"));
        write(&mut table, 1, "k", Some("second"));
        assert_eq!(table.get(at(1), "c", b"k"), Some(Some("second".into())));
        write(&mut table, 2, "k", Some("third"));
        write(&mut table, 2, "k", None);
        assert_eq!(table.get(at(1), "c", b"k"), Some(Some("second".into())));
        assert_eq!(table.get(at(2), "c", b"k"), Some(None));
        table.prune(at(2), Position::ZERO, usize::MAX);
        assert_eq!(versions(&table), 1);
    }

    #[test]
    fn a_scan_goes_on_where_its_steps_ended_and_shows_tombstones() {
        let mut table = Memtable::default();
        for (n, key) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            write(&mut table, n as u64 + 1, key, Some("v"));
        }
        write(&mut table, 9, "c", None);
        write(&mut table, 10, "late", Some("v"));
        for direction in [Direction::Ascending, Direction::Descending] {
            let mut range = KeyRange::all();
            let mut found = Vec::new();
            while let Scanned::UpTo(last) = table.scan(at(9), "c", &range, direction, 1, &mut found) {
                range = match direction {
                    Direction::Ascending => range.after(last),
                    Direction::Descending => range.before(last),
                };
            }
            if direction == Direction::Descending {
                found.reverse();
            }
            let seen: Vec<_> = found.iter().map(|entry| (&entry.key[..], entry.value.is_some())).collect();
            assert_eq!(seen, [(&b"a"[..], true), (b"b", true), (b"c", false), (b"d", true), (b"e", true)]);
            assert_eq!(found[2].position, at(9));
        }
    }

    #[test]
    fn a_range_was_written_after_a_position_if_one_of_its_entries_was() {
        let mut table = Memtable::default();
        write(&mut table, 1, "a", Some("v"));
        write(&mut table, 3, "b", None);
        for (range, lsn, written) in [
            (KeyRange::all(), 2, true),
            (KeyRange::all(), 3, false),
            (KeyRange::prefix("a"), 0, true),
            (KeyRange::prefix("a"), 1, false),
            (KeyRange::prefix("b"), 2, true),
            (KeyRange::all().after("z").before("a"), 0, false),
        ] {
            assert_eq!(table.written_after("c", &range, at(lsn)), written, "{range:?} {lsn}");
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
            assert_eq!(table.scan(at(1), "c", &range, Direction::Ascending, 9, &mut found), Scanned::All);
            assert!(found.is_empty(), "{range:?}");
        }
    }
}
