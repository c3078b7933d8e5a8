//! What is in a data file?
//!
//! Reads go through the cache. Cold, an entry is two range reads away: one for the file's tail, one for the block; the
//! filter in the tail spares the second one for nearly every key that is not there.

use std::sync::Arc;

use bytes::Bytes;
use runyard_objectstorage::{GetRange, ObjectKey, ObjectStorage, ObjectStorageExt};

use super::{
    block::Block,
    cache::BlockCache,
    tail::{self, BlockMeta, Tail},
};
use crate::{
    Error, KeyRange, Position, Result, checkpoint::parts::BlockLoad, codec::Damage, entry::Entry, layout::Layout,
    manifest::FileMeta,
};

const DOING: &str = "reading a data file";

/// The data files of a store. Cloning is cheap; clones share their cache.
#[derive(Clone, Debug)]
pub(crate) struct DataFiles {
    storage: Arc<dyn ObjectStorage>,
    layout: Arc<Layout>,
    cache: Arc<BlockCache>,
}

/// The file that an error says is not there, whoever deleted it. See [`DataFiles`].
pub(crate) fn missing(error: &Error) -> Option<&ObjectKey> {
    match error {
        Error::Storage { doing: DOING, source } if source.is_not_found() => source.key(),
        _ => None,
    }
}

impl DataFiles {
    /// Reads the files in `storage`, and keeps at most `cache_bytes` of them in memory.
    pub(crate) fn new(storage: Arc<dyn ObjectStorage>, layout: Layout, cache_bytes: u64) -> Self {
        Self { storage, layout: Arc::new(layout), cache: Arc::new(BlockCache::new(cache_bytes)) }
    }

    pub(crate) fn storage(&self) -> &Arc<dyn ObjectStorage> {
        &self.storage
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many bytes of files are in memory, and how many may be.
    pub(crate) fn cache_bytes(&self) -> (u64, u64) {
        (self.cache.weight(), self.cache.capacity())
    }

    pub(super) fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// The entry of a file with a key, which may be a tombstone.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names the file if it is not what `file` says. If there is no such file, the error is one that
    /// [`missing`] knows: only the caller knows whether somebody was allowed to delete it.
    pub(crate) async fn get(&self, collection: &str, file: &FileMeta, key: &[u8]) -> Result<Option<Entry>> {
        let tail = match self.cache.tail(&file.tail_hash) {
            Some(tail) => tail,
            None => self.tail(collection, file).await?,
        };
        let Some(number) = tail.block_of(key).filter(|_| tail.filter.may_contain(key)) else { return Ok(None) };
        let block = match self.cache.block(&file.tail_hash, number) {
            Some(block) => block,
            None => self.block(collection, file, &tail, number).await?,
        };
        Ok(block.get(key))
    }

    /// Whether an entry of a range was written after a position. Blocks that are all older are not read.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) async fn written_after(
        &self,
        collection: &str,
        file: &FileMeta,
        range: &KeyRange,
        position: Position,
    ) -> Result<bool> {
        if file.newest <= position || range.is_empty() {
            return Ok(false);
        }
        let tail = self.tail(collection, file).await?;
        for number in tail.blocks_of(range) {
            if tail.blocks[number].newest <= position {
                continue;
            }
            let block = self.block(collection, file, &tail, number).await?;
            if block.written_after(range, position) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How much lies where in a file, and how old it is at most.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) async fn loads(&self, collection: &str, file: &FileMeta) -> Result<Vec<BlockLoad>> {
        let tail = self.tail(collection, file).await?;
        let load = |block: &BlockMeta| BlockLoad {
            last: block.last.clone(),
            bytes: block.stored as u64,
            newest: block.newest,
        };
        Ok(tail.blocks.iter().map(load).collect())
    }

    /// The tail of a file.
    pub(super) async fn tail(&self, collection: &str, file: &FileMeta) -> Result<Arc<Tail>> {
        let read = async {
            let start = file.size.saturating_sub(file.tail.into());
            let bytes = self.read(collection, file, start, file.size).await?;
            let corrupt = |damage| self.corrupt(collection, file, damage);
            if tail::hash(&bytes) != file.tail_hash {
                return Err(corrupt("its index does not match the checksum in the manifest"));
            }
            let tail = Tail::decode(&bytes).map_err(corrupt)?;
            if tail.id != file.id || tail.data_bytes() != start {
                return Err(corrupt("its index is that of another file"));
            }
            Ok(tail)
        };
        self.cache.tail_or(&file.tail_hash, read).await
    }

    /// A block of a file.
    async fn block(&self, collection: &str, file: &FileMeta, tail: &Tail, number: usize) -> Result<Arc<Block>> {
        let meta = &tail.blocks[number];
        let read = async {
            let bytes = self.read(collection, file, meta.offset, meta.end()).await?;
            check(&bytes, meta).map_err(|damage| self.corrupt(collection, file, damage))
        };
        self.cache.block_or(&file.tail_hash, number, read).await
    }

    /// Neighbouring blocks of a file, past the cache, in one read.
    pub(super) async fn blocks(
        &self,
        collection: &str,
        file: &FileMeta,
        metas: &[BlockMeta],
    ) -> Result<Vec<Arc<Block>>> {
        let (Some(first), Some(last)) = (metas.first(), metas.last()) else { return Ok(Vec::new()) };
        let bytes = self.read(collection, file, first.offset, last.end()).await?;
        let decode = |meta: &BlockMeta| {
            let start = (meta.offset - first.offset) as usize;
            check(&bytes[start..start + meta.stored], meta).map(Arc::new)
        };
        let blocks: Result<Vec<_>, _> = metas.iter().map(decode).collect();
        blocks.map_err(|damage| self.corrupt(collection, file, damage))
    }

    async fn read(&self, collection: &str, file: &FileMeta, start: u64, end: u64) -> Result<Bytes> {
        use runyard_objectstorage::Error as StorageError;
        let key = self.layout.data(collection, file.id);
        match self.storage.get_range_bytes(&key, GetRange::Bounded { start, end }).await {
            Ok(bytes) if bytes.len() as u64 == end - start => Ok(bytes),
            Ok(_) | Err(StorageError::RangeNotSatisfiable { .. }) => {
                Err(self.corrupt(collection, file, "it is shorter than the manifest says"))
            }
            Err(StorageError::Corrupt { .. }) => Err(self.corrupt(collection, file, "the storage calls it damaged")),
            Err(error) => Err(Error::storage(DOING)(error)),
        }
    }

    fn corrupt(&self, collection: &str, file: &FileMeta, damage: Damage) -> Error {
        Error::Corrupt { object: self.layout.data(collection, file.id).to_string(), reason: damage.to_owned() }
    }
}

/// Takes a block for what it is only if it is what the index says.
fn check(stored: &[u8], meta: &BlockMeta) -> Result<Block, Damage> {
    if crc32fast::hash(stored) != meta.crc {
        return Err("the checksum of a block does not match");
    }
    let block = Block::decode(stored, meta.raw)?;
    if block.last() != meta.last { Err("a block ends with another key than the index says") } else { Ok(block) }
}
