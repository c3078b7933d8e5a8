//! What does the end of a data file say of the rest?
//!
//! ```text
//! file      block ... | tail
//! tail      index | filter | footer
//! index     count | last key, stored length, raw length, CRC-32 u32, lsn, index of the newest entry | ...
//! footer    length of the index u32 | length of the filter u32 | file id u64 u64 u32
//!           CRC-32 of the tail before u32 | version u32 | magic "RYDF"
//! ```
//!
//! Blocks lie one behind the other from the beginning, so the index has no offsets. The manifest has the SHA-256 of
//! the tail, and with it of everything that the tail has checksums of; the CRC is for tools that have no manifest.

use bytes::{BufMut, Bytes};
use sha2::{Digest, Sha256};

use super::{block::StoredBlock, filter::Filter};
use crate::{
    KeyRange, Position,
    codec::{Damage, Reader, put_bytes, put_length, put_number},
    manifest::FileId,
    record::Hash,
};

/// The version of the format of data files.
const VERSION: u32 = 1;

const MAGIC: &[u8; 4] = b"RYDF";
pub(super) const FOOTER_BYTES: usize = 4 + 4 + 20 + 4 + 4 + 4;

/// The index of the blocks that were written.
#[derive(Debug, Default)]
pub(super) struct TailBuilder {
    blocks: usize,
    index: Vec<u8>,
}

impl TailBuilder {
    /// How long the tail will be but for the filter.
    pub(super) fn len(&self) -> usize {
        self.index.len() + FOOTER_BYTES + 10
    }

    pub(super) fn push(&mut self, block: &StoredBlock) {
        self.blocks += 1;
        put_bytes(&mut self.index, &block.last);
        put_length(&mut self.index, block.bytes.len());
        put_length(&mut self.index, block.raw);
        self.index.put_u32_le(crc32fast::hash(&block.bytes));
        put_number(&mut self.index, block.newest.lsn);
        put_number(&mut self.index, block.newest.index.into());
    }

    pub(super) fn finish(self, id: FileId, filter: &[u8]) -> Vec<u8> {
        let mut tail = Vec::with_capacity(self.len() + filter.len());
        put_length(&mut tail, self.blocks);
        tail.extend_from_slice(&self.index);
        let index = tail.len();
        tail.extend_from_slice(filter);
        tail.put_u32_le(index as u32);
        tail.put_u32_le(filter.len() as u32);
        tail.put_u64_le(id.manifest);
        tail.put_u64_le(id.writer);
        tail.put_u32_le(id.number);
        tail.put_u32_le(crc32fast::hash(&tail));
        tail.put_u32_le(VERSION);
        tail.put_slice(MAGIC);
        tail
    }
}

/// The SHA-256 by which a manifest knows a tail.
pub(super) fn hash(tail: &[u8]) -> Hash {
    Sha256::digest(tail).into()
}

/// What is known of the blocks of a file.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(super) id: FileId,
    pub(super) blocks: Vec<BlockMeta>,
    pub(super) filter: Filter,
    bytes: usize,
}

/// Where a block is, and what it must be.
#[derive(Clone, Debug)]
pub(super) struct BlockMeta {
    pub(super) last: Bytes,
    pub(super) offset: u64,
    pub(super) stored: usize,
    pub(super) raw: usize,
    pub(super) crc: u32,
    pub(super) newest: Position,
}

impl BlockMeta {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.stored as u64
    }
}

impl Tail {
    /// Reads a tail. Allocates a few times what it is long.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        // A copy of its own: what was read may be a slice of something larger.
        let bytes = Bytes::copy_from_slice(bytes);
        let content = bytes.len().checked_sub(FOOTER_BYTES).ok_or("its tail is too short")?;
        let mut footer = Reader::new(&bytes[content..]);
        let (index, filter) = (footer.u32()? as usize, footer.u32()? as usize);
        let id = FileId { manifest: footer.u64()?, writer: footer.u64()?, number: footer.u32()? };
        let crc = footer.u32()?;
        let version = footer.u32()?;
        if footer.array()? != *MAGIC {
            return Err("it is not a data file");
        }
        if version != VERSION {
            return Err("its version is not one that this program reads");
        }
        if crc32fast::hash(&bytes[..bytes.len() - 12]) != crc {
            return Err("the checksum of its tail does not match");
        }
        if index.checked_add(filter) != Some(content) {
            return Err("the lengths in its tail cannot be");
        }
        let blocks = decode_index(&bytes.slice(..index))?;
        let filter = Filter::decode(bytes.slice(index..content))?;
        Ok(Self { id, blocks, filter, bytes: bytes.len() })
    }

    /// What it takes in memory.
    pub(super) fn weight(&self) -> usize {
        self.bytes + self.blocks.len() * size_of::<BlockMeta>() + size_of::<Self>()
    }

    /// Where the tail should begin.
    pub(super) fn data_bytes(&self) -> u64 {
        self.blocks.last().map_or(0, BlockMeta::end)
    }

    /// The block that has a key, if any has.
    pub(super) fn block_of(&self, key: &[u8]) -> Option<usize> {
        let block = self.blocks.partition_point(|block| block.last < key);
        (block < self.blocks.len()).then_some(block)
    }

    /// The blocks that may have entries of a range.
    pub(super) fn blocks_of(&self, range: &KeyRange) -> std::ops::Range<usize> {
        use std::ops::Bound;
        if range.is_empty() {
            return 0..0;
        }
        let start = match &range.start {
            Bound::Unbounded => 0,
            Bound::Included(start) => self.blocks.partition_point(|block| block.last < start),
            Bound::Excluded(start) => self.blocks.partition_point(|block| block.last <= start),
        };
        let end = match &range.end {
            Bound::Unbounded => self.blocks.len(),
            // The first block that reaches up to the end of the range is the last one that has some of it.
            Bound::Included(end) | Bound::Excluded(end) => self.blocks.partition_point(|block| block.last < end) + 1,
        };
        start..end.clamp(start, self.blocks.len().max(start))
    }
}

fn decode_index(bytes: &Bytes) -> Result<Vec<BlockMeta>, Damage> {
    let mut reader = Reader::new(bytes);
    let count = reader.length()?;
    let mut blocks: Vec<BlockMeta> = Vec::new();
    let mut offset = 0_u64;
    for _ in 0..count {
        let last = bytes.slice_ref(reader.bytes()?);
        let stored = reader.number()?;
        let raw = reader.number()?;
        let crc = reader.u32()?;
        let lsn = reader.number()?;
        let index = u32::try_from(reader.number()?).map_err(|_| "a position is out of range")?;
        if blocks.last().is_some_and(|before| before.last >= last) {
            return Err("its blocks are not in order");
        }
        let block = BlockMeta {
            last,
            offset,
            stored: usize::try_from(stored).map_err(|_| "a block is too long")?,
            raw: usize::try_from(raw).map_err(|_| "a block is too long")?,
            crc,
            newest: Position { lsn, index },
        };
        offset = offset.checked_add(stored).ok_or("a block is too long")?;
        blocks.push(block);
    }
    reader.end()?;
    if blocks.is_empty() { Err("it has no blocks") } else { Ok(blocks) }
}
