//! What can be done with one pod?

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use runyard_toolbox::{ExitReason, ExitStatus};
use serde::{Deserialize, Serialize};

use super::error::Result;
use crate::contract::{
    Arch, ByteStream, Container, Contents, Environment, ExecutorId, InvalidName, RegistryAuth, TaskId,
};

/// Names a pod. The executor makes it up before it asks for the pod, so that a half-made one is found again.
///
/// Same alphabet as a [`TaskId`], at most 40 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodId(String);

impl PodId {
    /// Checks `text` against the rules of the type.
    ///
    /// # Errors
    /// [`InvalidName`] names the rule that is broken.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        let reason = match text.len() {
            0 => Some("it is empty"),
            41.. => Some("it is longer than 40 bytes"),
            _ if !text.bytes().all(allowed) => Some("it may contain only a-z, 0-9, `-` and `_`"),
            _ => None,
        };
        match reason {
            None => Ok(Self(text)),
            Some(reason) => Err(InvalidName { text: text.chars().take(100).collect(), kind: "pod id", reason }),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PodId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl From<PodId> for String {
    fn from(id: PodId) -> Self {
        id.0
    }
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PodId({:?})", self.0)
    }
}

/// What a pod is made of.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// Its id, never used before.
    pub id: PodId,
    /// The task that it is for.
    pub task: TaskId,
    /// The attempt of the task.
    pub attempt: u32,
    /// The executor that it belongs to.
    pub executor: ExecutorId,
    /// Its architecture; none: any.
    pub arch: Option<Arch>,
    /// Its containers; the first runs the steps.
    pub containers: Vec<Container>,
    /// The user that steps run as, unless a step says otherwise. None: the first container's.
    pub user: Option<String>,
    /// Credentials by registry.
    pub registries_auth: BTreeMap<String, RegistryAuth>,
    /// How long a step survives without an executor.
    pub lost_after: Duration,
}

/// A command to run in a pod.
#[derive(Clone, Debug)]
pub struct StepSpec {
    /// Its index in the task.
    pub step: u32,
    /// The text that the shell reads from a file.
    pub command: String,
    /// The program that reads it and its arguments; never empty.
    pub shell: Vec<String>,
    /// Everything that the task sets; the driver adds what a process needs besides (`HOME`, `PATH`).
    pub environment: Environment,
    /// Where it runs, absolute.
    pub working_dir: String,
    /// The user that it runs as; none: the pod's.
    pub user: Option<String>,
    /// Whether its output is a terminal.
    pub tty: bool,
    /// What must not appear in its output, nor in any file that holds it: the supervisor masks it (`Masker` of the
    /// toolbox).
    pub secrets: Vec<String>,
}

/// One pod: a place in which the steps of one attempt of one task run.
#[async_trait]
pub trait Pod: Send + Sync + fmt::Debug + 'static {
    /// Its id.
    fn id(&self) -> &PodId;

    /// The task that it is for.
    fn task(&self) -> &TaskId;

    /// The attempt of the task.
    fn attempt(&self) -> u32;

    /// The executor that it belongs to.
    fn executor(&self) -> &ExecutorId;

    /// Makes a directory with its parents, owned by the user that steps run as; a leading `~` is the user's home.
    /// Returns its absolute path. That it exists already is no error.
    async fn create_dir(&self, path: &str) -> Result<String>;

    /// Starts a command. It goes on when the executor ends.
    ///
    /// # Errors
    /// [`DriverError::AlreadyStarted`](super::DriverError::AlreadyStarted) if the step was started before, even by
    /// another process: a step is never started twice.
    async fn start_step(&self, spec: StepSpec) -> Result<()>;

    /// Reads the output of a step from `offset` on, which must not lie before what was acknowledged.
    ///
    /// # Errors
    /// [`DriverError::NotStarted`](super::DriverError::NotStarted) if nothing of the step was ever started.
    async fn attach(&self, step: u32, offset: u64) -> Result<Box<dyn Attachment>>;

    /// Ends everything that runs in the pod: asks, waits for `grace`, kills. Returns when nothing runs any more.
    async fn stop(&self, grace: Duration) -> Result<()>;

    /// Ends everything that runs in the pod and removes the pod. That it is gone already is no error.
    async fn remove(&self) -> Result<()>;

    /// Runs the toolbox in the pod. It ends when the returned value is dropped.
    async fn toolbox(&self, call: ToolboxCall, stdin: Option<ByteStream>) -> Result<ToolboxRun>;
}

