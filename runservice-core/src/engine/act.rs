//! What does an event change directly? Legality first, then the change; consequences are left to `settle`.

use std::sync::Arc;

use runyard_executor_core::contract::TaskName;

use super::{Event, Refusal, attempt};
use crate::{
    model::{RunConfig, RunPhase, RunState, Task, TaskStatus},
    scheduler::Scheduler,
};

pub(super) fn apply(
    scheduler: &dyn Scheduler,
    config: &RunConfig,
    state: &mut RunState,
    event: &Event,
) -> Result<(), Refusal> {
    match event {
        // What follows is all that happens.
        Event::Reconsider => {}
        Event::Start => {
            require(state, RunPhase::Queued, "only a queued run can be started")?;
            state.run.phase = RunPhase::Running;
        }
        Event::Cancel => cancel(state)?,
        Event::Stop => {
            require(state, RunPhase::Running, "only a running run can be stopped; a queued one can be cancelled")?;
            state.run.stop_requested = true;
        }
        Event::Approve { task, approver: None } => approve(state, task)?,
        Event::Approve { task, approver: Some(approver) } => {
            record_approver(scheduler, config, state, task, approver)?;
        }
        Event::SetAnnotations { task, patch } => {
            let annotations = &mut find(state, task)?.annotations;
            for (key, value) in patch {
                match value {
                    Some(value) => annotations.insert(key.clone(), value.clone()),
                    None => annotations.remove(key),
                };
            }
        }
        Event::Assign { task, executor, attempt } => {
            attempt::assign(scheduler, config, state, task, executor, *attempt)?;
        }
        Event::Accept { task, attempt, executor } => attempt::accept(find(state, task)?, *attempt, executor)?,
        Event::Unassign { task } => attempt::unassign(state, task)?,
        Event::Report(report) => attempt::report(config, state, report)?,
        Event::ExecutorLost { task, attempt, executor, message } => {
            attempt::lost(config, state, task, *attempt, executor, message)?;
        }
        Event::Undeliverable { task, attempt, executor, failure } => {
            attempt::undeliverable(config, state, task, *attempt, executor, failure)?;
        }
    }
    Ok(())
}

pub(super) fn find<'a>(state: &'a mut RunState, task: &TaskName) -> Result<&'a mut Task, Refusal> {
    let number = state.run.number;
    state.tasks.get_mut(task).map(Arc::make_mut).ok_or_else(|| Refusal::UnknownTask { number, task: task.clone() })
}

pub(super) fn require(state: &RunState, phase: RunPhase, rule: &'static str) -> Result<(), Refusal> {
    if state.run.phase == phase {
        return Ok(());
    }
    Err(Refusal::WrongPhase { number: state.run.number, phase: state.run.phase, rule })
}

fn cancel(state: &mut RunState) -> Result<(), Refusal> {
    require(state, RunPhase::Queued, "only a queued run can be cancelled; a running one can be stopped")?;
    state.run.phase = RunPhase::Cancelled;
    for task in state.tasks.values_mut().filter(|task| !task.status.is_final()) {
        Arc::make_mut(task).status = TaskStatus::Cancelled;
    }
    Ok(())
}

fn approve(state: &mut RunState, name: &TaskName) -> Result<(), Refusal> {
    find(state, name)?;
    require(state, RunPhase::Running, "only tasks of a running run can be approved")?;
    let number = state.run.number;
    let task = find(state, name)?;
    if !task.waiting_approval {
        let reason = if task.approved { "it is approved already" } else { "it does not wait for approval" };
        return Err(Refusal::NotApprovable { number, task: name.clone(), reason });
    }
    task.approved = true;
    task.waiting_approval = false;
    Ok(())
}

/// Reads and writes the list of approvers in one step of the run, so that of two users at once none is lost.
fn record_approver(
    scheduler: &dyn Scheduler,
    config: &RunConfig,
    state: &mut RunState,
    name: &TaskName,
    approver: &str,
) -> Result<(), Refusal> {
    find(state, name)?;
    require(state, RunPhase::Running, "only tasks of a running run can be approved")?;
    let number = state.run.number;
    let policy = scheduler.approvals();
    let needed = config.tasks.get(name).is_some_and(|config| config.needs_approval);
    let task = find(state, name)?;
    let refuse = |reason| Err(Refusal::NotApprovable { number, task: name.clone(), reason });
    if !needed {
        return refuse("it needs no approval");
    }
    if policy.approvers(&task.annotations).iter().any(|known| known == approver) {
        return Err(Refusal::ApprovedBefore { number, task: name.clone(), approver: approver.to_owned() });
    }
    if task.approved {
        return refuse("it is approved already");
    }
    if task.status.is_final() {
        return refuse("it will not run");
    }
    if let Some(approvers) = policy.with_approver(&task.annotations, approver) {
        task.annotations.insert(policy.annotation().to_owned(), approvers);
    }
    Ok(())
}
