//! Whose turn is it to change a run, and what was its state at the last one?
//!
//! Changes of one run conflict with each other, and a run of a thousand tasks has many at once: in a process they take
//! turns, so that none is done in vain. What a turn left behind is kept in memory; the tag that each change writes says
//! whether it is still what is stored.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
};

use quick_cache::sync::Cache;
use runyard_executor_core::contract::RunId;
use tokio::sync::OwnedMutexGuard;

use crate::model::{RunConfig, RunState};

/// So many live runs are kept in memory.
const KEPT_MAX: usize = 1_000;

/// So many states of each: the one that is being stored, the one that is stored, and the one before it, at which somebody
/// may still be looking. They share the tasks that do not differ.
const STATES_MAX: usize = 3;

/// A run as it was stored with a tag.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) tag: String,
    pub(super) config: Arc<RunConfig>,
    pub(super) state: Arc<RunState>,
}

/// The turns of all runs.
pub(crate) struct Turns {
    taken: Mutex<HashMap<RunId, Arc<tokio::sync::Mutex<()>>>>,
    kept: Cache<RunId, Arc<[Kept]>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { taken: Mutex::default(), kept: Cache::new(KEPT_MAX) }
    }
}

impl Turns {
    /// Waits for one's turn, first come first served. Nothing depends on it but how much is done in vain.
    pub(super) async fn take(&self, run: &RunId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut taken = self.taken.lock().expect("the lock is never poisoned: no panic while held");
            // Those that nobody has or waits for.
            if taken.len() > KEPT_MAX {
                taken.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(taken.entry(run.clone()).or_default())
        };
        turn.lock_owned().await
    }

    /// What was stored with a tag.
    pub(super) fn kept(&self, run: &RunId, tag: &str) -> Option<Kept> {
        self.kept.get(run)?.iter().find(|kept| kept.tag == tag).cloned()
    }

    /// Keeps what is about to be stored with a tag of its own: if it is not, nobody finds that tag.
    pub(super) fn keep(&self, kept: Kept) {
        let id = kept.state.run.id.clone();
        if kept.state.run.phase.is_final() {
            self.kept.remove(&id);
        } else {
            let earlier = self.kept.get(&id);
            let earlier = earlier.iter().flat_map(|earlier| earlier.iter()).take(STATES_MAX - 1).cloned();
            self.kept.insert(id, std::iter::once(kept).chain(earlier).collect());
        }
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns")
    }
}
