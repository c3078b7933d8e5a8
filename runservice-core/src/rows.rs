//! What is stored beside runs, run configs and tasks?

use std::time::SystemTime;

use runyard_executor_core::contract::{ExecutorId, ExecutorStatus, RunId, StepRef, TaskId, TaskName};
use serde::{Deserialize, Serialize};

use crate::{
    engine::RunEvent,
    logs::LineCount,
    model::{Run, Task},
    process::ProcessId,
};

/// A scheduled task: it exists exactly while the task has an assignment, and leads from the task to its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignmentRow {
    pub(crate) run: RunId,
    pub(crate) name: TaskName,
    pub(crate) attempt: u32,
    pub(crate) executor: ExecutorId,
    /// Whether the executor is to be told to stop it.
    pub(crate) stop: bool,
}

impl AssignmentRow {
    /// What follows from the state of a task.
    pub(crate) fn of(run: &Run, task: &Task) -> Option<Self> {
        let assignment = task.assignment.as_ref()?;
        Some(Self {
            run: run.id.clone(),
            name: task.name.clone(),
            attempt: task.attempt,
            executor: assignment.executor.clone(),
            stop: assignment.stop,
        })
    }
}

/// A registered executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecutorRow {
    /// Grows with every registration.
    pub(crate) epoch: u64,
    /// The process that holds its connection; none: it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessId>,
    /// What people and other processes call that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process_name: Option<String>,
    /// Whether nothing is heard of it although its connection stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) silent: bool,
    /// Since when it has been silent or not connected, to be shown: what is decided goes by clocks that do not jump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) away_since: Option<SystemTime>,
    /// Whether it was asked to take no more tasks and end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) drain: Option<Drain>,
    pub(crate) status: ExecutorStatus,
    /// The call that registered it, if it came over a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<RegistrationCall>,
}

/// One of the calls with which a client registers an executor. A network may deliver one long after its successor, and
/// then it must do nothing: its view of what the executor holds is old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistrationCall {
    /// Random, one for each client.
    pub(crate) client: String,
    /// Counted by the client.
    pub(crate) number: u64,
}

impl RegistrationCall {
    /// Whether it was made before, or is, another one.
    pub(crate) fn is_late(&self, last: &Self) -> bool {
        self.client == last.client && self.number <= last.number
    }
}

/// Something that lets executors join. The token itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinTokenRow {
    pub(crate) id: String,
    /// In lower-case hexadecimal.
    pub(crate) sha256: String,
    pub(crate) name: String,
    /// How many executors may still join with it; none: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uses_left: Option<u32>,
    pub(crate) created: SystemTime,
}

/// What an executor shows. The token itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialRow {
    pub(crate) executor: ExecutorId,
    /// In lower-case hexadecimal; none: it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// The join token that it joined with.
    pub(crate) join_token: String,
    /// Whether the executor has shown it: until then it may join again, in case the answer was lost.
    pub(crate) used: bool,
    pub(crate) created: SystemTime,
}

/// How far an executor is with taking no more tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Drain {
    /// It may not know yet.
    Asked,
    /// It has registered with no slots since. If it registers with some again, it was started anew.
    Heard,
}

impl Drain {
    /// What is left of it after a registration: nothing, if the executor has taken no more tasks and ended, and was started
    /// again.
    pub(crate) fn after_registration(self, status: &ExecutorStatus) -> Option<Self> {
        match self {
            _ if status.task_limit == 0 => Some(Self::Heard),
            Self::Asked => Some(Self::Asked),
            Self::Heard => None,
        }
    }
}

impl ExecutorRow {
    /// Whether it is connected and heard of: it may be given tasks.
    pub(crate) fn is_here(&self) -> bool {
        self.process.is_some() && !self.silent
    }

    /// Writes that it is not connected.
    pub(crate) fn leave(&mut self, now: SystemTime) {
        (self.process, self.process_name) = (None, None);
        self.silent = false;
        self.away_since.get_or_insert(now);
    }
}

/// A sealed log: nothing comes after its last byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogRow {
    /// What is stored, in bytes.
    pub(crate) bytes: u64,
    /// Where each of its objects begins, ascending.
    pub(crate) chunks: Vec<u64>,
    /// The lines of each of its objects.
    pub(crate) lines: Vec<LineCount>,
    /// What is missing at its end, in bytes, because it was never received.
    pub(crate) missing: u64,
    /// The hash that the executor computed, if it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

/// A cache entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheRow {
    /// Orders the entries of a scope: a greater one is newer.
    pub(crate) sequence: u64,
    /// The id in the name of its object.
    pub(crate) object: String,
    pub(crate) size: u64,
    pub(crate) stored: SystemTime,
    /// When it was last restored, give or take an hour; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<SystemTime>,
}

impl CacheRow {
    /// Since when nobody has had any use of it.
    pub(crate) fn unused_since(&self) -> SystemTime {
        self.used.map_or(self.stored, |used| used.max(self.stored))
    }
}

/// What happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventRow {
    pub(crate) time: SystemTime,
    pub(crate) event: RunEvent,
}

/// What a run refers to of a task that several runs share. A task that one run has had all the time has no such row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReferenceRow {
    pub(crate) logs: bool,
    pub(crate) workspaces: bool,
}

impl ReferenceRow {
    pub(crate) fn has(self, data: TaskData) -> bool {
        match data {
            TaskData::Logs => self.logs,
            TaskData::Workspaces => self.workspaces,
        }
    }

    pub(crate) fn without(self, data: TaskData) -> Self {
        match data {
            TaskData::Logs => Self { logs: false, ..self },
            TaskData::Workspaces => Self { workspaces: false, ..self },
        }
    }
}

/// What is stored of a task and given up separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TaskData {
    Logs,
    Workspaces,
}

/// Something that is decided and still to be done with objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Chore {
    /// Write the object that says that a run refers to the data of a task.
    Refer { data: TaskData, task: TaskId, run: RunId },
    /// Remove it. `last`: and all that there is.
    Release { data: TaskData, task: TaskId, run: RunId, last: bool },
    /// Remove what a sealed log does not need.
    TidyLog { task: TaskId, attempt: u32, step: StepRef },
    /// Remove the object of a cache entry.
    DropCache { object: String },
}
