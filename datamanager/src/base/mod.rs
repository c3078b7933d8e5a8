//! What does the newest checkpoint hold?
//!
//! The lowest tier of a store: the data files of one manifest, read through a cache. It never changes; a new checkpoint
//! is a new base.

use std::sync::Arc;

use futures::stream::BoxStream;

use crate::{Direction, KeyRange, Position, Result, entry::Entry, manifest::Manifest};

/// The entries of one checkpoint.
#[derive(Debug)]
pub(crate) struct Base {
    manifest: Arc<Manifest>,
}

impl Base {
    /// What a store without a checkpoint is based on.
    pub(crate) fn new(manifest: Arc<Manifest>) -> Arc<Self> {
        Arc::new(Self { manifest })
    }

    pub(crate) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The last transaction that it contains.
    pub(crate) fn position(&self) -> Position {
        self.manifest.position
    }

    /// The newest version of an entry, which may be a tombstone.
    pub(crate) async fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Entry>> {
        let _ = (collection, key);
        Ok(None)
    }

    /// The newest version of each entry of a range, tombstones among them.
    pub(crate) fn scan(
        self: &Arc<Self>,
        collection: &str,
        range: KeyRange,
        direction: Direction,
    ) -> BoxStream<'static, Result<Entry>> {
        let _ = (collection, range, direction);
        Box::pin(futures::stream::empty())
    }

    /// Whether an entry of the range was written after `position`; skips files and blocks that are all older.
    pub(crate) async fn written_after(&self, collection: &str, range: &KeyRange, position: Position) -> Result<bool> {
        let _ = (collection, range, position);
        Ok(false)
    }

    /// The names of its collections, in order.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &str> {
        self.manifest.collections.keys().map(String::as_str)
    }
}
