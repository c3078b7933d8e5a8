//! How does a data file come into being?
//!
//! Pure: entries go in, bytes come out. Blocks can be taken out as they are finished, so a file is never whole in
//! memory; what stays until its end is its index, and eight bytes per entry for its filter.

use bytes::Bytes;

use super::{
    block::BlockBuilder,
    filter::{self, Rate},
    tail::{self, TailBuilder},
};
use crate::{
    Position,
    entry::Entry,
    manifest::{FileId, FileMeta},
};

/// What a data file is built like. It reads back whatever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSettings {
    /// How long a block should be before it is compressed. An entry that is longer has a block of its own.
    pub(crate) block_bytes: usize,
    /// The level of zstd; none stores blocks as they are.
    pub(crate) compression: Option<i32>,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { block_bytes: 16 << 10, compression: Some(1) }
    }
}

impl FileSettings {
    /// For files of at most so many bytes: the last block of a file is not compressed yet when the file is cut, so it must
    /// be a small part of it.
    pub(crate) fn for_files_of(bytes_max: u64) -> Self {
        let settings = Self::default();
        let block_bytes = usize::try_from(bytes_max / 16).unwrap_or(usize::MAX).clamp(64, settings.block_bytes);
        Self { block_bytes, ..settings }
    }
}

/// A data file that is being written.
#[derive(Debug)]
pub(crate) struct FileBuilder {
    settings: FileSettings,
    block: BlockBuilder,
    tail: TailBuilder,
    /// Finished blocks that were not taken out yet.
    finished: Vec<u8>,
    /// How long all finished blocks are.
    data_bytes: u64,
    hashes: Vec<u64>,
    tombstones: u64,
    first: Bytes,
    last: Bytes,
    newest: Position,
}

/// A data file of which everything is known.
#[derive(Debug)]
pub(crate) struct FinishedFile {
    /// What was not taken out yet, up to the end.
    pub(crate) rest: Bytes,
    pub(crate) meta: FileMeta,
    hashes: Vec<u64>,
}

impl FileBuilder {
    pub(crate) fn new(settings: FileSettings) -> Self {
        Self {
            settings,
            block: BlockBuilder::default(),
            tail: TailBuilder::default(),
            finished: Vec::new(),
            data_bytes: 0,
            hashes: Vec::new(),
            tombstones: 0,
            first: Bytes::new(),
            last: Bytes::new(),
            newest: Position::ZERO,
        }
    }

    /// Adds an entry; its key is after all others.
    pub(crate) fn push(&mut self, entry: &Entry) {
        debug_assert!(self.is_empty() || self.last < entry.key, "entries come in ascending order");
        if !self.block.is_empty() && self.block.len_with(entry) > self.settings.block_bytes {
            self.finish_block();
        }
        if self.is_empty() {
            self.first = entry.key.clone();
        }
        self.block.push(entry);
        self.hashes.push(filter::hash(&entry.key));
        self.tombstones += u64::from(entry.value.is_none());
        self.last = entry.key.clone();
        self.newest = self.newest.max(entry.position);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// How long the file would be at most if it ended here: the last block is not compressed yet.
    pub(crate) fn bytes_so_far(&self) -> u64 {
        let tail = self.tail.len() + Rate::ONE_PERCENT.bytes(self.hashes.len());
        // The last block has a line in the index too, with its last key.
        let pending = if self.block.is_empty() { 0 } else { self.block.len() + self.last.len() + 48 };
        self.data_bytes + (tail + pending) as u64
    }

    /// Takes out what is finished, to be written before everything that comes later.
    pub(crate) fn take_finished(&mut self) -> Option<Bytes> {
        (!self.finished.is_empty()).then(|| std::mem::take(&mut self.finished).into())
    }

    /// Ends the file, which must have an entry.
    pub(crate) fn finish(mut self, id: FileId) -> FinishedFile {
        debug_assert!(!self.is_empty(), "a file without entries is not written");
        if !self.block.is_empty() {
            self.finish_block();
        }
        let filter = filter::build(&self.hashes, Rate::ONE_PERCENT);
        let tail = self.tail.finish(id, &filter);
        let meta = FileMeta {
            id,
            size: self.data_bytes + tail.len() as u64,
            tail: tail.len() as u32,
            tail_hash: tail::hash(&tail),
            entries: self.hashes.len() as u64,
            tombstones: self.tombstones,
            first: self.first,
            last: self.last,
            newest: self.newest,
        };
        self.finished.extend_from_slice(&tail);
        FinishedFile { rest: self.finished.into(), meta, hashes: self.hashes }
    }

    fn finish_block(&mut self) {
        let block = self.block.take(self.settings.compression);
        self.tail.push(&block);
        self.data_bytes += block.bytes.len() as u64;
        self.finished.extend_from_slice(&block.bytes);
    }
}

impl FinishedFile {
    /// The finer filter that a manifest has of a delta file.
    pub(crate) fn delta_filter(&self) -> Bytes {
        filter::build(&self.hashes, Rate::ONE_PER_MILLE).into()
    }
}
