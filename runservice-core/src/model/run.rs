//! Where is a run? The state of one execution of a run config.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use runyard_executor_core::contract::{ExecutorId, Failure, LogEnd, RunId, StepStatus, TaskId, TaskName};
use serde::{Deserialize, Serialize};

use super::GroupPath;

/// A run with its tasks: what the reducer works on. Stored as one row for the run and one for each task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    /// The run itself.
    pub run: Run,
    /// Its tasks by name. What did not change is shared with the state before, so that an event costs what it changes.
    pub tasks: BTreeMap<TaskName, Arc<Task>>,
}

impl RunState {
    /// The tasks that differ from what they were in an earlier state of the same run, each after what it was.
    pub(crate) fn changed_tasks<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a Task, &'a Arc<Task>)> {
        debug_assert!(self.tasks.keys().eq(before.tasks.keys()), "a run has the same tasks all its life");
        let pairs = before.tasks.values().zip(self.tasks.values());
        // Tasks that are shared are equal without a look into them.
        pairs.filter(|(before, after)| before != after).map(|(before, after)| (&**before, after))
    }
}

/// The state of a run without its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its number in the root group, counted from 1 without gaps.
    pub number: u64,
    /// What a user sees it as.
    pub name: String,
    /// The group whose runs go one after another.
    pub group: GroupPath,
    /// How far it is.
    pub phase: RunPhase,
    /// How it ended or will end.
    pub result: RunResult,
    /// Whether it was asked to stop.
    pub stop_requested: bool,
    /// Whether it runs beside others of its group.
    pub parallel: bool,
    /// The run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_of: Option<RunId>,
    /// Opaque to the engine; copied from the run config so that lists need not read it.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Why it could not be set up.
    #[serde(default)]
    pub setup_errors: Vec<String>,
    /// Whether it is kept, with all that belongs to it, however old it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Whether it has given up the logs of its tasks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logs_expired: bool,
    /// Whether it has given up the workspace archives of its tasks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub workspaces_expired: bool,
    /// The caller's name for its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// When it was created, started and finished.
    pub times: Times,
}

/// When something was created, began and ended, by the run service's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Times {
    /// When it was created; absent for tasks and steps.
    #[serde(with = "millis", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schemars(with = "Option<u64>"))]
    pub created: Option<SystemTime>,
    /// When it began.
    #[serde(with = "millis", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schemars(with = "Option<u64>"))]
    pub started: Option<SystemTime>,
    /// When it ended.
    #[serde(with = "millis", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schemars(with = "Option<u64>"))]
    pub finished: Option<SystemTime>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RunPhase {
    /// It could not be set up; final, without tasks.
    SetupError,
    /// It waits for another run of its group.
    Queued,
    /// It was cancelled while it waited; final.
    Cancelled,
    /// Its tasks run.
    Running,
    /// Nothing of it can still be executing anywhere; final.
    Finished,
}

impl RunPhase {
    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::SetupError | Self::Cancelled | Self::Finished)
    }

    /// The phase as it is spelled in JSON and shown to users.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SetupError => "setuperror",
            Self::Queued => "queued",
            Self::Cancelled => "cancelled",
            Self::Running => "running",
            Self::Finished => "finished",
        }
    }
}

/// How a run ended or will end. Set once, it never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RunResult {
    /// Not known yet, or never to be known (`cancelled`, `setuperror`).
    #[default]
    Unknown,
    /// No task failed, but for those whose failure is ignored.
    Success,
    /// A task failed.
    Failed,
    /// It was stopped on request while something was unfinished.
    Stopped,
}

impl RunResult {
    /// The result as it is spelled in JSON and shown to users.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// The state of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What the definition calls it.
    pub name: TaskName,
    /// How far it is.
    pub status: TaskStatus,
    /// The attempt that it is at, counted from 1.
    pub attempt: u32,
    /// The assignment of the current attempt. Present exactly while the task is *scheduled*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// The executor that last accepted the current attempt; known when the assignment is gone, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// Whether it waits for an executor: it is in the placement queue.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// Whether it is ready but for an approval.
    pub waiting_approval: bool,
    /// Whether it was approved.
    pub approved: bool,
    /// Opaque to the engine, but for what the scheduler's approval policy reads.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The setup.
    pub setup: StepState,
    /// The steps, in the order of the definition.
    pub steps: Vec<StepState>,
    /// The last report that was applied, of the current attempt.
    pub report_sequence: u64,
    /// The attempts before the current one, oldest first; each failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierAttempt>,
    /// When it began and ended.
    pub times: Times,
}

/// An attempt that failed and was followed by another. Its logs are kept, so their ends are too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EarlierAttempt {
    /// Which one, counted from 1.
    pub attempt: u32,
    /// The executor that accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// Why it failed.
    pub failure: Failure,
    /// The setup.
    pub setup: StepState,
    /// The steps, in the order of the definition.
    pub steps: Vec<StepState>,
}

impl Task {
    /// A task of which nothing has happened.
    pub fn new(id: TaskId, name: TaskName, steps: usize) -> Self {
        Self {
            id,
            name,
            status: TaskStatus::NotStarted,
            attempt: 1,
            assignment: None,
            executor: None,
            ready: false,
            waiting_approval: false,
            approved: false,
            annotations: BTreeMap::new(),
            failure: None,
            setup: StepState::default(),
            steps: vec![StepState::default(); steps],
            report_sequence: 0,
            earlier: Vec::new(),
            times: Times::default(),
        }
    }
}

/// The record that gives an attempt of a task to an executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The executor.
    pub executor: ExecutorId,
    /// Whether the executor has taken it: from then on something may be executing.
    pub accepted: bool,
    /// Whether the executor is told to stop it.
    pub stop: bool,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Nothing of it has happened.
    #[default]
    NotStarted,
    /// It was cancelled before it started; final.
    Cancelled,
    /// It will not run, because a condition did not match; final.
    Skipped,
    /// It is executing.
    Running,
    /// It was stopped on request; final.
    Stopped,
    /// It succeeded; final.
    Success,
    /// It failed; final.
    Failed,
}

impl TaskStatus {
    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::NotStarted | Self::Running)
    }

    /// The status as it is spelled in JSON and shown to users.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "notstarted",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }
}

/// The state of the setup or of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StepState {
    /// How far it is.
    pub status: StepStatus,
    /// The exit status of its command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The end of its log; present: the log is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogEnd>,
    /// When it began and ended.
    #[serde(default)]
    pub times: Times,
}

pub(crate) mod millis {
    //! Times are whole milliseconds since 1970 in JSON.

    use std::time::{Duration, SystemTime};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
        let since_epoch = |time: &SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        time.as_ref().map(|time| since_epoch(time).as_millis() as u64).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
        let millis = Option::<u64>::deserialize(deserializer)?;
        Ok(millis.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)))
    }
}
