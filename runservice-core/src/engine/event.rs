//! How is a change of a run told to the rest of the world?

use std::collections::BTreeMap;

use runyard_executor_core::contract::{ExecutorId, Failure, RunId, StepRef, StepStatus, TaskId, TaskName};
use serde::{Deserialize, Serialize};

use crate::model::{GroupPath, Run, RunPhase, RunResult, TaskStatus};

/// One change of a run, a task or a step. The service adds the sequence number and the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct RunEvent {
    /// The run.
    pub run: RunId,
    /// Its number in the root group.
    pub number: u64,
    /// Its group.
    pub group: GroupPath,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
}

impl RunEvent {
    /// That something of a run has changed.
    pub(crate) fn of(run: &Run, change: Change) -> Self {
        Self { run: run.id.clone(), number: run.number, group: run.group.clone(), change }
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// The run exists.
    RunCreated {
        /// What a user sees it as.
        name: String,
        /// `queued` or `setuperror`.
        phase: RunPhase,
        /// The run that it repeats.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart_of: Option<RunId>,
    },
    /// The run left the queue.
    RunStarted,
    /// The run was asked to stop.
    RunStopRequested,
    /// It is known how the run ends, or how it will end.
    RunResultSet {
        /// How.
        result: RunResult,
    },
    /// The run was cancelled while it waited.
    RunCancelled,
    /// Nothing of the run can be executing any more.
    RunFinished {
        /// How it ended.
        result: RunResult,
    },
    /// The run is kept however old it is, or not any more.
    RunPinned {
        /// Whether it is.
        pinned: bool,
    },
    /// The run has given up the logs of its tasks.
    RunLogsExpired,
    /// The run has given up the workspace archives of its tasks.
    RunWorkspacesExpired,
    /// The run and all that belongs to it alone is gone.
    RunDeleted,
    /// A task has another status.
    TaskStatus {
        /// The task.
        task: TaskName,
        /// Its id.
        id: TaskId,
        /// The attempt.
        attempt: u32,
        /// The status.
        status: TaskStatus,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// An attempt of a task failed, and there will be another.
    TaskRetried {
        /// The task.
        task: TaskName,
        /// Its id.
        id: TaskId,
        /// The attempt that comes.
        attempt: u32,
        /// Why the one before failed.
        failure: Failure,
    },
    /// A task began or ceased to wait for approval.
    TaskWaitingApproval {
        /// The task.
        task: TaskName,
        /// Its id.
        id: TaskId,
        /// Whether it waits.
        waiting: bool,
    },
    /// A task was approved.
    TaskApproved {
        /// The task.
        task: TaskName,
        /// Its id.
        id: TaskId,
    },
    /// A task has other annotations.
    TaskAnnotationsSet {
        /// The task.
        task: TaskName,
        /// Its id.
        id: TaskId,
        /// All of them.
        annotations: BTreeMap<String, String>,
    },
    /// A task was given to an executor, the executor took it or was told to stop it.
    TaskAssigned {
        /// The task.
        task: TaskName,
        /// Its id.
        id: TaskId,
        /// The attempt.
        attempt: u32,
        /// The executor.
        executor: ExecutorId,
        /// Whether the executor has taken it.
        accepted: bool,
        /// Whether the executor is told to stop it.
        stop: bool,
    },
    /// A task is with no executor any more.
    TaskUnassigned {
        /// The task.
        task: TaskName,
        /// Its id.
        id: TaskId,
        /// The attempt.
        attempt: u32,
        /// The executor that had it.
        executor: ExecutorId,
    },
    /// The setup or a step has another status, or its log ended.
    StepChanged {
        /// The task.
        task: TaskName,
        /// Its id.
        id: TaskId,
        /// The attempt.
        attempt: u32,
        /// The setup or the step.
        step: StepRef,
        /// The status.
        status: StepStatus,
        /// The exit status of its command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// Whether nothing more comes to its log.
        log_ended: bool,
    },
}
