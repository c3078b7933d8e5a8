//! What were callers told that must hold in the end?

use std::collections::{BTreeMap, BTreeSet};

use runyard_executor_core::contract::{RunId, StepRef, TaskId, TaskName};
use runyard_runservice_core::SequencedEvent;

/// Names a log: a task, the attempt, and the setup or a step.
pub(crate) type LogId = (TaskId, u32, StepRef);

/// Everything that was acknowledged to somebody.
#[derive(Default)]
pub(crate) struct Promises {
    /// The run of each creation, by its idempotency key.
    pub(crate) created: BTreeMap<String, RunId>,
    /// Creations that were tried, answered or not.
    pub(crate) tried: BTreeSet<String>,
    /// Runs that repeat another one.
    pub(crate) restarted: BTreeSet<RunId>,
    /// Runs that somebody asked to delete, answered or not; and those of which it was answered.
    pub(crate) to_delete: BTreeSet<RunId>,
    pub(crate) deleted: BTreeSet<RunId>,
    /// Whether somebody removes executors.
    pub(crate) executors_may_go: bool,
    /// Users whose approval of a task was taken.
    pub(crate) approved: BTreeSet<(RunId, TaskName, String)>,
    /// The last annotation of each task that was taken, by its key.
    pub(crate) annotated: BTreeMap<(RunId, TaskName, String), String>,
    /// Runs that somebody asked to stop or to cancel, answered or not.
    pub(crate) stopped: BTreeSet<RunId>,
    pub(crate) cancelled: BTreeSet<RunId>,
    /// How much of each log was acknowledged to its executor, in bytes.
    pub(crate) stored: BTreeMap<LogId, u64>,
    /// What the executor said of the end of a log, and whether all of it was stored.
    pub(crate) ended: BTreeMap<LogId, u64>,
    /// What each consumer of events was given.
    pub(crate) consumed: Vec<Vec<SequencedEvent>>,
    /// How many followers of logs are not at their end.
    pub(crate) following: usize,
    /// What followers of logs were given, and whether to the end.
    pub(crate) followed: Vec<Followed>,
}

impl Promises {
    /// The runs that users know of.
    pub(crate) fn known(&self) -> Vec<RunId> {
        self.created.values().chain(&self.restarted).cloned().collect()
    }

    /// Whether something that does not exist may have been deleted.
    pub(crate) fn may_be_gone(&self) -> bool {
        self.executors_may_go || !self.to_delete.is_empty()
    }
}

/// What somebody read of a log.
pub(crate) struct Followed {
    pub(crate) who: String,
    pub(crate) log: LogId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_whole: bool,
}
