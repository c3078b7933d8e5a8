//! What follows from the difference between two states? Every row and every event that goes with a change.
//!
//! Found by comparing, not noted while changing: whatever changed a state, its effects cannot be forgotten.

use runyard_executor_core::contract::{FailureClass, StepRef, StepStatus};

use super::{Change, Effect, RunEvent};
use crate::model::{EarlierAttempt, RunPhase, RunResult, RunState, StepState, Task};

pub(super) fn between(before: &RunState, after: &RunState) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut changes = Vec::new();
    run_begins(before, after, &mut changes);
    for (old, task) in after.changed_tasks(before) {
        assignment_effects(old, task, &mut effects);
        seal_effects(old, task, &mut effects);
        queue_effects(old, task, &mut effects);
        task_changes(old, task, &mut changes);
    }
    run_ends(before, after, &mut changes);
    effects.extend(phase_effects(before.run.phase, after.run.phase));
    effects.extend(changes.into_iter().map(|change| emit(after, change)));
    effects
}

pub(super) fn emit(state: &RunState, change: Change) -> Effect {
    Effect::Emit(RunEvent::of(&state.run, change))
}

/// A run that finishes as it starts has done both, one after the other.
fn phase_effects(before: RunPhase, after: RunPhase) -> Vec<Effect> {
    match (before, after) {
        (RunPhase::Queued, RunPhase::Running) => vec![Effect::RunStarted],
        (RunPhase::Queued, RunPhase::Finished) => vec![Effect::RunStarted, Effect::RunFinished],
        (RunPhase::Running, RunPhase::Finished) => vec![Effect::RunFinished],
        (RunPhase::Queued, RunPhase::Cancelled) => vec![Effect::RunCancelled],
        _ => Vec::new(),
    }
}

fn queue_effects(before: &Task, after: &Task, effects: &mut Vec<Effect>) {
    let task = || after.name.clone();
    match (before.ready, after.ready) {
        (true, false) => effects.push(Effect::NotReady { task: task() }),
        (false, true) => effects.push(Effect::Ready { task: task() }),
        _ => {}
    }
}

fn run_begins(before: &RunState, after: &RunState, changes: &mut Vec<Change>) {
    let left_the_queue = before.run.phase == RunPhase::Queued && after.run.phase != RunPhase::Queued;
    if left_the_queue && after.run.phase == RunPhase::Cancelled {
        changes.push(Change::RunCancelled);
    } else if left_the_queue {
        changes.push(Change::RunStarted);
    }
    if after.run.stop_requested && !before.run.stop_requested {
        changes.push(Change::RunStopRequested);
    }
}

fn run_ends(before: &RunState, after: &RunState, changes: &mut Vec<Change>) {
    let result = after.run.result;
    if before.run.result == RunResult::Unknown && result != RunResult::Unknown {
        changes.push(Change::RunResultSet { result });
    }
    if before.run.phase != RunPhase::Finished && after.run.phase == RunPhase::Finished {
        changes.push(Change::RunFinished { result });
    }
}

fn assignment_effects(before: &Task, after: &Task, effects: &mut Vec<Effect>) {
    let (task, id) = (after.name.clone(), after.id.clone());
    match (&before.assignment, &after.assignment) {
        (None, Some(new)) => {
            effects.push(Effect::AssignmentAdded { task, id, attempt: after.attempt, executor: new.executor.clone() });
        }
        (Some(old), None) => effects.push(Effect::AssignmentRemoved {
            task,
            id,
            attempt: before.attempt,
            executor: old.executor.clone(),
            taken_back: was_never_accepted(before, after),
        }),
        // An acceptance may cross a request to stop: say it again to who has just begun.
        (Some(old), Some(new)) if new.stop && (!old.stop || (new.accepted && !old.accepted)) => {
            effects.push(Effect::StopAssignment { task, id, attempt: after.attempt, executor: new.executor.clone() });
        }
        _ => {}
    }
}

/// The steps of an attempt, the setup first.
fn steps<'a>(setup: &'a StepState, steps: &'a [StepState]) -> impl Iterator<Item = (StepRef, &'a StepState)> {
    let numbered = (0..).map(StepRef::Step).zip(steps);
    std::iter::once((StepRef::Setup, setup)).chain(numbered)
}

