//! How much lies where among the keys of a collection?
//!
//! The keys are divided as the base files divide them: each file has the part from its first key up to the next file,
//! and the first one also what is before it. If the last file is well filled, what comes after it is a part of its own,
//! without a file, so that a collection that grows at its end need not touch what it has.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    Position,
    checkpoint::plan::{Part, Settings},
    manifest::{CollectionFiles, FileMeta},
};

/// The parts of a collection's keys, and what is in them.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Where each part begins; the first one before all keys.
    starts: Vec<Bytes>,
    /// What is known of each.
    pub(crate) parts: Vec<Part>,
}

/// What is known of a block of a delta file.
#[derive(Clone, Debug)]
pub(crate) struct BlockLoad {
    /// The last key in it.
    pub(crate) last: Bytes,
    pub(crate) bytes: u64,
    /// The newest position of its entries.
    pub(crate) newest: Position,
}

impl Parts {
    /// The parts of a collection, without the changes and the deltas. Tombstones up to `forgotten` are needed no more.
    pub(crate) fn new(files: &CollectionFiles, settings: &Settings, forgotten: Position) -> Self {
        let empty = Part { deltas: vec![0; files.deltas.len()], ..Part::default() };
        let mut starts: Vec<_> = files.base.iter().map(|file| file.first.clone()).collect();
        let is_stale = |file: &FileMeta| 2 * file.tombstones > file.entries && file.newest <= forgotten;
        let part = |file: &FileMeta| Part {
            base: file.size,
            entries: file.entries,
            is_stale: is_stale(file),
            ..empty.clone()
        };
        let mut parts: Vec<_> = files.base.iter().map(part).collect();
        if files.base.last().is_none_or(|last| last.size > settings.data_file_size_max / 2) {
            starts.push(files.base.last().map_or_else(Bytes::new, |last| [&last.last[..], &[0]].concat().into()));
            parts.push(empty);
        }
        starts[0] = Bytes::new();
        Self { starts, parts }
    }

    /// Adds a change of the entry with this key that takes some bytes.
    pub(crate) fn add_change(&mut self, key: &[u8], bytes: u64, is_tombstone: bool) {
        let part = self.of(key);
        self.parts[part].changed += bytes;
        self.parts[part].deletes += u64::from(is_tombstone);
    }

    /// Adds what is live in the blocks of a delta file.
    pub(crate) fn add_delta(
        &mut self,
        files: &CollectionFiles,
        delta: usize,
        blocks: impl IntoIterator<Item = BlockLoad>,
    ) {
        let file = &files.deltas[delta].file;
        let mut first = self.of(&file.first);
        for block in blocks {
            let last = self.of(&block.last);
            // Where in the block a part ends is not known. A part that may have something of it never gets nothing.
            let share = (block.bytes / (last - first + 1) as u64).max(1);
            for part in first..=last {
                let (start, end) = self.range(part..part + 1);
                if block.newest > files.folded.least(start, end.map(|end| &end[..])) {
                    self.parts[part].deltas[delta] += share;
                    self.parts[part].deletes += share * file.tombstones / file.size.max(1);
                }
            }
            first = last;
        }
    }

    /// Where some consecutive parts begin and, unless they are the last ones, end.
    pub(crate) fn range(&self, run: Range<usize>) -> (&Bytes, Option<&Bytes>) {
        (&self.starts[run.start], self.starts.get(run.end))
    }

    fn of(&self, key: &[u8]) -> usize {
        self.starts.partition_point(|start| start[..] <= *key) - 1
    }
}
