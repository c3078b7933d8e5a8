//! What has to be written or told when a run changes?

use runyard_executor_core::contract::{ExecutorId, LogEnd, StepRef, TaskId, TaskName};

use super::RunEvent;
use crate::model::RunState;

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// The run after it, without times: [`stamp`](super::stamp) sets those.
    pub state: RunState,
    /// What else belongs into the same transaction, or follows from it.
    pub effects: Vec<Effect>,
}

/// Something that the service does because a run changed.
///
/// All but [`Effect::StopAssignment`] are rows of the transaction that writes the state. Applied in their order: a run
/// that has nothing to do starts and finishes in one step, and then the next of its group may start in the same
/// transaction, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The task waits for an executor: put its row into the placement queue.
    Ready {
        /// The task.
        task: TaskName,
    },
    /// The task does not wait for an executor any more: delete its row.
    NotReady {
        /// The task.
        task: TaskName,
    },
    /// The task is scheduled: the executor holds one more, and is to be told.
    AssignmentAdded {
        /// The task.
        task: TaskName,
        /// The task's id.
        id: TaskId,
        /// The attempt.
        attempt: u32,
        /// The executor.
        executor: ExecutorId,
    },
    /// The assignment is gone: the executor holds one less.
    AssignmentRemoved {
        /// The task.
        task: TaskName,
        /// The task's id.
        id: TaskId,
        /// The attempt.
        attempt: u32,
        /// The executor.
        executor: ExecutorId,
        /// Whether it was never accepted, so that the executor must be told to forget it.
        taken_back: bool,
    },
    /// The executor is to be told to stop the attempt.
    StopAssignment {
        /// The task.
        task: TaskName,
        /// The task's id.
        id: TaskId,
        /// The attempt.
        attempt: u32,
        /// The executor.
        executor: ExecutorId,
    },
    /// Nothing more comes to a log: seal it.
    SealLog {
        /// The task.
        task: TaskName,
        /// The task's id.
        id: TaskId,
        /// The attempt.
        attempt: u32,
        /// The setup or the step.
        step: StepRef,
        /// What the executor said of its end; absent: it was lost, and what is stored is all there is.
        end: Option<LogEnd>,
    },
    /// The run is the running one of its group, unless it is parallel.
    RunStarted,
    /// The run does not wait in its group any more.
    RunCancelled,
    /// Nothing of the run can be executing: the next of its group may start.
    RunFinished,
    /// The change is to be appended to the events.
    Emit(RunEvent),
}
