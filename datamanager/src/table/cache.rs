//! Which blocks and tails are in memory?
//!
//! One cache for all files of a store, bounded by what its content takes. Of several readers that miss the same thing
//! one reads it, and the others get what it got. Nothing here depends on chance: the same reads leave the same content.

use std::{
    fmt,
    hash::{BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use quick_cache::{OptionsBuilder, Weighter, sync::DefaultLifecycle};

use super::{block::Block, tail::Tail};
use crate::{Result, record::Hash};

/// How many parts of the cache can be written at once. Nothing larger than one of them is kept.
const SHARDS: usize = 4;

/// About what one thing in the cache takes; for the size of tables only.
const TYPICAL_WEIGHT: u64 = 16 << 10;

/// What a place in the cache takes beside its content.
const PLACE_WEIGHT: usize = 128;

/// Stands for the tail of a file, which has fewer blocks than that.
const TAIL: u32 = u32::MAX;

/// A part of a file. The hash of the tail stands for the file: the tail has the file's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Part {
    file: Hash,
    block: u32,
}

#[derive(Clone, Debug)]
enum Content {
    Tail(Arc<Tail>),
    Block(Arc<Block>),
}

#[derive(Clone, Debug)]
struct ByWeight;

impl Weighter<Part, Content> for ByWeight {
    fn weight(&self, _: &Part, content: &Content) -> u64 {
        let weight = match content {
            Content::Tail(tail) => tail.weight(),
            Content::Block(block) => block.weight(),
        };
        (weight + PLACE_WEIGHT) as u64
    }
}

type Inner = quick_cache::sync::Cache<Part, Content, ByWeight, BuildHasherDefault<DefaultHasher>>;

/// The cache of a store's data files.
pub(crate) struct BlockCache(Inner);

impl BlockCache {
    /// A cache of at most so many bytes.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(bytes_max)
            .estimated_items_capacity((bytes_max / TYPICAL_WEIGHT) as usize)
            .build()
            .expect("everything that has to be given is given");
        Self(Inner::with_options(options, ByWeight, BuildHasherDefault::default(), DefaultLifecycle::default()))
    }

    /// What the content takes in memory.
    pub(super) fn weight(&self) -> u64 {
        self.0.weight()
    }

    /// What it may take.
    pub(super) fn capacity(&self) -> u64 {
        self.0.capacity()
    }

    /// The tail of a file, if it is here.
    pub(super) fn tail(&self, file: &Hash) -> Option<Arc<Tail>> {
        self.0.get(&Part { file: *file, block: TAIL }).and_then(Content::into_tail)
    }

    /// The tail of a file, read if it is not here.
    pub(super) async fn tail_or(&self, file: &Hash, read: impl Future<Output = Result<Tail>>) -> Result<Arc<Tail>> {
        let part = Part { file: *file, block: TAIL };
        let read = async { Ok(Content::Tail(Arc::new(read.await?))) };
        let content = self.0.get_or_insert_async(&part, read).await?;
        Ok(content.into_tail().expect("under this number there are only tails"))
    }

    /// A block of a file, if it is here.
    pub(super) fn block(&self, file: &Hash, number: usize) -> Option<Arc<Block>> {
        self.0.get(&Part::block(file, number)).and_then(Content::into_block)
    }

    /// A block of a file, read if it is not here.
    pub(super) async fn block_or(
        &self,
        file: &Hash,
        number: usize,
        read: impl Future<Output = Result<Block>>,
    ) -> Result<Arc<Block>> {
        let read = async { Ok(Content::Block(Arc::new(read.await?))) };
        let content = self.0.get_or_insert_async(&Part::block(file, number), read).await?;
        Ok(content.into_block().expect("under this number there are only blocks"))
    }

    /// Keeps a block that was read beside another one.
    pub(super) fn insert_block(&self, file: &Hash, number: usize, block: Arc<Block>) {
        self.0.insert(Part::block(file, number), Content::Block(block));
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockCache({} of {} bytes)", self.0.weight(), self.0.capacity())
    }
}

impl Part {
    fn block(file: &Hash, number: usize) -> Self {
        Self { file: *file, block: number as u32 }
    }
}

impl Content {
    fn into_tail(self) -> Option<Arc<Tail>> {
        match self {
            Self::Tail(tail) => Some(tail),
            Self::Block(_) => None,
        }
    }

    fn into_block(self) -> Option<Arc<Block>> {
        match self {
            Self::Block(block) => Some(block),
            Self::Tail(_) => None,
        }
    }
}
