//! What becomes of an attempt? Assigned, accepted, reported, lost, tried again.

use std::sync::Arc;

use runyard_executor_core::contract::{
    AttemptState, ExecutorId, Failure, FailureClass, StepReport, StepStatus, TaskName, TaskReport,
};

use super::{
    Refusal,
    act::{find, require},
};
use crate::{
    model::{Assignment, EarlierAttempt, RetryPolicy, RunConfig, RunPhase, RunState, StepState, Task, TaskStatus},
    scheduler::{Decision, RunView, Scheduler},
};

pub(super) fn assign(
    scheduler: &dyn Scheduler,
    config: &RunConfig,
    state: &mut RunState,
    name: &TaskName,
    executor: &ExecutorId,
    attempt: u32,
) -> Result<(), Refusal> {
    find(state, name)?;
    require(state, RunPhase::Running, "only tasks of a running run can be given to an executor")?;
    let number = state.run.number;
    let view = RunView { config, state };
    let is_ready = state.tasks.get(name).is_some_and(|task| task.ready);
    // Whatever is not ready is refused with what the scheduler says of it.
    let decision = if is_ready { Some(Decision::Start) } else { scheduler.plan(&view).remove(name) };
    let task = find(state, name)?;
    if attempt != task.attempt {
        return Err(stale(task, attempt, "the task is at another attempt"));
    }
    let open = !task.status.is_final() && task.assignment.is_none();
    match decision {
        Some(Decision::Start) if open => {}
        Some(Decision::Wait(reason)) if open => {
            return Err(Refusal::NotReady { number, task: name.clone(), reason: Some(reason) });
        }
        _ => return Err(Refusal::NotReady { number, task: name.clone(), reason: None }),
    }
    task.waiting_approval = false;
    task.assignment = Some(Assignment { executor: executor.clone(), accepted: false, stop: false });
    Ok(())
}

pub(super) fn accept(task: &mut Task, attempt: u32, executor: &ExecutorId) -> Result<(), Refusal> {
    held_by(task, attempt, executor)?.accepted = true;
    task.executor = Some(executor.clone());
    Ok(())
}

/// The attempt stays the same: nothing of it was ever started.
pub(super) fn unassign(state: &mut RunState, name: &TaskName) -> Result<(), Refusal> {
    let number = state.run.number;
    let task = find(state, name)?;
    match &task.assignment {
        None => return Err(stale(task, task.attempt, "the task is with no executor")),
        Some(assignment) if assignment.accepted => return Err(Refusal::Accepted { number, task: name.clone() }),
        Some(_) => task.assignment = None,
    }
    Ok(())
}

pub(super) fn lost(
    config: &RunConfig,
    state: &mut RunState,
    name: &TaskName,
    attempt: u32,
    executor: &ExecutorId,
    message: &str,
) -> Result<(), Refusal> {
    let task = find(state, name)?;
    if !held_by(task, attempt, executor)?.accepted {
        task.assignment = None;
        return Ok(());
    }
    fail(config, task, Failure { class: FailureClass::Lost, message: message.to_owned() });
    Ok(())
}

pub(super) fn undeliverable(
    config: &RunConfig,
    state: &mut RunState,
    name: &TaskName,
    attempt: u32,
    executor: &ExecutorId,
    failure: &Failure,
) -> Result<(), Refusal> {
    let task = find(state, name)?;
    if held_by(task, attempt, executor)?.accepted {
        let reason = "its executor was told of it before";
        return Err(stale(task, attempt, reason));
    }
    fail(config, task, failure.clone());
    Ok(())
}

