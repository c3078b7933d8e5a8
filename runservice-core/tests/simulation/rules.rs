//! How may a run change? The rules of the engine once more, each by itself, from the state before and after alone.

use std::{collections::BTreeMap, sync::Arc};

use runyard_runservice_core::{
    engine::{Change, RunEvent},
    model::{Condition, Run, RunConfig, RunPhase, RunResult, RunState, Task, TaskStatus},
};

/// The runs of a root group are numbered from 1 without gaps.
pub(crate) fn number_follows(numbers: &mut BTreeMap<String, u64>, run: &Run) -> Result<(), String> {
    let last = numbers.entry(run.group.root().as_str().to_owned()).or_default();
    *last += 1;
    match run.number == *last {
        true => Ok(()),
        false => Err(format!("run {} of {} has number {} after {}", run.id, run.group, run.number, *last - 1)),
    }
}

/// Phases follow each other as they may; a result that is set stays.
pub(crate) fn run_goes_on(before: &Run, after: &Run) -> Result<(), String> {
    use RunPhase::{Cancelled, Finished, Queued, Running};
    let is_legal = before.phase == after.phase
        // What has nothing to do is finished when it starts.
        || matches!((before.phase, after.phase), (Queued, Running | Cancelled | Finished) | (Running, Finished));
    if !is_legal {
        return Err(format!("run #{} goes from {:?} to {:?}", after.number, before.phase, after.phase));
    }
    if before.result != RunResult::Unknown && before.result != after.result {
        return Err(format!("the result of run #{} goes from {:?} to {:?}", after.number, before.result, after.result));
    }
    if (before.number, &before.group, before.parallel) != (after.number, &after.group, after.parallel) {
        return Err(format!("run #{} becomes #{} of {}", before.number, after.number, after.group));
    }
    Ok(())
}

/// A final status never changes, an attempt never comes back, an approval stays.
pub(crate) fn task_goes_on(before: &Task, after: &Task) -> Result<(), String> {
    use TaskStatus::{Failed, NotStarted, Running, Stopped, Success};
    let is_legal = before.status == after.status
        || before.status == NotStarted
        || before.status == Running && matches!(after.status, Success | Failed | Stopped);
    let name = &after.name;
    if !is_legal {
        return Err(format!("task {name} goes from {:?} to {:?}", before.status, after.status));
    }
    if before.id != after.id {
        return Err(format!("task {name} was {}, and is {}", before.id, after.id));
    }
    let attempts = before.attempt..=before.attempt + 1;
    if !attempts.contains(&after.attempt) || before.status.is_final() && before.attempt != after.attempt {
        return Err(format!("task {name} goes from attempt {} to {}", before.attempt, after.attempt));
    }
    if before.attempt == after.attempt && before.report_sequence > after.report_sequence {
        let (before, after) = (before.report_sequence, after.report_sequence);
        return Err(format!("task {name} goes from report {before} to {after}"));
    }
    if before.approved && !after.approved {
        return Err(format!("task {name} is approved no more"));
    }
    if after.status.is_final() && after.assignment.is_some() {
        return Err(format!("task {name} is {:?}, and assigned", after.status));
    }
    Ok(())
}

/// Rule 1: how a run ends follows from its tasks.
pub(crate) fn result_is_right(config: &RunConfig, before: Option<&RunState>, after: &RunState) -> Result<(), String> {
    let was_known = before.is_some_and(|before| before.run.result != RunResult::Unknown);
    let fails = |task: &Arc<Task>| {
        task.status == TaskStatus::Failed && !config.tasks.get(&task.name).is_some_and(|task| task.ignore_failure)
    };
    let has_failed = after.tasks.values().any(fails);
    let all_final = after.tasks.values().all(|task| task.status.is_final());
    let RunState { run, .. } = after;
    let is_right = match run.result {
        _ if was_known => true,
        RunResult::Failed => has_failed,
        RunResult::Stopped => run.stop_requested && !has_failed,
        RunResult::Success => all_final && !has_failed && !run.stop_requested,
        RunResult::Unknown => run.phase != RunPhase::Running || !has_failed && !all_final && !run.stop_requested,
    };
    match is_right {
        true => Ok(()),
        false => Err(format!("the result of run #{} is {:?}; {}", run.number, run.result, statuses(after))),
    }
}

/// Rule 7: nothing of a run that has ended is open.
pub(crate) fn end_is_whole(state: &RunState) -> Result<(), String> {
    let RunState { run, tasks } = state;
    let all_final = tasks.values().all(|task| task.status.is_final() && task.assignment.is_none());
    let is_whole = match run.phase {
        RunPhase::Finished => all_final && run.result != RunResult::Unknown,
        RunPhase::Cancelled => all_final && run.result == RunResult::Unknown,
        RunPhase::SetupError => tasks.is_empty() && !run.setup_errors.is_empty(),
        RunPhase::Running => !(all_final && run.result != RunResult::Unknown),
        RunPhase::Queued => true,
    };
    match is_whole {
        true => Ok(()),
        false => Err(format!("run #{} is {:?} with {:?}; {}", run.number, run.phase, run.result, statuses(state))),
    }
}

