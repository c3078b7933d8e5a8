//! Why is an event not legal? Always with the run or the task that it is about, and what would be.

use runyard_executor_core::contract::{TaskId, TaskName};

use crate::{
    model::{RunPhase, RunResult},
    scheduler::WaitingReason,
};

/// Why an event changed nothing. `Display` is a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The run is in another phase.
    #[error("run #{number} is {}: {rule}", phase.as_str())]
    WrongPhase {
        /// The run.
        number: u64,
        /// Its phase.
        phase: RunPhase,
        /// What is legal instead, as a phrase.
        rule: &'static str,
    },
    /// The run has no such task.
    #[error("run #{number} has no task `{task}`")]
    UnknownTask {
        /// The run.
        number: u64,
        /// What was asked for.
        task: TaskName,
    },
    /// The task does not wait for approval.
    #[error("task `{task}` of run #{number} cannot be approved: {reason}")]
    NotApprovable {
        /// The run.
        number: u64,
        /// The task.
        task: TaskName,
        /// Why.
        reason: &'static str,
    },
    /// The user approved the task before.
    #[error("`{approver}` has approved task `{task}` of run #{number} already")]
    ApprovedBefore {
        /// The run.
        number: u64,
        /// The task.
        task: TaskName,
        /// The user.
        approver: String,
    },
    /// The task is not ready to be given to an executor.
    #[error("task `{task}` of run #{number} is not ready{}", because(reason))]
    NotReady {
        /// The run.
        number: u64,
        /// The task.
        task: TaskName,
        /// What it waits for, if it waits.
        reason: Option<WaitingReason>,
    },
    /// The assignment cannot be taken back, because something may be executing.
    #[error("task `{task}` of run #{number} was accepted by its executor and cannot be taken back")]
    Accepted {
        /// The run.
        number: u64,
        /// The task.
        task: TaskName,
    },
    /// The message is about an attempt that nobody expects anything of any more.
    #[error("attempt {attempt} of task `{task}` is not expected: {reason}")]
    Stale {
        /// The task.
        task: TaskId,
        /// The attempt that spoke.
        attempt: u32,
        /// What does not match, as a phrase.
        reason: &'static str,
    },
    /// The run's result does not call for a restart from failed tasks.
    #[error("run #{number} has the result {}: it has no failed tasks to restart from; restart it from scratch", result.as_str())]
    NothingFailed {
        /// The run.
        number: u64,
        /// Its result.
        result: RunResult,
    },
    /// Archives that a restart would share are gone.
    #[error(
        "run #{number} cannot be restarted from its failed tasks, because the workspace archives of {} have expired; \
         restart it from scratch",
        quoted(tasks)
    )]
    ArchivesExpired {
        /// The run.
        number: u64,
        /// The tasks whose archives are gone.
        tasks: Vec<TaskName>,
    },
    /// The run config is not the run's: other tasks.
    #[error("the run config does not define the tasks of run #{number}")]
    OtherConfig {
        /// The run.
        number: u64,
    },
}

/// Who is to blame for a refused event, and how a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Something that was named does not exist.
    NotFound,
    /// The caller asks for what is not legal in this state.
    BadRequest,
    /// An executor speaks of an attempt that is not its own any more: it is fenced.
    Stale,
    /// What is stored does not fit together.
    Internal,
}

impl Refusal {
    /// Who is to blame.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::UnknownTask { .. } => RefusalKind::NotFound,
            Self::Stale { .. } => RefusalKind::Stale,
            Self::OtherConfig { .. } => RefusalKind::Internal,
            _ => RefusalKind::BadRequest,
        }
    }
}

fn because(reason: &Option<WaitingReason>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn quoted(tasks: &[TaskName]) -> String {
    tasks.iter().map(|task| format!("`{task}`")).collect::<Vec<_>>().join(", ")
}
