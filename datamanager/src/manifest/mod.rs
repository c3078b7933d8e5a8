//! What does a checkpoint consist of?
//!
//! A manifest names the data files that hold everything up to a position. It is plain data; the bytes of it are in
//! `format`, the newest one of a store is found in `newest`.

pub(crate) mod format;
pub(crate) mod newest;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Position, history::History, record::Hash};

/// The last batch of the log that something contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) lsn: u64,
    pub(crate) hash: Hash,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Counted from 1; 0 is the empty state that no object describes.
    pub(crate) number: u64,
    /// The hash of the manifest before; of the format object, for the first.
    pub(crate) previous: Hash,
    /// The last batch that it covers.
    pub(crate) tip: Tip,
    /// The last transaction of that batch.
    pub(crate) position: Position,
    pub(crate) history: History,
    /// By name; a collection without files is not listed.
    pub(crate) collections: BTreeMap<String, CollectionFiles>,
}

/// The files of one collection.
///
/// Base files partition the keys: they are in order and do not overlap. Delta files lie over them, the newer over the
/// older. A cursor sweeps the keys in a circle; a fold takes everything from the cursor up to some key out of all deltas
/// and into base files, and moves the cursor there. So what of a delta is dead is the arc from its birth to the cursor,
/// and it is gone when the cursor has come round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CollectionFiles {
    pub(crate) base: Vec<FileMeta>,
    /// The newest first.
    pub(crate) deltas: Vec<DeltaMeta>,
    /// Where the next fold begins; empty: at the first key.
    pub(crate) cursor: Bytes,
}

/// A data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileMeta {
    pub(crate) id: FileId,
    /// The size of the object in bytes.
    pub(crate) size: u64,
    /// How many bytes at its end are index, filter and footer: with them, a block is one range read away.
    pub(crate) tail: u32,
    /// The SHA-256 of the tail, which holds the checksums of the blocks.
    pub(crate) tail_hash: Hash,
    /// How many entries it has, tombstones among them.
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    pub(crate) first: Bytes,
    pub(crate) last: Bytes,
    /// The newest position of any entry in it.
    pub(crate) newest: Position,
}

/// A delta file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeltaMeta {
    pub(crate) file: FileMeta,
    /// Where the cursor was when it was written.
    pub(crate) birth: Bytes,
    /// Whether the cursor has come round to the first key since.
    pub(crate) wrapped: bool,
    /// Which keys it has, with one false positive in a thousand.
    pub(crate) filter: Bytes,
}

/// The name of a data file in its collection: no two writers ever make the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    /// The manifest that it was written for.
    pub(crate) manifest: u64,
    /// Who wrote it: the first bytes of the id that the writer drew.
    pub(crate) writer: u64,
    /// Counted by that writer.
    pub(crate) number: u32,
}

impl DeltaMeta {
    /// Whether an entry of the delta with this key still counts, where the collection's cursor is at `cursor`.
    pub(crate) fn is_live(&self, key: &[u8], cursor: &[u8]) -> bool {
        if self.wrapped {
            // The cursor came round: dead are the keys from the birth to the end, and from the beginning to the cursor.
            key < &self.birth[..] && key >= cursor
        } else {
            // Dead are the keys from the birth to the cursor.
            key < &self.birth[..] || key >= cursor
        }
    }
}

impl Manifest {
    /// What a store without a checkpoint has; `genesis` is the hash of its format object.
    pub(crate) fn empty(genesis: Hash) -> Self {
        Self {
            number: 0,
            previous: genesis,
            tip: Tip { lsn: 0, hash: genesis },
            position: Position::ZERO,
            history: History::default(),
            collections: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(birth: &'static str, wrapped: bool) -> DeltaMeta {
        let file = FileMeta {
            id: FileId { manifest: 1, writer: 7, number: 1 },
            size: 1,
            tail: 1,
            tail_hash: [0; 32],
            entries: 1,
            tombstones: 0,
            first: Bytes::from("a"),
            last: Bytes::from("z"),
            newest: Position::ZERO,
        };
        DeltaMeta { file, birth: birth.into(), wrapped, filter: Bytes::new() }
    }

    #[test]
    fn a_delta_is_dead_between_its_birth_and_the_cursor() {
        let live = |birth, wrapped, cursor: &str| {
            let delta = delta(birth, wrapped);
            ["a", "c", "e", "g"].into_iter().filter(|key| delta.is_live(key.as_bytes(), cursor.as_bytes())).collect()
        };
        let newborn: Vec<&str> = live("c", false, "c");
        assert_eq!(newborn, ["a", "c", "e", "g"]);
        let rest: Vec<&str> = live("c", false, "e");
        assert_eq!(rest, ["a", "e", "g"]);
        let wrapped: Vec<&str> = live("e", true, "");
        assert_eq!(wrapped, ["a", "c"]);
        let nearly_round: Vec<&str> = live("e", true, "c");
        assert_eq!(nearly_round, ["c"]);
    }
}
