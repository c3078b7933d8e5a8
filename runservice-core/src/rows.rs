//! What is stored beside runs, run configs and tasks?

use std::time::SystemTime;

use runyard_executor_core::contract::{ExecutorId, ExecutorStatus, RunId, TaskName};
use serde::{Deserialize, Serialize};

use crate::{logs::LineCount, process::ProcessId};

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

/// A registered executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecutorRow {
    /// Grows with every registration.
    pub(crate) epoch: u64,
    /// The process that holds its connection; none: it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessId>,
    pub(crate) status: ExecutorStatus,
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
}
