//! What does a store consist of?

use std::collections::BTreeMap;

use futures::TryStreamExt;
use runyard_objectstorage::ListEntry;

use super::WalDataManager;
use crate::{DataManager, Error, Position, Result, manifest::FileMeta, system};

/// What a store consists of, as one process sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The last visible transaction.
    pub position: Position,
    /// The newest checkpoint that is read from; 0 if there is none.
    pub checkpoint: u64,
    /// The last transaction that it contains.
    pub checkpoint_position: Position,
    /// What the checkpoint has of each collection; what is in the log alone is not in it.
    pub collections: BTreeMap<String, CollectionStats>,
    /// How many objects the log has, those that are about to be cleaned away among them.
    pub log_objects: u64,
    /// How many bytes they are.
    pub log_bytes: u64,
    /// How many batches of them no checkpoint contains, and so are in memory.
    pub uncovered_batches: u64,
    /// How many bytes those are.
    pub uncovered_bytes: u64,
    /// Where the log begins: what is below is deleted, or about to be. 0 if nothing was ever.
    pub floor: u64,
    /// Why the store is in maintenance mode; none: it is not.
    pub maintenance: Option<String>,
    /// How many bytes of data files are in memory.
    pub cache_bytes: u64,
    /// How many may be.
    pub cache_bytes_max: u64,
}

/// What a checkpoint has of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectionStats {
    /// How many entries its files have. Versions that were replaced since and are not folded in yet are counted too, and
    /// so are those that say that an entry was removed.
    pub entries: u64,
    /// How many base files it has: together they hold each key once.
    pub base_files: u64,
    /// How many files of later changes lie over them.
    pub delta_files: u64,
    /// How large all these files are together.
    pub bytes: u64,
}

impl CollectionStats {
    fn add(&mut self, file: &FileMeta) {
        self.entries += file.entries;
        self.bytes += file.size;
    }
}

impl WalDataManager {
    /// What the store consists of. Costs a listing of the log and one of its floors; no data file is read.
    pub async fn stats(&self) -> Result<Stats> {
        let (mut log_objects, mut log_bytes) = (0, 0);
        let source = &self.handle.source;
        let mut log = source.log.storage.list(source.log.layout.log_after(0));
        while let Some(entry) = log.try_next().await.map_err(Error::storage("listing the log"))? {
            if let ListEntry::Object(meta) = entry
                && source.log.layout.lsn_of(&meta.key).is_some()
            {
                log_objects += 1;
                log_bytes += meta.size;
            }
        }
        let floor = source.floor.list().await?.lsn;
        let (base, status) = (self.handle.store.base(), self.status());
        let mut collections = BTreeMap::new();
        for (name, files) in base.manifest().collections.iter().filter(|(name, _)| !system::is_hidden(name)) {
            let mut of_collection = CollectionStats {
                base_files: files.base.len() as u64,
                delta_files: files.deltas.len() as u64,
                ..CollectionStats::default()
            };
            files
                .base
                .iter()
                .chain(files.deltas.iter().map(|delta| &delta.file))
                .for_each(|file| of_collection.add(file));
            collections.insert(name.clone(), of_collection);
        }
        let (cache_bytes, cache_bytes_max) = source.files.cache_bytes();
        Ok(Stats {
            position: self.snapshot().position(),
            checkpoint: base.manifest().number,
            checkpoint_position: base.position(),
            collections,
            log_objects,
            log_bytes,
            uncovered_batches: status.log_batches,
            uncovered_bytes: status.log_bytes,
            floor,
            maintenance: status.maintenance,
            cache_bytes,
            cache_bytes_max,
        })
    }

    /// The names of the collections that are in a snapshot, in order; some of them may have no entries any more.
    pub fn collections(&self, at: &crate::Snapshot) -> Result<Vec<String>> {
        self.handle.store.collections(at)
    }
}
