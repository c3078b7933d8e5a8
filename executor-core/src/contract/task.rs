//! What is an executor asked to execute?

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Environment, ExecutorId, RunId, Steps, TaskId, TaskName, Value};

/// Everything that an executor needs to execute one attempt of a task. It needs nothing of runs besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// The task.
    pub id: TaskId,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    /// The run that it belongs to, for log lines and labels.
    pub run: RunId,
    /// What the definition calls it.
    pub name: TaskName,
    /// The containers and the machine that they need.
    pub runtime: Runtime,
    /// The task's own variables.
    pub environment: Environment,
    /// Variables that the host application sets for every task of the run; they win over the task's.
    pub static_environment: Environment,
    /// Variables of the run; they win over the static ones.
    pub run_environment: Environment,
    /// Where steps run; `~` is the home inside the pod. None: `~/project`.
    pub working_dir: Option<String>,
    /// The program that reads a command, split on blanks. None: `/bin/sh -e`.
    pub shell: Option<String>,
    /// The user that steps run as. None: the first container's.
    pub user: Option<String>,
    /// What to do.
    pub steps: Steps,
    /// How long the task may run, counted from the start of its pod. None: no limit.
    pub timeout: Option<Duration>,
    /// Credentials by registry.
    pub registries_auth: BTreeMap<String, RegistryAuth>,
    /// What `restore_workspace` unpacks, in this order.
    pub workspace: Vec<WorkspaceArchive>,
}

/// The containers of a task and the machine that they need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// The processor architecture; none: any.
    pub arch: Option<Arch>,
    /// At least one; the first runs the steps.
    pub containers: Vec<Container>,
}

impl Runtime {
    /// Whether any container asks for privileges.
    pub fn is_privileged(&self) -> bool {
        self.containers.iter().any(|container| container.privileged)
    }
}

/// One container of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Container {
    /// The image reference.
    pub image: String,
    /// Variables of this container; everything else wins over them.
    pub environment: Environment,
    /// The user that it runs as; none: the image's.
    pub user: Option<String>,
    /// Whether it asks for the host's privileges.
    pub privileged: bool,
    /// The program that it starts, split on blanks; none: the image's.
    pub entrypoint: Option<String>,
    /// Memory-backed volumes.
    pub volumes: Vec<TmpfsVolume>,
    /// The most that it may use of its machine.
    #[serde(skip_serializing_if = "Resources::is_unlimited")]
    pub resources: Resources,
}

/// The most that a container may use of its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a processor; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milli_cpus: Option<u64>,
    /// Memory in bytes, without swap; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
}

impl Resources {
    /// Whether there is no limit at all.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// A memory-backed volume of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TmpfsVolume {
    /// Where it is mounted, absolute.
    pub path: String,
    /// Its limit in bytes; 0: none.
    pub size_max: u64,
}

/// A processor architecture, as Go and container images name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 32-bit x86.
    #[serde(rename = "386")]
    X86,
    /// 64-bit x86.
    Amd64,
    /// 32-bit ARM.
    Arm,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// The architecture that this program was built for, if it is one of these.
    pub fn current() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86" => Some(Self::X86),
            "x86_64" => Some(Self::Amd64),
            "arm" => Some(Self::Arm),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "386",
            Self::Amd64 => "amd64",
            Self::Arm => "arm",
            Self::Arm64 => "arm64",
        })
    }
}

impl std::str::FromStr for Arch {
    type Err = super::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "386" => Ok(Self::X86),
            "amd64" => Ok(Self::Amd64),
            "arm" => Ok(Self::Arm),
            "arm64" => Ok(Self::Arm64),
            _ => Err(super::InvalidName {
                text: text.chars().take(100).collect(),
                kind: "architecture",
                reason: "it is none of 386, amd64, arm and arm64",
            }),
        }
    }
}

/// Credentials for one registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RegistryAuth {
    /// A user name and a password.
    Basic {
        /// Who.
        username: Value,
        /// The proof.
        password: Value,
    },
    /// `user:password` in base64, as docker's configuration file has it.
    EncodedAuth {
        /// The encoded pair.
        auth: Value,
    },
}

/// An archive that an ancestor stored in the workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceArchive {
    /// The ancestor's level in the graph; what is deeper is restored later.
    pub level: u32,
    /// The ancestor's name.
    pub name: TaskName,
    /// The ancestor's step.
    pub step: u32,
    /// The ancestor.
    pub task: TaskId,
}

/// Who may speak for an attempt of a task: what makes late, repeated and foreign messages harmless.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// The task.
    pub task: TaskId,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// The executor that it was given to.
    pub executor: ExecutorId,
    /// The epoch of the executor's registration that speaks.
    pub epoch: u64,
}
