//! What follows from a change? Rules 1, 7 and 8, and whatever the scheduler plans, until nothing changes any more.
//!
//! A round asks for one plan and applies all of it, so the order of tasks cannot matter. Each further round needs a
//! task that became final or approved, which happens to each at most once: any scheduler comes to an end.

use std::{collections::BTreeSet, sync::Arc};

use runyard_executor_core::contract::TaskName;

use crate::{
    model::{RunConfig, RunPhase, RunResult, RunState, Task, TaskStatus},
    scheduler::{Decision, Plan, RunView, Scheduler, WaitingReason},
};

pub(super) fn settle(scheduler: &dyn Scheduler, config: &RunConfig, state: &mut RunState) {
    if state.run.phase != RunPhase::Running {
        return;
    }
    let plan = loop {
        set_result(config, state);
        if state.run.stop_requested {
            stop(state);
            set_result(config, state);
            break Plan::new();
        }
        let plan = scheduler.plan(&RunView { config, state });
        if !apply(config, state, &plan) {
            break plan;
        }
    };
    set_ready(state, &plan);
    finish(state);
}

/// Whether a plan for one state is a plan for the other: nothing that a scheduler may look at differs.
pub(super) fn are_planned_alike(one: &RunState, other: &RunState) -> bool {
    let run = |state: &RunState| (state.run.phase, state.run.result, state.run.stop_requested);
    let task = |one: &Task, other: &Task| {
        let seen =
            |task: &Task| (task.status, task.attempt, task.assignment.is_some(), task.approved, task.waiting_approval);
        seen(one) == seen(other) && one.annotations == other.annotations
    };
    run(one) == run(other)
        && one.tasks.values().zip(other.tasks.values()).all(|(one, other)| Arc::ptr_eq(one, other) || task(one, other))
}

/// Rule 1. A failed task outweighs a request to stop that comes later; a result that is set stays.
fn set_result(config: &RunConfig, state: &mut RunState) {
    if state.run.result != RunResult::Unknown {
        return;
    }
    let ignored = |name: &TaskName| config.tasks.get(name).is_some_and(|task| task.ignore_failure);
    let fails_the_run = |(name, task): (&TaskName, &Arc<Task>)| task.status == TaskStatus::Failed && !ignored(name);
    let all_final = state.tasks.values().all(|task| task.status.is_final());
    state.run.result = if state.tasks.iter().any(fails_the_run) {
        RunResult::Failed
    } else if state.run.stop_requested && !all_final {
        RunResult::Stopped
    } else if all_final {
        RunResult::Success
    } else {
        RunResult::Unknown
    };
}

/// Rule 8, and rule 5's "stop clears it".
fn stop(state: &mut RunState) {
    for task in state.tasks.values_mut().filter(|task| !task.status.is_final()) {
        let task = Arc::make_mut(task);
        task.waiting_approval = false;
        match (&mut task.assignment, task.status) {
            (Some(assignment), _) => assignment.stop = true,
            (None, TaskStatus::NotStarted) => task.status = TaskStatus::Skipped,
            // It has begun, and the attempt that was to come will not.
            (None, _) => task.status = TaskStatus::Stopped,
        }
    }
}

/// Applies a plan as far as it is legal; says whether another plan may say more.
fn apply(config: &RunConfig, state: &mut RunState, plan: &Plan) -> bool {
    let mut again = false;
    for (name, decision) in plan {
        let Some(task) = state.tasks.get_mut(name) else { continue };
        if task.status != TaskStatus::NotStarted || task.assignment.is_some() {
            continue;
        }
        let waits_for_approval = matches!(decision, Decision::Wait(WaitingReason::WaitingForApproval { .. }));
        if task.waiting_approval != waits_for_approval {
            Arc::make_mut(task).waiting_approval = waits_for_approval;
        }
        let needs_approval = || config.tasks.get(name).is_some_and(|config| config.needs_approval);
        match decision {
            Decision::Start | Decision::Wait(_) => continue,
            Decision::Skip => Arc::make_mut(task).status = TaskStatus::Skipped,
            Decision::Cancel => Arc::make_mut(task).status = TaskStatus::Cancelled,
            Decision::Approve if !task.approved && needs_approval() => Arc::make_mut(task).approved = true,
            Decision::Approve => continue,
        }
        again = true;
    }
    again
}

/// What a plan lets start waits for an executor from now on, and nothing else does.
fn set_ready(state: &mut RunState, plan: &Plan) {
    let starts = plan.iter().filter(|(_, decision)| **decision == Decision::Start);
    let starts: BTreeSet<&TaskName> = starts.map(|(name, _)| name).collect();
    for (name, task) in &mut state.tasks {
        let is_open = !task.status.is_final() && task.assignment.is_none();
        let is_ready = is_open && starts.contains(name);
        if task.ready != is_ready {
            Arc::make_mut(task).ready = is_ready;
        }
    }
}

/// Rule 7.
fn finish(state: &mut RunState) {
    let done = |task: &Arc<Task>| task.status.is_final() && task.assignment.is_none();
    if state.run.result != RunResult::Unknown && state.tasks.values().all(done) {
        state.run.phase = RunPhase::Finished;
    }
}
