//! What does a checkpoint consist of?
//!
//! A manifest names the data files that hold everything up to a position. It is plain data; the bytes of it are in
//! `format`, the newest one of a store is found in `newest`.

pub(crate) mod format;
pub(crate) mod newest;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Position, history::History, record::Hash};

mod folded;

pub(crate) use folded::Folded;

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
    /// Why the store is in maintenance mode; none: it is not. Beside the entry that says it, so that opening a store
    /// reads no data file.
    pub(crate) maintenance: Option<String>,
    /// By name; a collection without files is not listed.
    pub(crate) collections: BTreeMap<String, CollectionFiles>,
}

/// The files of one collection.
///
/// Base files partition the keys: they are in order and do not overlap. Delta files lie over them in any order: of the
/// versions of an entry, the one with the newest position counts. A fold takes everything of some range of keys, out of
/// all deltas, into base files; `folded` remembers it, and so what of a delta is dead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CollectionFiles {
    pub(crate) base: Vec<FileMeta>,
    /// In the order of their newest positions, the newest first: a version that is newer than the newest of a delta
    /// needs no look into it, nor into the ones after it.
    pub(crate) deltas: Vec<DeltaMeta>,
    pub(crate) folded: Folded,
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

impl Manifest {
    /// What a store without a checkpoint has; `genesis` is the hash of its format object.
    pub(crate) fn empty(genesis: Hash) -> Self {
        Self {
            number: 0,
            previous: genesis,
            tip: Tip { lsn: 0, hash: genesis },
            position: Position::ZERO,
            history: History::default(),
            maintenance: None,
            collections: BTreeMap::new(),
        }
    }
}
