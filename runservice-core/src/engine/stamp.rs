//! When did it happen? The one place where a time enters a state.

use std::time::SystemTime;

use runyard_executor_core::contract::StepStatus;

use crate::model::{RunPhase, RunState, StepState, Task, TaskStatus};

/// Sets the times that the statuses of a run call for and that it lacks.
///
/// Called with the new state of every [`Stepped`](super::Stepped) before it is written. A time that is set stays.
/// What never began, such as a skipped task, has an end but no start.
pub fn stamp(state: &mut RunState, now: SystemTime) {
    let run = &mut state.run;
    set(&mut run.times.created, true, now);
    set(&mut run.times.started, matches!(run.phase, RunPhase::Running | RunPhase::Finished), now);
    set(&mut run.times.finished, run.phase.is_final(), now);
    for task in state.tasks.values_mut() {
        stamp_task(task, now);
    }
}

fn stamp_task(task: &mut Task, now: SystemTime) {
    let began = task.status == TaskStatus::Running || task.setup.status != StepStatus::NotStarted;
    set(&mut task.times.started, began, now);
    set(&mut task.times.finished, task.status.is_final(), now);
    let earlier =
        task.earlier.iter_mut().flat_map(|attempt| std::iter::once(&mut attempt.setup).chain(&mut attempt.steps));
    for step in std::iter::once(&mut task.setup).chain(&mut task.steps).chain(earlier) {
        stamp_step(step, now);
    }
}

fn stamp_step(step: &mut StepState, now: SystemTime) {
    set(&mut step.times.started, step.status != StepStatus::NotStarted, now);
    set(&mut step.times.finished, step.status.is_final(), now);
}

fn set(time: &mut Option<SystemTime>, due: bool, now: SystemTime) {
    if due && time.is_none() {
        *time = Some(now);
    }
}
