//! What does a task do, one action after the other?
//!
//! Defined once: the run config's tasks and the executor's task specification both hold [`Steps`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Environment;

/// The actions of a task, in order. The first that does not succeed ends the task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Steps(pub Vec<Step>);

/// One action of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Step {
    /// Runs a command.
    Run(RunStep),
    /// Stores files for the tasks that depend on this one.
    SaveToWorkspace(SaveToWorkspaceStep),
    /// Unpacks what all ancestors stored.
    RestoreWorkspace(RestoreWorkspaceStep),
    /// Stores files for later runs.
    SaveCache(SaveCacheStep),
    /// Unpacks what an earlier run stored, if there is anything.
    RestoreCache(RestoreCacheStep),
}

/// Runs a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RunStep {
    /// What a user sees it as; at most 100 bytes.
    pub name: String,
    /// The text that the shell reads, from a file.
    pub command: String,
    /// Variables of this step alone; they win over the task's.
    pub environment: Environment,
    /// Where it runs, absolute or relative to the task's working directory; none: there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The program that reads the command, split on blanks; none: the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// The user it runs as; none: the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether its output is a terminal.
    pub tty: bool,
    /// How long it may run; none: no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// Stores files for the tasks that depend on this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SaveToWorkspaceStep {
    /// What a user sees it as.
    pub name: String,
    /// Which files, and where they appear when they are restored.
    pub contents: Vec<Contents>,
}

/// Unpacks what all ancestors stored, sorted by level, then name, then step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RestoreWorkspaceStep {
    /// What a user sees it as.
    pub name: String,
    /// Where the files go, absolute or relative to the working directory.
    pub dest_dir: String,
}

/// Stores files for later runs. Storing an existing key does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SaveCacheStep {
    /// What a user sees it as.
    pub name: String,
    /// A template of the entry's key.
    pub key: String,
    /// Which files, and where they appear when they are restored.
    pub contents: Vec<Contents>,
}

/// Unpacks what an earlier run stored. Finding nothing is a success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RestoreCacheStep {
    /// What a user sees it as.
    pub name: String,
    /// Templates of keys, tried in order: an exact match, else the newest entry with that prefix, else the next.
    pub keys: Vec<String>,
    /// Where the files go, absolute or relative to the working directory.
    pub dest_dir: String,
}

/// A choice of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Contents {
    /// Where the paths begin, absolute or relative to the working directory; empty: there.
    pub source_dir: String,
    /// Where the files appear below the restoring step's `dest_dir`; empty: there.
    pub dest_dir: String,
    /// Globs relative to `source_dir`, with `**`. None of them: no files. A matched directory does not include its
    /// content.
    pub paths: Vec<String>,
}

impl Step {
    /// What a user sees the step as.
    pub fn name(&self) -> &str {
        match self {
            Self::Run(step) => &step.name,
            Self::SaveToWorkspace(step) => &step.name,
            Self::RestoreWorkspace(step) => &step.name,
            Self::SaveCache(step) => &step.name,
            Self::RestoreCache(step) => &step.name,
        }
    }

    /// The kind of the step, as the configuration language spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::SaveToWorkspace(_) => "save_to_workspace",
            Self::RestoreWorkspace(_) => "restore_workspace",
            Self::SaveCache(_) => "save_cache",
            Self::RestoreCache(_) => "restore_cache",
        }
    }
}
