//! What does an executor say about a task?

use serde::{Deserialize, Serialize};

use super::Fence;

/// The whole state of an attempt, as its executor sees it. A report replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskReport {
    /// Who speaks, of which attempt.
    pub fence: Fence,
    /// Grows with every report of the attempt; an older one changes nothing. Counted from 1.
    pub sequence: u64,
    /// Where the task as a whole is.
    pub state: AttemptState,
    /// Where the setup is.
    pub setup: StepReport,
    /// Where each step is, in the order of the definition.
    pub steps: Vec<StepReport>,
}

/// Where an attempt is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum AttemptState {
    /// Something of it may still be executing.
    Running,
    /// Every step succeeded, and nothing of it is executing.
    Success,
    /// It failed, and nothing of it is executing.
    Failed(Failure),
    /// It was stopped on request, and nothing of it is executing.
    Stopped,
}

impl AttemptState {
    /// Whether nothing of the attempt can still be executing.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Running)
    }
}

/// Why a task failed: a class to act on and a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What kind of failure it is.
    pub class: FailureClass,
    /// What happened, and what to do about it where that is known.
    pub message: String,
}

/// What kind of failure ended a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// A command ended with another status than 0.
    Exit,
    /// A limit of time was reached.
    Timeout,
    /// The task asks for something that cannot be set up.
    Setup,
    /// Something outside the task broke: an image pull, a driver, a storage.
    Infrastructure,
    /// The executor or the step's supervisor disappeared.
    Lost,
}

impl FailureClass {
    /// The class as it is spelled in JSON and shown to users.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Timeout => "timeout",
            Self::Setup => "setup",
            Self::Infrastructure => "infrastructure",
            Self::Lost => "lost",
        }
    }
}

/// Where the setup or a step is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepReport {
    /// Its status.
    pub status: StepStatus,
    /// The exit status of its command, where it had one; 128 + n for a command that signal n ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The end of its log, once nothing more can come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogEnd>,
}

/// The status of the setup or of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Nothing of it has happened.
    #[default]
    NotStarted,
    /// It is executing.
    Running,
    /// It succeeded.
    Success,
    /// It failed.
    Failed,
    /// It was stopped on request.
    Stopped,
}

impl StepStatus {
    /// Whether nothing of the step can still be executing.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Stopped)
    }
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LogEnd {
    /// Its length in bytes.
    pub bytes: u64,
    /// The SHA-256 of all of it, in lower-case hexadecimal; absent where the executor could not keep it over a
    /// restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}
