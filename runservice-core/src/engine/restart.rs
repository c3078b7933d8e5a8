//! What does a restarted run keep of the one that it repeats?

use std::{collections::BTreeSet, sync::Arc};

use runyard_executor_core::contract::{Step, TaskId, TaskName};

use super::{
    Refusal, RunIdentity, Stepped,
    create::{created, new_run, new_task},
};
use crate::model::{RunConfig, RunPhase, RunResult, RunState, TaskStatus};

/// Where a restart begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartFrom {
    /// Every task is new.
    Scratch,
    /// Tasks that succeeded after nothing but successes are kept, with their ids, logs and archives.
    FailedTasks {
        /// The tasks whose workspace archives are gone.
        expired: BTreeSet<TaskId>,
    },
}

/// Makes a run that repeats another one with the same config.
///
/// Kept tasks are shared by both runs: the service adds a reference of the new run to their logs and archives. New
/// tasks ask for approval again. The new run is queued, as one that [`create`](super::create) makes.
///
/// # Errors
/// [`Refusal::WrongPhase`] unless the old run is finished or cancelled; [`Refusal::NothingFailed`] and
/// [`Refusal::ArchivesExpired`] from failed tasks.
pub fn restart(
    config: &RunConfig,
    old: &RunState,
    from: &RestartFrom,
    identity: RunIdentity,
    new_id: &mut dyn FnMut() -> TaskId,
) -> Result<Stepped, Refusal> {
    let number = old.run.number;
    if !matches!(old.run.phase, RunPhase::Finished | RunPhase::Cancelled) {
        let rule = "only a finished or cancelled run can be restarted";
        return Err(Refusal::WrongPhase { number, phase: old.run.phase, rule });
    }
    let kept = match from {
        RestartFrom::Scratch => BTreeSet::new(),
        RestartFrom::FailedTasks { .. } if old.run.result == RunResult::Success => {
            return Err(Refusal::NothingFailed { number, result: old.run.result });
        }
        RestartFrom::FailedTasks { expired } => {
            let kept = kept_tasks(config, old);
            check_archives(config, old, &kept, expired)?;
            kept
        }
    };
    let mut run = new_run(config, identity, Some(old.run.id.clone()));
    run.name.clone_from(&old.run.name);
    run.annotations.clone_from(&old.run.annotations);
    let tasks = config.tasks.keys().map(|name| match old.tasks.get(name).filter(|_| kept.contains(name)) {
        Some(task) => Arc::clone(task),
        None => Arc::new(new_task(config, name, new_id())),
    });
    Ok(created(run, tasks))
}

/// The tasks that a restart from failed tasks keeps: those that succeeded and depend, directly or not, on nothing but
/// tasks that did.
pub fn kept_tasks(config: &RunConfig, old: &RunState) -> BTreeSet<TaskName> {
    let succeeded = |name: &TaskName| old.tasks.get(name).is_some_and(|task| task.status == TaskStatus::Success);
    let keep = |name: &&TaskName| succeeded(name) && config.ancestors(name).into_iter().all(succeeded);
    config.tasks.keys().filter(keep).cloned().collect()
}

/// Only what a new task could restore matters: archives of tasks that saved something.
fn check_archives(
    config: &RunConfig,
    old: &RunState,
    kept: &BTreeSet<TaskName>,
    expired: &BTreeSet<TaskId>,
) -> Result<(), Refusal> {
    let saves = |name: &TaskName| {
        let steps = config.tasks.get(name).map(|task| task.steps.0.as_slice()).unwrap_or_default();
        steps.iter().any(|step| matches!(step, Step::SaveToWorkspace(_)))
    };
    let is_expired = |name: &TaskName| old.tasks.get(name).is_some_and(|task| expired.contains(&task.id));
    let tasks: Vec<TaskName> = kept.iter().filter(|name| saves(name) && is_expired(name)).cloned().collect();
    if tasks.is_empty() { Ok(()) } else { Err(Refusal::ArchivesExpired { number: old.run.number, tasks }) }
}
