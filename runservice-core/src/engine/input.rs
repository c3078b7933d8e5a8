//! What can happen to a run?

use std::collections::BTreeMap;

use runyard_executor_core::contract::{ExecutorId, Failure, TaskName, TaskReport};

/// Something that happens to a run: a decision of the service, an action of a user or a message of an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The scheduler is to be asked again, though nothing has happened: its rules may be others than they were.
    Reconsider,
    /// It is its turn in its group. Only while queued.
    Start,
    /// It is not wanted any more. Only while queued.
    Cancel,
    /// It is to end early. Only while running; asking twice changes nothing.
    Stop,
    /// A task is approved.
    Approve {
        /// The task.
        task: TaskName,
        /// Present: this user approves, which the scheduler's policy weighs; legal from the start of the run until
        /// the task is approved, once per user. Absent: the task is approved outright; legal only while it waits.
        approver: Option<String>,
    },
    /// Annotations of a task are set or, where the value is none, removed. Always legal.
    SetAnnotations {
        /// The task.
        task: TaskName,
        /// What changes; others stay.
        patch: BTreeMap<String, Option<String>>,
    },
    /// A ready task is given to an executor.
    Assign {
        /// The task.
        task: TaskName,
        /// The executor.
        executor: ExecutorId,
        /// The attempt that was ready when the place was chosen.
        attempt: u32,
    },
    /// The executor has taken its assignment and may start it. Again: changes nothing.
    Accept {
        /// The task.
        task: TaskName,
        /// The attempt.
        attempt: u32,
        /// The executor that speaks.
        executor: ExecutorId,
    },
    /// An assignment that was never accepted is taken back.
    Unassign {
        /// The task.
        task: TaskName,
    },
    /// An executor says where an attempt is. Older and repeated reports of the current attempt change nothing.
    Report(TaskReport),
    /// Nothing of the executor can still be executing. Accepted: the attempt fails as lost. Otherwise the assignment
    /// is taken back.
    ExecutorLost {
        /// The task.
        task: TaskName,
        /// The attempt.
        attempt: u32,
        /// The executor.
        executor: ExecutorId,
        /// What happened, for the user.
        message: String,
    },
    /// What the executor would have to be told cannot be put together: the attempt fails.
    Undeliverable {
        /// The task.
        task: TaskName,
        /// The attempt.
        attempt: u32,
        /// The executor that it was given to.
        executor: ExecutorId,
        /// Why.
        failure: Failure,
    },
}

impl Event {
    /// What whoever makes it happen is doing, as a participle, for logs.
    pub(crate) fn doing(&self) -> &'static str {
        match self {
            Self::Reconsider => "asking the scheduler again",
            Self::Start => "starting a run",
            Self::Cancel => "cancelling a run",
            Self::Stop => "stopping a run",
            Self::Approve { .. } => "approving a task",
            Self::SetAnnotations { .. } => "annotating a task",
            Self::Assign { .. } => "assigning a task",
            Self::Accept { .. } => "accepting a task",
            Self::Unassign { .. } => "taking a task back",
            Self::Report(_) => "reporting a task",
            Self::ExecutorLost { .. } => "giving a task up",
            Self::Undeliverable { .. } => "failing a task that cannot be delivered",
        }
    }
}
