//! Why does something wait? In words for users, and as a type for programs.

use std::{collections::BTreeMap, fmt};

use runyard_executor_core::contract::{Arch, TaskName};
use serde::{Deserialize, Serialize};

/// Why a run or a task waits. `Display` says it to users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitingReason {
    /// A run waits for another of its group.
    WaitingForRun {
        /// The number of the other run.
        number: u64,
    },
    /// Parents are not final yet.
    WaitingForTasks {
        /// Which ones.
        tasks: Vec<TaskName>,
    },
    /// Approvers are missing.
    WaitingForApproval {
        /// How many approved.
        have: u32,
        /// How many it takes.
        need: u32,
    },
    /// No executor is registered.
    NoExecutor,
    /// No executor can run the architecture.
    NoExecutorForArch {
        /// The one that is asked for.
        arch: Arch,
    },
    /// No executor with the right architecture allows privileged containers.
    NoPrivileged {
        /// The architecture that is asked for, if any.
        arch: Option<Arch>,
    },
    /// No executor that could run it otherwise has the labels.
    NoLabels {
        /// The ones that are asked for.
        labels: BTreeMap<String, String>,
    },
    /// Every executor that could run it takes no new tasks.
    AllDraining {
        /// Their names.
        executors: Vec<String>,
    },
    /// Every executor that could run it has not been heard of for a while.
    AllSilent {
        /// Their names.
        executors: Vec<String>,
    },
    /// Every executor that could run it takes no new tasks for a while.
    AllNotReady {
        /// What each says of itself, by their names.
        executors: BTreeMap<String, String>,
    },
    /// Every executor that could run it has as many tasks as it may.
    AllFull {
        /// How many executors those are.
        executors: usize,
    },
    /// The task is with an executor that has not been heard of for a while.
    ExecutorSilent {
        /// Its name.
        executor: String,
        /// For how long.
        seconds: u64,
    },
    /// What a scheduler of the host application says.
    Other {
        /// A sentence for the user, without a period.
        message: String,
    },
}

impl fmt::Display for WaitingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitingForRun { number } => write!(f, "waiting for run #{number} of the same group"),
            Self::WaitingForTasks { tasks } => write!(f, "waiting for {}", quoted(tasks)),
            Self::WaitingForApproval { have, need } => write!(f, "waiting for approval: {have} of {need}"),
            Self::NoExecutor => f.write_str("no executor is registered"),
            Self::NoExecutorForArch { arch } => write!(f, "no executor with arch {arch}"),
            Self::NoPrivileged { arch: None } => f.write_str("no executor allows privileged containers"),
            Self::NoPrivileged { arch: Some(arch) } => {
                write!(f, "no executor with arch {arch} allows privileged containers")
            }
            Self::NoLabels { labels } => {
                let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
                write!(f, "no executor that could run it has the labels {}", quoted(&labels))
            }
            Self::AllDraining { executors } => {
                write!(f, "every executor that could run it takes no new tasks: {}", quoted(executors))
            }
            Self::AllSilent { executors } => {
                write!(f, "every executor that could run it is silent: {}", quoted(executors))
            }
            Self::AllNotReady { executors } => {
                let executors: Vec<_> = executors.iter().map(|(name, why)| format!("`{name}` ({why})")).collect();
                write!(f, "every executor that could run it is not ready: {}", executors.join(", "))
            }
            Self::AllFull { executors: 1 } => f.write_str("the only executor that could run it is full"),
            Self::AllFull { executors } => write!(f, "all {executors} executors that could run it are full"),
            Self::ExecutorSilent { executor, seconds } => write!(f, "executor `{executor}` silent for {seconds} s"),
            Self::Other { message } => f.write_str(message),
        }
    }
}

fn quoted<T: fmt::Display>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
