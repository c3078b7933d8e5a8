//! What is written under a key, and when?

use bytes::Bytes;

use crate::Position;

/// One version of an entry, as every tier of a store hands it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    /// The transaction that wrote it.
    pub(crate) position: Position,
    /// None where the entry was deleted: a tombstone.
    pub(crate) value: Option<Bytes>,
}
