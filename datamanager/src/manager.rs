//! The trait of a transactional store, and the values that it speaks in.
//!
//! Small and object-safe: keys and values are bytes. Typed collections and retries are in
//! [`DataManagerExt`](crate::DataManagerExt).

use std::{any::Any, cmp::Ordering, fmt, ops::Bound, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    Position, Result,
    system::{Internal, System},
};

/// A transactional, ordered store of collections of key-value entries.
///
/// Reads come from a [`Snapshot`], so they are consistent with each other; a [`Transaction`] conflicts only with
/// changes of what it says it has read.
#[async_trait]
pub trait DataManager: Send + Sync + fmt::Debug + 'static {
    /// Everything that was committed until now, held readable as long as the snapshot lives.
    fn snapshot(&self) -> Snapshot;

    /// Reads one entry.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if the snapshot is one of another store, or the name of the collection
    /// begins with NUL: those are the store's own. [`Error::PositionExpired`](crate::Error::PositionExpired) if the
    /// snapshot was held for so long that what it needs was cleaned away.
    async fn get(&self, at: &Snapshot, collection: &str, key: &[u8]) -> Result<Option<Bytes>>;

    /// Reads entries in the order of their keys, at most [`Scan::limit`] of them.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    async fn scan(&self, at: &Snapshot, scan: &Scan) -> Result<Page>;

    /// Commits all actions of a transaction or none of them. `Ok` means that they are durable and visible.
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict) if something in its read set changed;
    /// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if the storage lost the reply and could not be asked.
    ///
    /// # Cancel safety
    /// Dropping the future before it completes may still commit.
    async fn commit(&self, transaction: Transaction) -> Result<Position>;

    /// Yields every transaction after a position, in order, as soon as it is visible to new snapshots. Never ends by
    /// itself, but for an error or when the data manager is closed.
    fn follow(&self, after: Position) -> BoxStream<'static, Result<Committed>>;

    /// Waits until a position, committed here or by another process, is visible to new snapshots.
    async fn wait_for(&self, position: Position) -> Result<()>;

    /// The way to what the store keeps for itself, which only this crate can go.
    #[doc(hidden)]
    fn system(&self, token: Internal) -> Option<&dyn System> {
        let _ = token;
        None
    }
}

/// A consistent view of a store. Cloning is cheap; dropping the last clone releases what it holds.
#[derive(Clone)]
pub struct Snapshot {
    position: Position,
    pin: Arc<dyn Any + Send + Sync>,
}

impl Snapshot {
    /// Made by an implementation; whatever keeps `position` readable is released when `pin` is dropped.
    pub fn new(position: Position, pin: Arc<dyn Any + Send + Sync>) -> Self {
        Self { position, pin }
    }

    /// The last transaction that the snapshot contains.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What the implementation that made it gave it, if that is a `T`: a snapshot of another one has something else.
    pub fn pin<T: Any>(&self) -> Option<&T> {
        self.pin.downcast_ref()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.position)
    }
}

/// Which entries to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The collection.
    pub collection: String,
    /// The keys.
    pub range: KeyRange,
    /// From the first key up, or from the last one down.
    pub direction: Direction,
    /// The most entries to return; at least 1.
    pub limit: usize,
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Ascending by the bytes of the key.
    #[default]
    Ascending,
    /// Descending.
    Descending,
}

impl Direction {
    /// Which of two keys comes first.
    pub(crate) fn compare(self, one: &[u8], other: &[u8]) -> Ordering {
        match self {
            Self::Ascending => one.cmp(other),
            Self::Descending => other.cmp(one),
        }
    }
}

