//! What does an executor say about itself, and what is it told?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Arch, ExecutorId, TaskId, TaskSpec};

/// What an executor says about itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExecutorStatus {
    /// Its id, kept on disk.
    pub id: ExecutorId,
    /// What people call it.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// The group of executors that work on the same cluster.
    pub group: String,
    /// The other executors of the group that it sees.
    pub siblings: Vec<ExecutorId>,
    /// The architectures that it can run.
    pub archs: Vec<Arch>,
    /// What tasks may select it by.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs privileged containers.
    pub allow_privileged_containers: bool,
    /// The most tasks at a time; 0: none, it drains.
    pub task_limit: u32,
    /// Whether it may disappear without being deleted by hand.
    pub dynamic: bool,
    /// Why it takes no new tasks for a while, as a phrase for users; none: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<String>,
    /// The attempts that it holds: whatever its journal knows of, running or finished and not yet reported.
    pub held: Vec<HeldTask>,
}

impl ExecutorStatus {
    /// One that is alone in its group, is called by its id, runs any architecture and takes so many tasks.
    pub fn new(id: ExecutorId, task_limit: u32) -> Self {
        Self {
            name: id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            group: id.to_string(),
            id,
            siblings: Vec::new(),
            archs: Vec::new(),
            labels: BTreeMap::new(),
            allow_privileged_containers: false,
            task_limit,
            dynamic: false,
            not_ready: None,
            held: Vec::new(),
        }
    }
}

/// An attempt that an executor holds when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HeldTask {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: u32,
}

/// What an executor is told over its connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Execute this, once its acceptance is acknowledged. Told again after a reconnection until it is accepted.
    Assign {
        /// What to execute.
        task: Box<TaskSpec>,
    },
    /// Stop this attempt and report how it ended.
    Stop {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// The run service does not expect anything of this attempt any more: end it, remove its pod, report nothing.
    Forget {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// Take no new tasks, end when the ones that are held have ended.
    Drain,
}

/// What an executor sees of the others of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Siblings {
    /// Who is there.
    pub seen: Vec<ExecutorId>,
    /// Who is gone for good, and whose pods have all been removed: nothing of theirs can be executing.
    pub removed: Vec<ExecutorId>,
}
