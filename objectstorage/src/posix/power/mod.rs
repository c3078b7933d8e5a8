//! What is left of a storage in a directory after the machine lost its power? Feature `test-util`.
//!
//! A [`TracedDisk`] records every call of its storages that changes the disk. From that, it works out what may be on
//! the disk if the power goes after any of them, and writes it into a directory, where the storage is opened again.
//!
//! | file | question |
//! |---|---|
//! | `trace.rs` | what did the calls do, and which syncs only seemed to? |
//! | `image.rs` | what may be on a disk after a power loss? |

use std::{
    collections::{BTreeMap, HashSet},
    fmt, fs, io,
    path::Path,
    sync::Arc,
};

use super::{
    PosixStorage,
    calls::Calls,
    layout::{Layout, Tree},
};
use crate::{PosixFlatStorage, Result, posixflat::Flat};

mod image;
mod trace;

use image::{Doubt, Image};
pub use trace::SyncVerdict;
pub(super) use trace::Trace;

pub use super::calls::Syncing;

/// How many random outcomes of a power loss are tried besides the systematic ones.
const RANDOM_OUTCOMES: usize = 4;

/// A directory in which a power loss can be tried after every call.
///
/// ```
/// use runyard_objectstorage::{ObjectKey, ObjectStorageExt, PosixStorage, PutMode, TracedDisk};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let disk = TracedDisk::new(directory.path())?;
/// let storage = disk.open_posix("objects").await?;
/// let key = ObjectKey::parse("log/1")?;
/// storage.put_bytes(&key, "durable".into(), PutMode::Create).await?;
///
/// for outcome in disk.outcomes(disk.calls(), 7) {
///     let found = tempfile::tempdir()?;
///     outcome.write_to(found.path())?;
///     let storage = PosixStorage::open(found.path().join("objects")).await?;
///     assert_eq!(storage.get_bytes(&key).await?, "durable", "{outcome}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TracedDisk {
    base: Arc<Path>,
    trace: Arc<Trace>,
}

impl TracedDisk {
    /// Watches what storages do below `base`, an empty directory that counts as being on the disk.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn new(base: impl AsRef<Path>) -> io::Result<Self> {
        let base: Arc<Path> = base.as_ref().into();
        Ok(Self { trace: Arc::new(Trace::new(&base)?), base })
    }

    /// Opens a [`PosixStorage`] in the directory `name` below the base.
    ///
    /// # Errors
    /// Those of [`PosixStorage::open`].
    pub async fn open_posix(&self, name: &str) -> Result<PosixStorage> {
        self.open(name, &Tree).await
    }

    /// Opens a [`PosixFlatStorage`] in the directory `name` below the base.
    ///
    /// # Errors
    /// Those of [`PosixFlatStorage::open`].
    pub async fn open_posixflat(&self, name: &str) -> Result<PosixFlatStorage> {
        Ok(PosixFlatStorage::from_posix(self.open(name, &Flat).await?))
    }

    async fn open(&self, name: &str, layout: &'static dyn Layout) -> Result<PosixStorage> {
        PosixStorage::open_with(&self.base.join(name), layout, Calls::traced(self.trace.clone())).await
    }

    /// Decides over every sync from now on.
    pub fn on_sync(&self, plan: impl FnMut(Syncing) -> SyncVerdict + Send + 'static) {
        self.trace.plan(Box::new(plan));
    }

    /// Makes the disk one that cannot rename exclusively, like some network filesystems.
    pub fn without_exclusive_rename(&self) {
        self.trace.without_exclusive_rename();
    }

    /// How many calls have changed the disk so far.
    pub fn calls(&self) -> usize {
        self.trace.len()
    }

    /// How many syncs there were so far, made or not.
    pub fn syncs(&self) -> usize {
        self.trace.syncs()
    }

    /// What may be found if the power goes after so many calls, each once: everything that was not synced is lost, or
    /// nothing, or all but one thing, or one thing in each of its ways, or what a random choice from `seed` says.
    pub fn outcomes(&self, calls: usize, seed: u64) -> Vec<Outcome> {
        let image = self.trace.image_after(calls);
        let doubts = image.doubts();
        let lost: BTreeMap<_, _> = doubts.iter().map(|(doubt, _)| (doubt.clone(), 0)).collect();
        let survived: BTreeMap<_, _> = doubts.iter().map(|(doubt, ways)| (doubt.clone(), ways - 1)).collect();
        let mut all = vec![survived.clone(), lost.clone()];
        for (doubt, ways) in &doubts {
            all.extend((0..*ways).map(|way| with(&survived, doubt, way)));
            all.extend((0..*ways).map(|way| with(&lost, doubt, way)));
        }
        let mut random = seed;
        all.extend(
            (0..RANDOM_OUTCOMES).map(|_| {
                doubts.iter().map(|(doubt, ways)| (doubt.clone(), next(&mut random) as usize % ways)).collect()
            }),
        );
        let mut seen = HashSet::new();
        let outcomes = all.into_iter().map(|ways| Outcome::new(&image, calls, ways));
        outcomes.filter(|outcome| seen.insert(outcome.tree.clone())).collect()
    }
}

fn with(ways: &BTreeMap<Doubt, usize>, doubt: &Doubt, way: usize) -> BTreeMap<Doubt, usize> {
    let mut ways = ways.clone();
    ways.insert(doubt.clone(), way);
    ways
}

/// SplitMix64, as in the decorators.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl fmt::Debug for TracedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TracedDisk({})", self.base.display())
    }
}

/// What was found on a disk after a power loss.
#[derive(Clone, Debug)]
pub struct Outcome {
    calls: usize,
    ways: BTreeMap<Doubt, usize>,
    tree: BTreeMap<String, Option<Vec<u8>>>,
}

impl Outcome {
    fn new(image: &Image, calls: usize, ways: BTreeMap<Doubt, usize>) -> Self {
        Self { calls, tree: image.tree(&ways), ways }
    }

    /// The content of every file, and `None` for every directory, by their paths below the base.
    pub fn tree(&self) -> &BTreeMap<String, Option<Vec<u8>>> {
        &self.tree
    }

    /// Writes it into an empty directory, which takes the place of the base.
    ///
    /// # Errors
    /// What the real disk reports.
    pub fn write_to(&self, directory: &Path) -> io::Result<()> {
        // In the order of their paths, a directory comes before what is in it.
        for (path, content) in &self.tree {
            match content {
                Some(bytes) => fs::write(directory.join(path), bytes)?,
                None => fs::create_dir(directory.join(path))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.tree.keys().collect();
        write!(f, "power lost after call {}; found {paths:?}; by {:?}", self.calls, self.ways)
    }
}
