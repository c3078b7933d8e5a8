//! What is in a data file, in order?
//!
//! Neighbouring blocks are read together: the first read is of one block, each further one of twice as many bytes as
//! the one before, so that a scan that stops early has read little, and a long one has few reads.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    DataFiles,
    block::Block,
    tail::{BlockMeta, Tail},
};
use crate::{Direction, KeyRange, Result, manifest::FileMeta, merge::EntryStream};

/// The most bytes that one read of a scan is of; but a block may be longer.
pub(super) const READ_BYTES_MAX: usize = 256 << 10;

/// What a scan does with the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Blocks come from it where they are in it, and are kept in it.
    Use,
    /// Blocks are read anew: what is read once, as by a merge, shall not drive out what is read often.
    Bypass,
}

/// A scan that came to somewhere in a file.
struct Scan {
    files: DataFiles,
    collection: Arc<str>,
    file: FileMeta,
    range: KeyRange,
    direction: Direction,
    caching: Caching,
    /// The file's tail, and the blocks that were not read yet; none before the first read.
    left: Option<(Arc<Tail>, Range<usize>)>,
    /// Read already, in the order of the scan.
    ahead: VecDeque<Arc<Block>>,
    /// How many bytes the next read may be of.
    read_bytes: usize,
}

impl DataFiles {
    /// The entries of a range, tombstones among them. Nothing is read before the stream is polled.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) fn entries(
        &self,
        collection: &str,
        file: FileMeta,
        range: KeyRange,
        direction: Direction,
        caching: Caching,
    ) -> EntryStream {
        let scan = Scan {
            files: self.clone(),
            collection: collection.into(),
            file,
            range,
            direction,
            caching,
            left: None,
            ahead: VecDeque::new(),
            read_bytes: 0,
        };
        let blocks = stream::try_unfold(scan, |mut scan| async move {
            let Some(block) = scan.next().await? else { return Ok(None) };
            let entries = block.entries(&scan.range, scan.direction);
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), scan)))
        });
        blocks.try_flatten().boxed()
    }
}

impl Scan {
    /// The next block in the order of the scan.
    async fn next(&mut self) -> Result<Option<Arc<Block>>> {
        if self.ahead.is_empty() {
            self.read_on().await?;
        }
        Ok(self.ahead.pop_front())
    }

    /// Gets a block, or some, unless there are none left.
    async fn read_on(&mut self) -> Result<()> {
        let (tail, left) = match self.left.take() {
            Some(left) => left,
            None => {
                let tail = self.files.tail(&self.collection, &self.file).await?;
                let left = tail.blocks_of(&self.range);
                (tail, left)
            }
        };
        let is_cached = |number| self.cached(number).is_some();
        let Some(run) = run(&tail.blocks, &left, self.direction, self.read_bytes, is_cached) else { return Ok(()) };
        self.ahead = match self.cached(run.start) {
            Some(block) => [block].into(),
            None => {
                let blocks = self.files.blocks(&self.collection, &self.file, &tail.blocks[run.clone()]).await?;
                if self.caching == Caching::Use {
                    for (number, block) in run.clone().zip(&blocks) {
                        self.files.cache().insert_block(&self.file.tail_hash, number, block.clone());
                    }
                }
                let read: usize = tail.blocks[run.clone()].iter().map(|block| block.stored).sum();
                self.read_bytes = (2 * read).min(READ_BYTES_MAX);
                blocks.into()
            }
        };
        let left = match self.direction {
            Direction::Ascending => run.end..left.end,
            Direction::Descending => {
                self.ahead.make_contiguous().reverse();
                left.start..run.start
            }
        };
        self.left = Some((tail, left));
        Ok(())
    }

    fn cached(&self, number: usize) -> Option<Arc<Block>> {
        match self.caching {
            Caching::Use => self.files.cache().block(&self.file.tail_hash, number),
            Caching::Bypass => None,
        }
    }
}

/// Which blocks to take next: one that is in the cache, or neighbours that are not and have no more than `bytes_max`.
fn run(
    blocks: &[BlockMeta],
    left: &Range<usize>,
    direction: Direction,
    bytes_max: usize,
    is_cached: impl Fn(usize) -> bool,
) -> Option<Range<usize>> {
    let nth = |n: usize| match direction {
        Direction::Ascending => left.start + n,
        Direction::Descending => left.end - 1 - n,
    };
    let first = (!left.is_empty()).then(|| nth(0))?;
    let mut bytes = blocks[first].stored;
    let mut count = 1;
    if !is_cached(first) {
        while count < left.len() {
            bytes = bytes.saturating_add(blocks[nth(count)].stored);
            if bytes > bytes_max || is_cached(nth(count)) {
                break;
            }
            count += 1;
        }
    }
    let last = nth(count - 1);
    Some(first.min(last)..first.max(last) + 1)
}
