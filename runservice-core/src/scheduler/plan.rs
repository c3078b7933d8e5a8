//! What may each task of a run do next? Rules 2 to 5 of the run engine, for one task at a time.

use std::collections::BTreeMap;

use runyard_executor_core::contract::TaskName;

use super::{ApprovalPolicy, RunView, WaitingReason};
use crate::model::{RunResult, Task, TaskConfig, TaskStatus};

/// What each task that is neither final nor scheduled may do.
pub type Plan = BTreeMap<TaskName, Decision>;

/// What a task may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is ready: the placement queue takes it.
    Start,
    /// It waits, and says for what. [`WaitingReason::WaitingForApproval`] marks it as waiting for approval.
    Wait(WaitingReason),
    /// It would wait for approval, but has been approved by enough users.
    Approve,
    /// A condition did not match: it will not run.
    Skip,
    /// The run has failed: it will not run.
    Cancel,
}

pub(super) fn plan(run: &RunView<'_>, approvals: &ApprovalPolicy) -> Plan {
    run.open_tasks().map(|(name, config, task)| (name.clone(), decide(*run, config, task, approvals))).collect()
}

fn decide(run: RunView<'_>, config: &TaskConfig, task: &Task, approvals: &ApprovalPolicy) -> Decision {
    // Another attempt of something that has begun: conditions and approvals were asked for once.
    if task.status != TaskStatus::NotStarted {
        return Decision::Start;
    }
    let failed = run.state.run.result == RunResult::Failed;
    if failed && config.depends.is_empty() {
        return Decision::Cancel;
    }
    let parents: Vec<TaskName> = run.unfinished_parents(config).cloned().collect();
    if !parents.is_empty() {
        return Decision::Wait(WaitingReason::WaitingForTasks { tasks: parents });
    }
    if !run.conditions_match(config) {
        return Decision::Skip;
    }
    if !config.needs_approval || task.approved {
        return Decision::Start;
    }
    let count = approvals.count(config, &task.annotations);
    if count.are_enough() {
        Decision::Approve
    } else if failed && !run.follows_a_failure(config) {
        // A failed run must not stay alive until somebody looks at it; a rollback may.
        Decision::Cancel
    } else {
        Decision::Wait(WaitingReason::WaitingForApproval { have: count.have, need: count.need })
    }
}