/// Who reports may be executing: an assignment that was never accepted is accepted by its first report.
pub(super) fn report(config: &RunConfig, state: &mut RunState, report: &TaskReport) -> Result<(), Refusal> {
    let fence = &report.fence;
    let unknown =
        || Refusal::Stale { task: fence.task.clone(), attempt: fence.attempt, reason: "the run has no such task" };
    let task = state.tasks.values_mut().find(|task| task.id == fence.task).map(Arc::make_mut).ok_or_else(unknown)?;
    if is_repeated_end(task, report) {
        return Ok(());
    }
    let assignment = held_by(task, fence.attempt, &fence.executor)?;
    assignment.accepted = true;
    let stop = assignment.stop;
    task.executor = Some(fence.executor.clone());
    if report.sequence <= task.report_sequence {
        return Ok(());
    }
    task.report_sequence = report.sequence;
    take_over(&mut task.setup, &report.setup);
    for (step, reported) in task.steps.iter_mut().zip(&report.steps) {
        take_over(step, reported);
    }
    match &report.state {
        AttemptState::Running => task.status = TaskStatus::Running,
        AttemptState::Success => end(task, TaskStatus::Success),
        AttemptState::Stopped if stop => end(task, TaskStatus::Stopped),
        AttemptState::Stopped => {
            let message = "the executor stopped the task, though nobody had asked for that".to_owned();
            fail(config, task, Failure { class: FailureClass::Infrastructure, message });
        }
        AttemptState::Failed(failure) => fail(config, task, failure.clone()),
    }
    Ok(())
}

/// Whether a final report comes a second time, because its sender did not hear that the first was applied.
fn is_repeated_end(task: &Task, report: &TaskReport) -> bool {
    let fence = &report.fence;
    let same_sender = fence.attempt == task.attempt && task.executor.as_ref() == Some(&fence.executor);
    task.status.is_final() && report.state.is_final() && same_sender && report.sequence == task.report_sequence
}

/// A final status of a step never changes, nor does the end of a log.
fn take_over(step: &mut StepState, reported: &StepReport) {
    if !step.status.is_final() {
        step.status = reported.status;
        step.exit_code = reported.exit_code;
    }
    if step.log.is_none() {
        step.log.clone_from(&reported.log);
    }
}

/// Ends the attempt as failed: for good, or to be tried again.
fn fail(config: &RunConfig, task: &mut Task, failure: Failure) {
    let default = RetryPolicy::default();
    let policy = config.tasks.get(&task.name).map_or(&default, |config| &config.retry);
    let stopping = task.assignment.as_ref().is_some_and(|assignment| assignment.stop);
    let tries_left = task.attempt <= policy.max && policy.on.contains(&failure.class);
    if stopping || !tries_left {
        task.failure = Some(failure);
        return end(task, TaskStatus::Failed);
    }
    end(task, TaskStatus::Running);
    let steps = vec![StepState::default(); task.steps.len()];
    task.earlier.push(EarlierAttempt {
        attempt: task.attempt,
        executor: task.executor.take(),
        failure,
        setup: std::mem::take(&mut task.setup),
        steps: std::mem::replace(&mut task.steps, steps),
    });
    task.attempt += 1;
    task.report_sequence = 0;
}

/// Nothing of the attempt is executing any more, so no step is either, whatever was last heard of it.
fn end(task: &mut Task, status: TaskStatus) {
    let step_status = match status {
        TaskStatus::Success => StepStatus::Success,
        TaskStatus::Stopped => StepStatus::Stopped,
        _ => StepStatus::Failed,
    };
    for step in std::iter::once(&mut task.setup).chain(&mut task.steps) {
        if step.status == StepStatus::Running {
            step.status = step_status;
        }
    }
    task.status = status;
    task.assignment = None;
}

fn held_by<'a>(task: &'a mut Task, attempt: u32, executor: &ExecutorId) -> Result<&'a mut Assignment, Refusal> {
    let reason = match &task.assignment {
        _ if attempt != task.attempt => "the task is at another attempt",
        None => "the task is with no executor",
        Some(assignment) if assignment.executor != *executor => "the task is with another executor",
        Some(_) => "",
    };
    match &mut task.assignment {
        Some(assignment) if reason.is_empty() => Ok(assignment),
        _ => Err(Refusal::Stale { task: task.id.clone(), attempt, reason }),
    }
}

fn stale(task: &Task, attempt: u32, reason: &'static str) -> Refusal {
    Refusal::Stale { task: task.id.clone(), attempt, reason }
}