/// Rules 2 to 5, by how things ended: what began was allowed to, and what was left out was so for a reason.
pub(crate) fn outcomes_are_right(config: &RunConfig, state: &RunState) -> Result<(), String> {
    for task in state.tasks.values() {
        let Some(definition) = config.tasks.get(&task.name) else {
            return Err(format!("run #{} has a task {} that nobody asked for", state.run.number, task.name));
        };
        let parent = |name| state.tasks.get(name).map(|parent| parent.status);
        let all_final = definition.depends.keys().all(|name| parent(name).is_some_and(TaskStatus::is_final));
        let matches = definition.depends.iter().all(|(name, conditions)| {
            let met = match parent(name) {
                Some(TaskStatus::Success) => Condition::Success,
                Some(TaskStatus::Failed) => Condition::Failure,
                Some(TaskStatus::Skipped) => Condition::Skipped,
                _ => return false,
            };
            conditions.contains(&met) || conditions.is_empty() && met == Condition::Success
        });
        let has_begun = task.assignment.is_some()
            || matches!(task.status, TaskStatus::Running | TaskStatus::Success | TaskStatus::Failed);
        let is_right = match task.status {
            _ if has_begun => all_final && matches && !definition.skip && (task.approved || !definition.needs_approval),
            TaskStatus::Skipped => definition.skip || state.run.stop_requested || all_final && !matches,
            TaskStatus::Cancelled => state.run.phase == RunPhase::Cancelled || state.run.result == RunResult::Failed,
            TaskStatus::Stopped => state.run.stop_requested,
            _ => true,
        };
        if !is_right {
            return Err(format!(
                "task {} of run #{} is {:?}; {}",
                task.name,
                state.run.number,
                task.status,
                statuses(state)
            ));
        }
    }
    Ok(())
}

/// Whatever changed is told in the same transaction, and the end of a run once.
pub(crate) fn events_tell_all(before: Option<&RunState>, after: &RunState, events: &[RunEvent]) -> Result<(), String> {
    let told = || events.iter().filter(|event| event.run == after.run.id).map(|event| &event.change);
    let count = |is: &dyn Fn(&Change) -> bool| told().filter(|change| is(change)).count();
    let phase = before.map(|before| before.run.phase);
    let number = after.run.number;
    let is_new = |wanted: RunPhase| usize::from(after.run.phase == wanted && phase != Some(wanted));
    let ends = [
        ("its creation", count(&|change| matches!(change, Change::RunCreated { .. })), usize::from(before.is_none())),
        ("its end", count(&|change| matches!(change, Change::RunFinished { .. })), is_new(RunPhase::Finished)),
        ("that it was cancelled", count(&|change| matches!(change, Change::RunCancelled)), is_new(RunPhase::Cancelled)),
    ];
    for (what, told, expected) in ends {
        if told != expected {
            return Err(format!("of run #{number}, {what} is told {told} times instead of {expected}"));
        }
    }
    for task in after.tasks.values() {
        // A run that repeats another one begins with what that one has done.
        let at_first =
            if task.status == TaskStatus::Success && before.is_none() { task.status } else { TaskStatus::default() };
        let status = before.and_then(|before| before.tasks.get(&task.name)).map_or(at_first, |task| task.status);
        let mut statuses = told().filter_map(|change| match change {
            Change::TaskStatus { id, status, .. } if *id == task.id => Some(*status),
            _ => None,
        });
        let (expected, last) = (status != task.status, statuses.next_back());
        if expected != last.is_some() || last.is_some_and(|last| last != task.status) {
            return Err(format!("task {} of run #{number} is {:?}, and {last:?} is told", task.name, task.status));
        }
        let approved = match before {
            Some(before) => before.tasks.get(&task.name).is_some_and(|task| task.approved),
            None => task.status == TaskStatus::Success,
        };
        let told = count(&|change| matches!(change, Change::TaskApproved { id, .. } if *id == task.id));
        if told != usize::from(task.approved && !approved) && before.is_some() {
            return Err(format!("the approval of task {} of run #{number} is told {told} times", task.name));
        }
    }
    Ok(())
}

fn statuses(state: &RunState) -> String {
    let tasks = state.tasks.values().map(|task| format!("{} {:?}", task.name, task.status));
    let tasks: Vec<_> = tasks.collect();
    format!("stop requested: {}; {}", state.run.stop_requested, tasks.join(", "))
}
