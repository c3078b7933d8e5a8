//! What does a scheduler see? Runs, waiting tasks and executors, as plain data.

use std::collections::{BTreeMap, BTreeSet};

use runyard_executor_core::contract::{Arch, ExecutorId, RunId, TaskName};
use serde::{Deserialize, Serialize};

use crate::model::{Condition, GroupPath, RunConfig, RunState, Task, TaskConfig, TaskStatus};

/// A run as a scheduler sees it: its definition and its state, which name the same tasks.
#[derive(Clone, Copy, Debug)]
pub struct RunView<'a> {
    /// The definition.
    pub config: &'a RunConfig,
    /// The state.
    pub state: &'a RunState,
}

impl<'a> RunView<'a> {
    /// The tasks that a plan is about: neither final nor scheduled.
    pub fn open_tasks(self) -> impl Iterator<Item = (&'a TaskName, &'a TaskConfig, &'a Task)> {
        let open = |task: &Task| !task.status.is_final() && task.assignment.is_none();
        let tasks = self.state.tasks.iter().filter(move |(_, task)| open(task));
        tasks.filter_map(move |(name, task)| Some((name, self.config.tasks.get(name)?, &**task)))
    }

    /// The parents of a task that are not final yet.
    pub fn unfinished_parents(self, task: &'a TaskConfig) -> impl Iterator<Item = &'a TaskName> {
        let unfinished = move |name: &TaskName| self.state.tasks.get(name).is_some_and(|task| !task.status.is_final());
        task.depends.keys().filter(move |name| unfinished(name))
    }

    /// Whether every parent ended in a way that the task asks for.
    ///
    /// Cancelled and stopped parents never do, nor do those that do not exist.
    pub fn conditions_match(self, task: &TaskConfig) -> bool {
        task.depends.iter().all(|(parent, conditions)| self.matched(parent, conditions).is_some())
    }

    /// Whether a condition `on_failure` is among those that made the task ready.
    pub fn follows_a_failure(self, task: &TaskConfig) -> bool {
        let matched = |(parent, conditions)| self.matched(parent, conditions);
        task.depends.iter().any(|pair| matched(pair) == Some(Condition::Failure))
    }

    /// The condition that the end of a parent matches.
    fn matched(self, parent: &TaskName, conditions: &BTreeSet<Condition>) -> Option<Condition> {
        let end = match self.state.tasks.get(parent)?.status {
            TaskStatus::Success => Condition::Success,
            TaskStatus::Failed => Condition::Failure,
            TaskStatus::Skipped => Condition::Skipped,
            TaskStatus::NotStarted | TaskStatus::Running | TaskStatus::Cancelled | TaskStatus::Stopped => return None,
        };
        let none_given = conditions.is_empty() && end == Condition::Success;
        (none_given || conditions.contains(&end)).then_some(end)
    }
}

/// A task that is ready and waits for an executor: a row of the placement queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitingTask {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskName,
    /// The attempt that waits.
    pub attempt: u32,
    /// The group that takes turns with others.
    pub root: GroupPath,
    /// Orders the tasks of a root group: what became ready earlier has a smaller one.
    pub position: u64,
    /// The architecture that it needs; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// Whether it asks for privileged containers.
    pub privileged: bool,
    /// What its executor must be labelled with.
    pub labels: BTreeMap<String, String>,
}

impl WaitingTask {
    /// The row of a task, or none if the run has no such task.
    pub fn new(config: &RunConfig, state: &RunState, task: &TaskName, position: u64) -> Option<Self> {
        let definition = config.tasks.get(task)?;
        Some(Self {
            run: state.run.id.clone(),
            task: task.clone(),
            attempt: state.tasks.get(task)?.attempt,
            root: state.run.group.root(),
            position,
            arch: definition.runtime.arch,
            privileged: definition.runtime.is_privileged(),
            labels: definition.labels.clone(),
        })
    }
}

/// An executor as the placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorView {
    /// Its id.
    pub id: ExecutorId,
    /// What people call it.
    pub name: String,
    /// Whether its last heartbeat is recent; a silent one gets no new tasks.
    pub alive: bool,
    /// The architectures that it can run.
    pub archs: Vec<Arch>,
    /// What tasks may select it by.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs privileged containers.
    pub allow_privileged_containers: bool,
    /// The most tasks at a time; 0: none, it drains.
    pub task_limit: u32,
    /// Why it takes no new tasks for a while, as a phrase for users; none: it does.
    pub not_ready: Option<String>,
    /// The assignments that it holds, accepted or not.
    pub active: u32,
}

impl ExecutorView {
    /// How many more tasks it takes.
    pub fn free(&self) -> u32 {
        self.task_limit.saturating_sub(self.active)
    }
}
