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
    /// In place of data files.
    #[cfg(test)]
    pub(crate) held: testing::Held,
}

impl Base {
    /// What a store without a checkpoint is based on.
    pub(crate) fn new(manifest: Arc<Manifest>) -> Arc<Self> {
        Arc::new(Self {
            manifest,
            #[cfg(test)]
            held: testing::Held::default(),
        })
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
        #[cfg(test)]
        return self.held.get(collection, key);
        #[cfg(not(test))]
        {
            let _ = (collection, key);
            Ok(None)
        }
    }

    /// The newest version of each entry of a range, tombstones among them.
    pub(crate) fn scan(
        self: &Arc<Self>,
        collection: &str,
        range: KeyRange,
        direction: Direction,
    ) -> BoxStream<'static, Result<Entry>> {
        #[cfg(test)]
        return self.held.scan(collection, &range, direction);
        #[cfg(not(test))]
        {
            let _ = (collection, range, direction);
            Box::pin(futures::stream::empty())
        }
    }

    /// Whether an entry of the range was written after `position`; skips files and blocks that are all older.
    pub(crate) async fn written_after(&self, collection: &str, range: &KeyRange, position: Position) -> Result<bool> {
        #[cfg(test)]
        return self.held.written_after(collection, range, position);
        #[cfg(not(test))]
        {
            let _ = (collection, range, position);
            Ok(false)
        }
    }

    /// The names of its collections, in order.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &str> {
        self.manifest.collections.keys().map(String::as_str)
    }
}

/// A base without data files, for the tests of what is above it.
#[cfg(test)]
pub(crate) mod testing {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicBool, Ordering},
    };

    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use runyard_objectstorage::ObjectKey;

    use super::*;
    use crate::Error;

    pub(crate) type Held = Arc<Files>;

    #[derive(Debug, Default)]
    pub(crate) struct Files {
        pub(crate) entries: BTreeMap<String, BTreeMap<Bytes, Entry>>,
        /// Whether the files were deleted.
        pub(crate) gone: AtomicBool,
    }

    impl Base {
        pub(crate) fn holding(manifest: Arc<Manifest>, entries: BTreeMap<String, BTreeMap<Bytes, Entry>>) -> Arc<Self> {
            Arc::new(Self { manifest, held: Arc::new(Files { entries, ..Files::default() }) })
        }
    }

    impl Files {
        fn present(&self) -> Result<()> {
            if self.gone.load(Ordering::SeqCst) {
                let key = ObjectKey::parse("data/c/1").expect("a key");
                return Err(Error::storage("reading a data file")(runyard_objectstorage::Error::NotFound { key }));
            }
            Ok(())
        }

        fn range(&self, collection: &str, range: &KeyRange) -> Vec<Entry> {
            let entries = self.entries.get(collection).into_iter().flat_map(BTreeMap::values);
            entries.filter(|entry| range.contains(&entry.key)).cloned().collect()
        }

        pub(super) fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Entry>> {
            self.present()?;
            Ok(self.entries.get(collection).and_then(|entries| entries.get(key)).cloned())
        }

        pub(super) fn scan(
            &self,
            collection: &str,
            range: &KeyRange,
            direction: Direction,
        ) -> BoxStream<'static, Result<Entry>> {
            if let Err(error) = self.present() {
                return stream::iter([Err(error)]).boxed();
            }
            let mut entries = self.range(collection, range);
            entries.sort_by(|one, other| direction.compare(&one.key, &other.key));
            stream::iter(entries).map(Ok).boxed()
        }

        pub(super) fn written_after(&self, collection: &str, range: &KeyRange, position: Position) -> Result<bool> {
            self.present()?;
            Ok(self.range(collection, range).iter().any(|entry| entry.position > position))
        }
    }
}
