//! What a supervisor is told to do, and what it leaves behind: the JSON files of a step directory.
//!
//! ```text
//! STEP_DIR/            0700, made by the driver
//!   spec.json          `SuperviseSpec`, 0600, made by the driver
//!   spec.claimed.json  the same once a supervisor has made the step its own; removed after the pid file is there
//!   pid                `PidFile`
//!   ctl.sock           the socket of `protocol`
//!   spool/<offset>     segments of the output that are not acknowledged
//!   survivors.json     processes that outlived the step, if there are any
//!   exit.json          `ExitStatus`; written last, after all output
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The name of the file with the [`SuperviseSpec`].
pub const SPEC_FILE: &str = "spec.json";
pub(crate) const CLAIMED_FILE: &str = "spec.claimed.json";
pub(crate) const PID_FILE: &str = "pid";
pub(crate) const SURVIVORS_FILE: &str = "survivors.json";
pub(crate) const EXIT_FILE: &str = "exit.json";
pub(crate) const SPOOL_DIR: &str = "spool";

/// One step: what to start, and under which limits.
///
/// ```
/// use runyard_toolbox::SuperviseSpec;
///
/// let spec: SuperviseSpec = serde_json::from_str(
///     r#"{"command": {"shell": {"shell": ["/bin/sh", "-e"], "file": "command"}}, "working_dir": "~/project"}"#,
/// )?;
/// assert_eq!(spec.output_max, 64 << 20);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuperviseSpec {
    /// What to start.
    pub command: StepCommand,
    /// The whole environment of the command; nothing is inherited.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Values that the output must not show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Where the command starts. A leading `~` is the user's home.
    pub working_dir: PathBuf,
    /// Whether the command gets a terminal (80x24) rather than a pipe and no input.
    #[serde(default)]
    pub tty: bool,
    /// `name`, `uid`, `name:group` or `uid:gid`. `None`: the supervisor's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The time between SIGTERM and SIGKILL where the supervisor itself ends the step.
    #[serde(default = "default_grace", with = "milliseconds")]
    pub grace: Duration,
    /// How long the step runs on after the last frame of a client.
    #[serde(default = "default_lost_after", with = "milliseconds")]
    pub lost_after: Duration,
    /// The most bytes of output that are kept unacknowledged; then the command blocks.
    #[serde(default = "default_output_max")]
    pub output_max: u64,
}

// The values of an environment can be secrets.
impl std::fmt::Debug for SuperviseSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SuperviseSpec")
            .field("command", &self.command)
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("working_dir", &self.working_dir)
            .field("tty", &self.tty)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl SuperviseSpec {
    /// A step with default limits and an empty environment.
    #[must_use]
    pub fn new(command: StepCommand, working_dir: impl Into<PathBuf>) -> Self {
        Self {
            command,
            environment: BTreeMap::new(),
            secrets: Vec::new(),
            working_dir: working_dir.into(),
            tty: false,
            user: None,
            grace: default_grace(),
            lost_after: default_lost_after(),
            output_max: default_output_max(),
        }
    }
}

/// What a step starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StepCommand {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A shell and the file that it is to run, which becomes its last argument.
    Shell {
        /// The shell and its options.
        shell: Vec<String>,
        /// The file, relative to the step directory. If `user` is given the file is handed to that user.
        file: PathBuf,
    },
}

fn default_grace() -> Duration {
    Duration::from_secs(10)
}

fn default_lost_after() -> Duration {
    Duration::from_secs(600)
}

fn default_output_max() -> u64 {
    64 << 20
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code; 128 + n for signal n; 126 or 127 if the command could not be started.
    pub code: i32,
    /// The signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Who ended it.
    pub reason: ExitReason,
    /// What a user should read, where the code alone does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The length of the whole output.
    pub output_end: u64,
    /// Whether nothing that the step started runs any more: as the subreaper of its step the supervisor knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing_left: bool,
}

/// Who ended a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// The command itself.
    Exited,
    /// A client, with a `Stop`.
    Stopped,
    /// The supervisor, because no client touched it for `lost_after`.
    Lost,
    /// The command was never started; the message says why.
    FailedToStart,
    /// The kernel, because the container had no memory left.
    OutOfMemory,
    /// The supervisor, because it could not keep the output (disk full, say); the message says why.
    SpoolFailed,
}

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid, in the pod's pid namespace.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
}

/// The processes of a step, so that an executor can kill them after the supervisor was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidFile {
    /// Start times count from this boot.
    pub boot_id: String,
    /// The supervisor.
    pub supervisor: ProcessId,
    /// The command, leader of its own session and process group. `None` until it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<ProcessId>,
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