/// The output of a step while it is produced.
#[async_trait]
pub trait Attachment: Send {
    /// The next piece of output, or the end. After the end it must not be called again.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> Result<StepEvent>;

    /// Everything before `offset` is stored elsewhere and may be given up.
    async fn ack(&mut self, offset: u64) -> Result<()>;
}

/// What happens in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepEvent {
    /// It printed something; pieces follow each other without a gap.
    Output {
        /// Where in the whole output the piece begins.
        offset: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// It ended, and all its output was delivered.
    Ended(StepEnd),
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Its command ended; 128 + n for a command that signal n ended.
    Exited {
        /// The exit status.
        code: i32,
    },
    /// The kernel killed its command, because the container had no memory left.
    OutOfMemory {
        /// The exit status.
        code: i32,
    },
    /// Its command could not be started.
    NotStarted {
        /// Why, for the task's user.
        message: String,
    },
    /// Its supervisor disappeared, or gave it up; nothing of it runs any more.
    Lost {
        /// What is known, for the task's user.
        message: String,
    },
}

impl From<ExitStatus> for StepEnd {
    fn from(status: ExitStatus) -> Self {
        match status.reason {
            ExitReason::Exited | ExitReason::Stopped => Self::Exited { code: status.code },
            ExitReason::OutOfMemory => Self::OutOfMemory { code: status.code },
            ExitReason::FailedToStart => Self::NotStarted { message: status.message.unwrap_or_default() },
            ExitReason::Lost => {
                let message = "its executor was away for too long, so its supervisor has stopped it".to_owned();
                Self::Lost { message }
            }
            ExitReason::SpoolFailed => Self::Lost { message: status.message.unwrap_or_default() },
        }
    }
}

/// What the toolbox can do in a pod.
#[derive(Clone, Debug)]
pub enum ToolboxCall {
    /// Packs files; the archive is the output.
    Archive {
        /// Where relative paths begin, absolute.
        working_dir: String,
        /// Which files.
        contents: Vec<Contents>,
    },
    /// Unpacks the archive that comes in.
    Unarchive {
        /// Where relative paths begin, absolute.
        working_dir: String,
        /// Where the files go, absolute or relative to `working_dir`.
        dest_dir: String,
        /// Whether a file that is there with other content is replaced; otherwise it is an error.
        overwrite: bool,
    },
    /// Renders the template of a cache key; the key is the output, ended by a zero byte.
    CacheKey {
        /// Where relative paths begin, absolute.
        working_dir: String,
        /// The template.
        template: String,
        /// What `env` sees.
        environment: Environment,
    },
}

/// A running toolbox.
pub struct ToolboxRun {
    /// What it writes. It ends without an error only if the toolbox succeeded; otherwise its last item is an error
    /// whose text says what went wrong. Reading it is also what feeds the toolbox.
    pub output: ByteStream,
    /// How it ended; completes when `output` has ended.
    pub end: BoxFuture<'static, ToolboxEnd>,
}

impl fmt::Debug for ToolboxRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolboxRun").finish_non_exhaustive()
    }
}

/// How the toolbox ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolboxEnd {
    /// Lines for the log of the step.
    pub messages: Vec<String>,
}

/// The toolbox ran and did not succeed: the task's own doing (a template that does not parse, a file in the way).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ToolboxFailed {
    /// What it says.
    pub message: String,
}
