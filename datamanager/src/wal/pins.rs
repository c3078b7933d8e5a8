//! Which checkpoints are being read in this process?
//!
//! A checkpoint is whole as long as anything holds its [`Base`]: a snapshot, a reader, a [`CheckpointPin`]. A cleaner
//! of this process leaves it alone then; cleaners of other processes know nothing of it, and keep the newest three.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use crate::{Position, base::Base};

/// Holds a checkpoint whole: its data files, and the log after it.
///
/// Against this process alone; what must outlast a cleaner of another process has to be done within the next two
/// checkpoints.
#[derive(Clone, Debug)]
pub struct CheckpointPin {
    base: Arc<Base>,
}

/// The checkpoints that are held in this process.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    bases: Mutex<Vec<Weak<Base>>>,
}

impl CheckpointPin {
    pub(crate) fn new(base: Arc<Base>) -> Self {
        Self { base }
    }

    /// The number of the checkpoint; 0 is the empty state of a store that has none.
    pub fn number(&self) -> u64 {
        self.base.manifest().number
    }

    /// The last transaction that the checkpoint contains.
    pub fn position(&self) -> Position {
        self.base.position()
    }
}

impl Pins {
    /// From now on, whoever holds this base keeps its checkpoint.
    pub(crate) fn add(&self, base: &Arc<Base>) {
        let mut bases = self.lock();
        bases.retain(|base| base.strong_count() > 0);
        bases.push(Arc::downgrade(base));
    }

    /// The numbers of the checkpoints that are held.
    pub(crate) fn numbers(&self) -> BTreeSet<u64> {
        self.lock().iter().filter_map(Weak::upgrade).map(|base| base.manifest().number).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Base>>> {
        self.bases.lock().expect("the lock is never poisoned: no panic while held")
    }
}
