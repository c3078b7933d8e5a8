//! What does a definition say? Typed, checked, and still independent of branches and variables.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use runyard_executor_core::contract::{Arch, Contents, Resources, TaskName};
use runyard_runservice_core::model::{ConcurrencyPolicy, Condition, RetryPolicy};

use crate::{node::Position, when::When};

/// Which rules a definition is read by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// As it always was.
    #[default]
    V0,
    /// Stricter, and with more keys.
    V1,
}

/// A whole definition.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// The file that it was read from, as the caller named it.
    pub file: String,
    /// Which rules it was read by.
    pub version: Version,
    /// The runs; at least one.
    pub runs: Vec<RunDefinition>,
    /// Credentials by registry, for every task.
    pub registries_auth: BTreeMap<String, AuthDefinition>,
    /// How long a task may run, unless it or its run says otherwise.
    pub task_timeout: Option<Duration>,
}

/// A run.
#[derive(Clone, Debug, Default)]
pub struct RunDefinition {
    /// Its name, unique in the definition.
    pub name: String,
    /// Where it is written.
    pub position: Position,
    /// Its tasks, in the order of the file. None is valid.
    pub tasks: Vec<TaskDefinition>,
    /// When it is created; none: always.
    pub when: Option<When>,
    /// Credentials by registry; they replace the definition's, registry by registry.
    pub registries_auth: BTreeMap<String, AuthDefinition>,
    /// How long a task may run, unless it says otherwise.
    pub task_timeout: Option<Duration>,
    /// The namespace that caches are read from and written to, below the context's
    /// [`cache_scope`](crate::CompileContext::cache_scope).
    pub cache_group: Option<String>,
    /// What happens to other runs of the group.
    pub concurrency: Option<ConcurrencyDefinition>,
    /// When it is created by the clock. Kept for the host application; compiling does nothing with it.
    pub schedules: Vec<Schedule>,
    /// What a user is asked for when the run is started by hand. Each becomes a variable of the run.
    pub inputs: BTreeMap<String, Input>,
}

/// What a run does about others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConcurrencyDefinition {
    /// The runs that it is one of; none: those of the branch, tag or pull request.
    pub group: Option<String>,
    /// What it does about them.
    pub policy: ConcurrencyPolicy,
}

/// When a run is created by the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// A cron expression, as it is written.
    pub cron: String,
    /// The IANA name of a time zone; none: UTC.
    pub timezone: Option<String>,
}

/// What a user is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// What it may be.
    pub kind: InputKind,
    /// What it is when the user says nothing.
    pub default: Option<String>,
    /// Whether the user has to say something.
    pub required: bool,
}

/// What an input may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// Any text.
    #[default]
    String,
    /// True or false.
    Boolean,
    /// A number.
    Number,
}

impl InputKind {
    /// Whether a text is a value of this kind.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::String => true,
            Self::Boolean => matches!(text, "true" | "false"),
            Self::Number => text.parse::<f64>().is_ok_and(f64::is_finite),
        }
    }
}

/// A task.
#[derive(Clone, Debug)]
pub struct TaskDefinition {
    /// Its name, unique in the run.
    pub name: TaskName,
    /// Where it is written.
    pub position: Position,
    /// The processor architecture; none: any.
    pub arch: Option<Arch>,
    /// At least one; the first runs the steps.
    pub containers: Vec<ContainerDefinition>,
    /// Its variables.
    pub environment: BTreeMap<String, ValueSource>,
    /// Where steps run.
    pub working_dir: Option<String>,
    /// The program that reads a command.
    pub shell: Option<String>,
    /// The user that steps run as.
    pub user: Option<String>,
    /// What to do.
    pub steps: Vec<StepDefinition>,
    /// The parents, and on which of their ends this task starts; an empty set: never.
    pub depends: BTreeMap<TaskName, BTreeSet<Condition>>,
    /// Whether the run goes on as if nothing was when the task fails.
    pub ignore_failure: bool,
    /// Whose approval it waits for.
    pub approval: Option<Approval>,
    /// When it is executed; none: always.
    pub when: Option<When>,
    /// Credentials by registry; they replace the run's, registry by registry.
    pub registries_auth: BTreeMap<String, AuthDefinition>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Which failures start another attempt; without `on`, a lost executor and broken infrastructure.
    pub retry: RetryPolicy,
    /// What the executor must be labelled with.
    pub labels: BTreeMap<String, String>,
}

/// Whose approval a task waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approval {
    /// How many approvers it takes; at least 1.
    pub minimum: u32,
    /// Who may approve; empty: whoever the host application lets.
    pub approvers: Vec<String>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerDefinition {
    /// The image reference.
    pub image: String,
    /// Its variables.
    pub environment: BTreeMap<String, ValueSource>,
    /// The user that it runs as.
    pub user: Option<String>,
    /// Whether it asks for the host's privileges.
    pub privileged: bool,
    /// The program that it starts.
    pub entrypoint: Option<String>,
    /// Paths of memory-backed volumes with their limits in bytes; 0: none.
    pub volumes: Vec<(String, u64)>,
    /// What it needs of a machine. Kept; compiling does nothing with it.
    pub resources: Resources,
}

/// A text, or the name of a variable that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The text itself.
    Text(String),
    /// The value of a variable.
    Variable(String),
}

/// Credentials for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthDefinition {
    /// A user name and a password.
    Basic {
        /// Who.
        username: ValueSource,
        /// The proof.
        password: ValueSource,
    },
    /// `user:password` in base64.
    Encoded {
        /// The encoded pair.
        auth: ValueSource,
    },
}

/// A step.
#[derive(Clone, Debug)]
pub struct StepDefinition {
    /// What a user sees it as.
    pub name: String,
    /// When it is executed; none: always. Only in `v1`.
    pub when: Option<When>,
    /// What it does.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fetches the commit into the working directory.
    Clone(CloneOptions),
    /// Runs a command.
    Run(CommandStep),
    /// Stores files for the tasks that depend on this one.
    SaveToWorkspace {
        /// Which files.
        contents: Vec<Contents>,
    },
    /// Unpacks what all ancestors stored.
    RestoreWorkspace {
        /// Where to.
        dest_dir: String,
    },
    /// Stores files for later runs.
    SaveCache {
        /// A template of the key.
        key: String,
        /// Which files.
        contents: Vec<Contents>,
    },
    /// Unpacks what an earlier run stored.
    RestoreCache {
        /// Templates of keys, tried in order.
        keys: Vec<String>,
        /// Where to.
        dest_dir: String,
    },
}

/// How much of a repository is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneOptions {
    /// How many commits of history; none: all.
    pub depth: Option<u32>,
    /// Whether submodules are fetched too, and theirs.
    pub recurse_submodules: bool,
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandStep {
    /// The text that the shell reads.
    pub command: String,
    /// Variables of this step alone.
    pub environment: BTreeMap<String, ValueSource>,
    /// Where it runs.
    pub working_dir: Option<String>,
    /// The program that reads the command.
    pub shell: Option<String>,
    /// The user it runs as.
    pub user: Option<String>,
    /// Whether its output is a terminal.
    pub tty: bool,
    /// How long it may run.
    pub timeout: Option<Duration>,
}
