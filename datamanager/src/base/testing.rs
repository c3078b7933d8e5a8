//! Checkpoints for the tests of what is above them: everything in one file for each collection.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::TryStreamExt;
use runyard_objectstorage::{ObjectStorageExt, PutMode};

use super::Base;
use crate::{
    Direction, KeyRange,
    checkpoint::maintenance,
    entry::Entry,
    manifest::{CollectionFiles, FileId, Manifest, format},
    store::Frozen,
    table::{DataFiles, FileBuilder, FileSettings},
};

impl Base {
    /// Where its files are; none if it has none.
    pub(crate) fn files(&self) -> Option<&DataFiles> {
        self.files.as_ref()
    }
}

/// Writes and publishes the checkpoint after the one that `frozen` is over. Forgotten tombstones are dropped.
pub(crate) async fn publish(frozen: &Frozen, files: &DataFiles) -> Arc<Base> {
    let before = frozen.base.manifest();
    let number = before.number + 1;
    let previous = if before.number == 0 { before.previous } else { format::encode(before).1 };
    let Frozen { tip, position, history, .. } = frozen;
    let mut manifest = Manifest {
        number,
        previous,
        tip: *tip,
        position: *position,
        history: history.clone(),
        maintenance: maintenance(frozen, before),
        collections: before.collections.clone(),
    };
    for collection in frozen.collections() {
        let below = frozen.base.scan(&collection, KeyRange::all(), Direction::Ascending);
        let below: Vec<Entry> = below.try_collect().await.expect("a whole checkpoint");
        let above = frozen.entries(&collection, KeyRange::all());
        let mut entries: BTreeMap<Bytes, Entry> =
            below.into_iter().chain(above).map(|entry| (entry.key.clone(), entry)).collect();
        entries.retain(|_, entry| entry.value.is_some() || entry.position > history.forgotten);
        manifest.collections.remove(&collection);
        if entries.is_empty() {
            continue;
        }
        let mut builder = FileBuilder::new(FileSettings::default());
        let mut bytes = Vec::new();
        for entry in entries.values() {
            builder.push(entry);
            bytes.extend(builder.take_finished().into_iter().flatten());
        }
        let mut id = FileId { manifest: number, writer: 7, number: 1 };
        // A test may make several checkpoints of one number.
        while files.storage().exists(&files.layout().data(&collection, id)).await.expect("readable") {
            id.number += 1;
        }
        let finished = builder.finish(id);
        bytes.extend_from_slice(&finished.rest);
        let file = files.layout().data(&collection, id);
        files.storage().put_bytes(&file, bytes.into(), PutMode::Create).await.expect("written");
        let of_collection = CollectionFiles { base: vec![finished.meta], ..CollectionFiles::default() };
        manifest.collections.insert(collection, of_collection);
    }
    let (bytes, _) = format::encode(&manifest);
    files.storage().put_bytes(&files.layout().manifest(number), bytes, PutMode::Overwrite).await.expect("published");
    // Nothing of it is in memory.
    let files = DataFiles::new(Arc::clone(files.storage()), files.layout().clone(), 0);
    Base::new(Arc::new(manifest), files)
}
