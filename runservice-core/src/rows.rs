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