/// The attempt that `before` was at, if another one followed it.
fn left_behind<'a>(before: &Task, after: &'a Task) -> Option<&'a EarlierAttempt> {
    let followed = after.attempt != before.attempt;
    after.earlier.iter().find(|earlier| followed && earlier.attempt == before.attempt)
}

/// Whether the assignment that is gone had not been accepted, not even by the report that ended it.
fn was_never_accepted(before: &Task, after: &Task) -> bool {
    let accepted_by = left_behind(before, after).map_or(&after.executor, |left| &left.executor);
    before.assignment.as_ref().is_some_and(|old| accepted_by.as_ref() != Some(&old.executor))
}

fn seal_effects(before: &Task, after: &Task, effects: &mut Vec<Effect>) {
    let left = left_behind(before, after);
    let (setup, now) = left.map_or((&after.setup, &after.steps), |left| (&left.setup, &left.steps));
    let failure = left.map(|left| &left.failure).or(after.failure.as_ref());
    let lost = failure.is_some_and(|failure| failure.class == FailureClass::Lost);
    let ended =
        before.assignment.is_some() && (left.is_some() || (after.status.is_final() && after.assignment.is_none()));
    for ((step, old), (_, new)) in steps(&before.setup, &before.steps).zip(steps(setup, now)) {
        // What a lost executor did since its last report is not known, so each of its logs may hold something.
        let may_hold_something = new.status != StepStatus::NotStarted || lost;
        let ends_now = old.log.is_none() && new.log.is_some();
        let cut_off = ended && new.log.is_none() && may_hold_something;
        if ends_now || cut_off {
            effects.push(Effect::SealLog {
                task: after.name.clone(),
                id: after.id.clone(),
                attempt: before.attempt,
                step,
                end: new.log.clone(),
            });
        }
    }
}

fn task_changes(before: &Task, after: &Task, changes: &mut Vec<Change>) {
    let (task, id) = (|| after.name.clone(), || after.id.clone());
    if before.annotations != after.annotations {
        let annotations = after.annotations.clone();
        changes.push(Change::TaskAnnotationsSet { task: task(), id: id(), annotations });
    }
    if before.waiting_approval != after.waiting_approval {
        changes.push(Change::TaskWaitingApproval { task: task(), id: id(), waiting: after.waiting_approval });
    }
    if after.approved && !before.approved {
        changes.push(Change::TaskApproved { task: task(), id: id() });
    }
    step_changes(before, after, changes);
    match (&before.assignment, &after.assignment) {
        (old, Some(new)) if old.as_ref() != Some(new) => changes.push(Change::TaskAssigned {
            task: task(),
            id: id(),
            attempt: after.attempt,
            executor: new.executor.clone(),
            accepted: new.accepted,
            stop: new.stop,
        }),
        (Some(old), None) => changes.push(Change::TaskUnassigned {
            task: task(),
            id: id(),
            attempt: before.attempt,
            executor: old.executor.clone(),
        }),
        _ => {}
    }
    if let Some(left) = left_behind(before, after) {
        let failure = left.failure.clone();
        changes.push(Change::TaskRetried { task: task(), id: id(), attempt: after.attempt, failure });
    }
    if before.status != after.status {
        let failure = after.failure.clone();
        let (attempt, status) = (after.attempt, after.status);
        changes.push(Change::TaskStatus { task: task(), id: id(), attempt, status, failure });
    }
}

fn step_changes(before: &Task, after: &Task, changes: &mut Vec<Change>) {
    let left = left_behind(before, after);
    let (setup, now) = left.map_or((&after.setup, &after.steps), |left| (&left.setup, &left.steps));
    for ((step, old), (_, new)) in steps(&before.setup, &before.steps).zip(steps(setup, now)) {
        if old != new {
            changes.push(Change::StepChanged {
                task: after.name.clone(),
                id: after.id.clone(),
                attempt: before.attempt,
                step,
                status: new.status,
                exit_code: new.exit_code,
                log_ended: new.log.is_some(),
            });
        }
    }
}
