//! What is a run at its birth?

use std::{collections::BTreeMap, sync::Arc};

use runyard_executor_core::contract::{RunId, TaskId, TaskName};

use super::{Change, Effect, Stepped, changes::emit};
use crate::model::{ConcurrencyPolicy, Run, RunConfig, RunPhase, RunResult, RunState, Task, TaskStatus, Times};

/// What names a new run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunIdentity {
    /// Its id.
    pub id: RunId,
    /// Its number in the root group.
    pub number: u64,
}

/// Makes a run of a run config: queued, so that [`Event::Start`](super::Event::Start) comes when
/// [`admit`](super::admit) or the end of another run says so, or in phase `setuperror`, final and without tasks.
///
/// `new_id` is asked once per task, in the order of their names.
pub fn create(config: &RunConfig, identity: RunIdentity, new_id: &mut dyn FnMut() -> TaskId) -> Stepped {
    let tasks = config.tasks.keys().map(|name| Arc::new(new_task(config, name, new_id())));
    created(new_run(config, identity, None), tasks)
}

pub(super) fn created(run: Run, tasks: impl Iterator<Item = Arc<Task>>) -> Stepped {
    let tasks = (run.phase != RunPhase::SetupError).then_some(tasks).into_iter().flatten();
    let tasks: BTreeMap<_, _> = tasks.map(|task| (task.name.clone(), task)).collect();
    let state = RunState { run, tasks };
    let Run { name, phase, restart_of, .. } = state.run.clone();
    let mut effects: Vec<Effect> = vec![emit(&state, Change::RunCreated { name, phase, restart_of })];
    for task in state.tasks.values().filter(|task| task.status == TaskStatus::Skipped) {
        let (name, id, attempt, status) = (task.name.clone(), task.id.clone(), task.attempt, task.status);
        effects.push(emit(&state, Change::TaskStatus { task: name, id, attempt, status, failure: None }));
    }
    Stepped { state, effects }
}

pub(super) fn new_run(config: &RunConfig, identity: RunIdentity, restart_of: Option<RunId>) -> Run {
    // A graph that is none must not come to life, even if the host forgot to check it.
    let mut setup_errors = config.setup_errors.clone();
    setup_errors.extend(config.graph_errors().into_iter().filter(|error| !config.setup_errors.contains(error)));
    Run {
        id: identity.id,
        number: identity.number,
        name: config.name.clone(),
        group: config.group.clone(),
        phase: if setup_errors.is_empty() { RunPhase::Queued } else { RunPhase::SetupError },
        result: RunResult::Unknown,
        stop_requested: false,
        parallel: config.concurrency == ConcurrencyPolicy::Parallel,
        restart_of,
        annotations: config.annotations.clone(),
        setup_errors,
        pinned: false,
        logs_expired: false,
        workspaces_expired: false,
        idempotency_key: None,
        times: Times::default(),
    }
}

/// Rule 4: what its definition skips is born skipped.
pub(super) fn new_task(config: &RunConfig, name: &TaskName, id: TaskId) -> Task {
    let definition = config.tasks.get(name);
    let mut task = Task::new(id, name.clone(), definition.map_or(0, |task| task.steps.0.len()));
    if definition.is_some_and(|task| task.skip) {
        task.status = TaskStatus::Skipped;
    }
    task
}
