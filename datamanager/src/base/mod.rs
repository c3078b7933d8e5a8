//! What does the newest checkpoint hold?
//!
//! The lowest tier of a store: the data files of one manifest, read through a cache. It never changes; a new checkpoint
//! is a new base. Of an entry that is in several files, the newest version counts: of live deltas by its position, then
//! that of the base file whose keys it is among.

use std::{ops::Bound, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Direction, KeyRange, Position, Result,
    entry::Entry,
    manifest::{CollectionFiles, DeltaMeta, FileMeta, Folded, Manifest},
    merge::{EntryStream, merge},
    record::Hash,
    table::{Caching, DataFiles, filter_hash, filter_may_contain, missing},
};

mod expired;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// The entries of one checkpoint.
#[derive(Debug)]
pub(crate) struct Base {
    manifest: Arc<Manifest>,
    /// None where the manifest names no files.
    files: Option<DataFiles>,
}

impl Base {
    /// What a manifest says, read from the files that it names.
    pub(crate) fn new(manifest: Arc<Manifest>, files: DataFiles) -> Arc<Self> {
        Arc::new(Self { manifest, files: Some(files) })
    }

    /// What a store without a checkpoint is based on; `genesis` is the hash of its format object.
    pub(crate) fn empty(genesis: Hash) -> Arc<Self> {
        Arc::new(Self { manifest: Arc::new(Manifest::empty(genesis)), files: None })
    }

    pub(crate) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The last transaction that it contains.
    pub(crate) fn position(&self) -> Position {
        self.manifest.position
    }

    /// The newest version of an entry, which may be a tombstone.
    ///
    /// # Errors
    /// [`PositionExpired`](crate::Error::PositionExpired) if the checkpoint was cleaned away meanwhile; [`Corrupt`](crate::Error::Corrupt) if a file is missing
    /// that should be there, or damaged.
    pub(crate) async fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Entry>> {
        let Some((layers, files)) = self.collection(collection) else { return Ok(None) };
        match get(files, collection, layers, key).await {
            Err(error) if missing(&error).is_some() => Err(expired::explain(files, &self.manifest, error).await),
            result => result,
        }
    }

    /// The newest version of each entry of a range, tombstones among them.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) fn scan(self: &Arc<Self>, collection: &str, range: KeyRange, direction: Direction) -> EntryStream {
        let Some((layers, files)) = self.collection(collection) else { return stream::empty().boxed() };
        let entries = scan(files, collection, layers, range, direction);
        let (files, manifest) = (files.clone(), self.manifest.clone());
        entries
            .or_else(move |error| {
                let (files, manifest) = (files.clone(), manifest.clone());
                async move {
                    match missing(&error) {
                        Some(_) => Err(expired::explain(&files, &manifest, error).await),
                        None => Err(error),
                    }
                }
            })
            .boxed()
    }

    /// Whether an entry of the range was written after `position`; skips files and blocks that are all older.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) async fn written_after(&self, collection: &str, range: &KeyRange, position: Position) -> Result<bool> {
        let Some((layers, files)) = self.collection(collection) else { return Ok(false) };
        // What is dead in a delta was written all the same.
        let deltas = layers.deltas.iter().map(|delta| &delta.file);
        for file in deltas.chain(&layers.base).filter(|file| overlaps(file, range)) {
            match files.written_after(collection, file, range, position).await {
                Ok(false) => {}
                Err(error) if missing(&error).is_some() => {
                    return Err(expired::explain(files, &self.manifest, error).await);
                }
                result => return result,
            }
        }
        Ok(false)
    }

    /// The names of its collections, in order.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &str> {
        self.manifest.collections.keys().map(String::as_str)
    }

    fn collection(&self, name: &str) -> Option<(&CollectionFiles, &DataFiles)> {
        self.manifest.collections.get(name).zip(self.files.as_ref())
    }
}

async fn get(files: &DataFiles, collection: &str, layers: &CollectionFiles, key: &[u8]) -> Result<Option<Entry>> {
    if !layers.deltas.is_empty() {
        let hash = filter_hash(key);
        let folded = layers.folded.at(key);
        let mut newest: Option<Entry> = None;
        // The filter first: it says no to nearly every key, and in the fewest steps.
        let may_have = |delta: &&DeltaMeta| {
            filter_may_contain(&delta.filter, hash)
                && (&delta.file.first[..]..=&delta.file.last[..]).contains(&key)
                && delta.file.newest > folded
        };
        for delta in layers.deltas.iter().filter(may_have) {
            if newest.as_ref().is_some_and(|newest| newest.position >= delta.file.newest) {
                break;
            }
            let found = files.get(collection, &delta.file, key).await?;
            let is_newer = |entry: &Entry| entry.position > newest.as_ref().map_or(folded, |newest| newest.position);
            if found.as_ref().is_some_and(is_newer) {
                newest = found;
            }
        }
        if newest.is_some() {
            return Ok(newest);
        }
    }
    let file = layers.base.partition_point(|file| file.last < key);
    match layers.base.get(file) {
        Some(file) if file.first <= key => files.get(collection, file, key).await,
        _ => Ok(None),
    }
}

fn scan(
    files: &DataFiles,
    collection: &str,
    layers: &CollectionFiles,
    range: KeyRange,
    direction: Direction,
) -> EntryStream {
    let entries = |file: &FileMeta| files.entries(collection, file.clone(), range.clone(), direction, Caching::Use);
    let deltas = layers.deltas.iter().filter(|delta| overlaps(&delta.file, &range));
    let folded = Arc::new(layers.folded.clone());
    let mut streams: Vec<EntryStream> = deltas.map(|delta| live(entries(&delta.file), folded.clone())).collect();
    // Base files do not overlap: one after the other is in order.
    let mut base: Vec<EntryStream> = layers.base.iter().filter(|file| overlaps(file, &range)).map(entries).collect();
    if direction == Direction::Descending {
        base.reverse();
    }
    streams.push(stream::iter(base).flatten().boxed());
    merge(streams, direction)
}

/// The entries of a delta that still count.
pub(crate) fn live(entries: EntryStream, folded: Arc<Folded>) -> EntryStream {
    entries.try_filter(move |entry| std::future::ready(folded.is_live(&entry.key, entry.position))).boxed()
}

/// Whether a file may have entries of a range.
pub(crate) fn overlaps(file: &FileMeta, range: &KeyRange) -> bool {
    let begins_early_enough = match &range.end {
        Bound::Unbounded => true,
        Bound::Included(end) => file.first <= end,
        Bound::Excluded(end) => file.first < end,
    };
    begins_early_enough
        && match &range.start {
            Bound::Unbounded => true,
            Bound::Included(start) => file.last >= start,
            Bound::Excluded(start) => file.last > start,
        }
}