/// A range of keys, ordered by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// Where it begins.
    pub start: Bound<Bytes>,
    /// Where it ends.
    pub end: Bound<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        let start = Bound::Included(Bytes::copy_from_slice(prefix));
        // The first string after all that begin with the prefix: its last byte that can grow is grown, the rest cut.
        let end = match prefix.iter().rposition(|byte| *byte != u8::MAX) {
            None => Bound::Unbounded,
            Some(last) => {
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                Bound::Excluded(end.into())
            }
        };
        Self { start, end }
    }

    /// The same range without the keys up to and with `key`.
    pub fn after(self, key: impl AsRef<[u8]>) -> Self {
        Self { start: Bound::Excluded(Bytes::copy_from_slice(key.as_ref())), ..self }
    }

    /// The same range without the keys from `key` on.
    pub fn before(self, key: impl AsRef<[u8]>) -> Self {
        Self { end: Bound::Excluded(Bytes::copy_from_slice(key.as_ref())), ..self }
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
                start >= end
            }
            _ => false,
        }
    }

    /// The range as the map types of the standard library take it; they panic on one that [is empty](Self::is_empty).
    pub(crate) fn as_slices(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.start.as_ref().map(|key| &key[..]), self.end.as_ref().map(|key| &key[..]))
    }

    /// Whether a key is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        let after_start = match &self.start {
            Bound::Unbounded => true,
            Bound::Included(start) => key >= start,
            Bound::Excluded(start) => key > start,
        };
        after_start
            && match &self.end {
                Bound::Unbounded => true,
                Bound::Included(end) => key <= end,
                Bound::Excluded(end) => key < end,
            }
    }
}

/// Some entries, in the order of the scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Whether the range has more entries after the last one here.
    pub more: bool,
}

/// A set of changes, and what they were decided from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must not have changed.
    pub reads: ReadSet,
    /// What to change, in this order; a later action on a key wins.
    pub actions: Vec<Action>,
}

impl Transaction {
    /// Whether a commit would leave everything as it is: there are no actions, and no change group is taken.
    pub fn changes_nothing(&self) -> bool {
        self.actions.is_empty() && self.reads.groups.is_empty()
    }
}

/// What a transaction was decided from. Empty: nothing, it always commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// The position of the snapshot that was read.
    pub position: Position,
    /// Entries, present or absent, by collection and key.
    pub keys: Vec<(String, Bytes)>,
    /// Ranges that were scanned.
    pub ranges: Vec<(String, KeyRange)>,
    /// Change groups: named optimistic locks. They are checked like keys, and the commit changes each of them.
    pub groups: Vec<String>,
}

impl ReadSet {
    /// Whether nothing was read or locked.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty() && self.groups.is_empty()
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sets an entry.
    Put {
        /// The collection.
        collection: String,
        /// The key.
        key: Bytes,
        /// The new value.
        value: Bytes,
    },
    /// Removes an entry; removing what is not there is no error.
    Delete {
        /// The collection.
        collection: String,
        /// The key.
        key: Bytes,
    },
    /// Sets an entry whose key is where the transaction lands: [`Position::append_key`] of its position and of the
    /// number of this append in it, counted from 0.
    Append {
        /// The collection.
        collection: String,
        /// The value.
        value: Bytes,
    },
}

/// A committed transaction, as a follower sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where it is.
    pub position: Position,
    /// What it changed, in its order; appends have their key.
    pub changes: Vec<Change>,
}

/// The change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: Bytes,
    /// The new value, or none if the entry was removed.
    pub value: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_holds_exactly_what_begins_with_it() {
        for (prefix, inside, outside) in [
            (&b"a"[..], vec![&b"a"[..], b"a\xff\xff", b"ab"], vec![&b"b"[..], b"", b"A"]),
            (b"a\xff", vec![b"a\xff", b"a\xff\x00"], vec![b"a", b"b"]),
            (b"\xff\xff", vec![b"\xff\xff", b"\xff\xff\xff"], vec![b"\xff", b"a"]),
            (b"", vec![b"", b"\xff"], vec![]),
        ] {
            let range = KeyRange::prefix(prefix);
            assert!(inside.iter().all(|key| range.contains(key)), "{prefix:?}");
            assert!(!outside.iter().any(|key| range.contains(key)), "{prefix:?}");
        }
    }
}
