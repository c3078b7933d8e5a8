//! What was asked to be run: the immutable definition of one run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use runyard_executor_core::contract::{Environment, RegistryAuth, Runtime, Steps, TaskName};
use serde::{Deserialize, Serialize};

use super::{
    GroupPath,
    graph::{self, Graph},
};

/// The immutable definition of one run.
///
/// Tasks depend on each other by name; [`RunConfig::check`] says whether that makes a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What a user sees the run as; at most 100 bytes.
    pub name: String,
    /// The group whose runs go one after another.
    pub group: GroupPath,
    /// The namespace that caches are read from and written to; none: the root group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_group: Option<String>,
    /// The namespace that cache entries are written to, and looked for first, where a run may only read the other one:
    /// what a fork's pull request stores must not be restored by those it is a request to. None: the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_group: Option<String>,
    /// What happens to other runs of the group.
    #[serde(default)]
    pub concurrency: ConcurrencyPolicy,
    /// The tasks by name.
    #[serde(default)]
    pub tasks: BTreeMap<TaskName, TaskConfig>,
    /// Variables that the host application sets for every task.
    #[serde(default)]
    pub static_environment: Environment,
    /// Variables of this run; they win over the static ones.
    #[serde(default)]
    pub environment: Environment,
    /// Names of variables that every task gets with the number of the run as their value.
    #[serde(default)]
    pub number_variables: Vec<String>,
    /// Opaque to the engine: what the host application wants to find again.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Why the definition cannot be run. Not empty: the run is created in phase `setuperror`, without tasks.
    #[serde(default)]
    pub setup_errors: Vec<String>,
    /// What a user should know though the run can go on, such as an unresolved variable.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether the secret values are those of a [`Sealer`](crate::sealer::Sealer). Set by the run service, which refuses to
    /// create a run that says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
}

/// What a new run does about other runs of its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConcurrencyPolicy {
    /// It waits for them.
    #[default]
    Queue,
    /// It cancels those that wait, and waits for the running one.
    CancelQueued,
    /// It cancels those that wait, stops the running one, and waits for its end.
    CancelRunning,
    /// It starts at once, beside them.
    Parallel,
}

/// The definition of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TaskConfig {
    /// The longest path from a task without parents; those have 0.
    pub level: u32,
    /// The parents, and on which of their ends this task starts.
    pub depends: BTreeMap<TaskName, BTreeSet<Condition>>,
    /// The containers and the machine that it needs.
    pub runtime: Runtime,
    /// The task's own variables.
    pub environment: Environment,
    /// Where steps run; none: `~/project`.
    pub working_dir: Option<String>,
    /// The program that reads a command; none: `/bin/sh -e`.
    pub shell: Option<String>,
    /// The user that steps run as; none: the first container's.
    pub user: Option<String>,
    /// What to do.
    pub steps: Steps,
    /// Whether the run goes on as if nothing was when the task fails.
    pub ignore_failure: bool,
    /// Whether it waits for an approval before it starts.
    pub needs_approval: bool,
    /// How many approvers it takes; read by the scheduler's policy. 0 counts as 1.
    pub approvers_min: u32,
    /// Whether it is born skipped, because its `when` did not match.
    pub skip: bool,
    /// Which failures start another attempt, and how many.
    pub retry: RetryPolicy,
    /// What the executor must be labelled with.
    pub labels: BTreeMap<String, String>,
    /// Credentials by registry.
    pub registries_auth: BTreeMap<String, RegistryAuth>,
    /// How long it may run, counted from the start of its pod; none: no limit.
    pub timeout: Option<Duration>,
}

/// How a parent must have ended for a task to start. No condition at all means [`Condition::Success`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub enum Condition {
    /// It succeeded.
    #[serde(rename = "on_success")]
    Success,
    /// It failed.
    #[serde(rename = "on_failure")]
    Failure,
    /// It was skipped.
    #[serde(rename = "on_skipped")]
    Skipped,
}

/// Which failures start another attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// The most attempts after the first; 0: none.
    pub max: u32,
    /// The classes of failure that are tried again.
    pub on: Vec<runyard_executor_core::contract::FailureClass>,
}

impl RunConfig {
    /// A run config without tasks.
    pub fn new(name: impl Into<String>, group: GroupPath) -> Self {
        Self {
            name: name.into(),
            group,
            cache_group: None,
            cache_write_group: None,
            concurrency: ConcurrencyPolicy::default(),
            tasks: BTreeMap::new(),
            static_environment: Environment::new(),
            environment: Environment::new(),
            number_variables: Vec::new(),
            annotations: BTreeMap::new(),
            setup_errors: Vec::new(),
            warnings: Vec::new(),
            sealed: false,
        }
    }

    /// The namespace that caches are read from and, unless there is another one for that, written to.
    pub fn cache_group(&self) -> String {
        self.cache_group.clone().unwrap_or_else(|| self.group.root().as_str().to_owned())
    }

    /// The namespace that caches are written to.
    pub fn cache_write_group(&self) -> String {
        self.cache_write_group.clone().unwrap_or_else(|| self.cache_group())
    }

    /// The tasks that a task depends on, directly or not.
    pub fn ancestors<'a>(&'a self, task: &TaskName) -> BTreeSet<&'a TaskName> {
        let mut found = BTreeSet::new();
        let mut open: Vec<_> = self.tasks.get(task).into_iter().flat_map(|task| task.depends.keys()).collect();
        while let Some(name) = open.pop() {
            if found.insert(name) {
                open.extend(self.tasks.get(name).into_iter().flat_map(|task| task.depends.keys()));
            }
        }
        found
    }

    /// Sets the level of every task and says what is wrong with the graph: dependencies on tasks that do not exist,
    /// and cycles, each with every task that is on one. Nothing wrong: an empty list.
    pub fn check(&mut self) -> Vec<String> {
        let levels = graph::levels(&self.graph());
        let levels: BTreeMap<TaskName, u32> = levels.into_iter().map(|(name, level)| (name.clone(), level)).collect();
        for (name, task) in &mut self.tasks {
            task.level = levels.get(name).copied().unwrap_or(0);
        }
        self.graph_errors()
    }

    /// What [`check`](Self::check) says, and no more.
    pub(crate) fn graph_errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        for (name, task) in &self.tasks {
            for parent in task.depends.keys().filter(|parent| !self.tasks.contains_key(*parent)) {
                errors.push(format!("task `{name}` depends on `{parent}`, which does not exist"));
            }
        }
        let on_cycle: Vec<_> = graph::on_cycles(&self.graph()).iter().map(|name| format!("`{name}`")).collect();
        if !on_cycle.is_empty() {
            errors.push(format!("these tasks depend on each other in a cycle: {}", on_cycle.join(", ")));
        }
        errors
    }

    fn graph(&self) -> Graph<'_> {
        self.tasks.iter().map(|(name, task)| (name, &task.depends)).collect()
    }
}
