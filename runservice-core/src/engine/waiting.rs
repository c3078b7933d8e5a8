//! Why does a task wait? For every task that does, a reason.

use std::collections::BTreeMap;

use runyard_executor_core::contract::TaskName;

use crate::{
    model::{RunConfig, RunPhase, RunState},
    scheduler::{Decision, RunView, Scheduler, WaitingReason},
};

/// What the tasks of a running run wait for, as the run itself knows it.
///
/// [Ready](super::ready) tasks are not among them: those wait for an executor, and
/// [`place`](crate::scheduler::Scheduler::place) says why. Tasks of a queued run wait for what the run waits for.
pub fn waiting(scheduler: &dyn Scheduler, config: &RunConfig, state: &RunState) -> BTreeMap<TaskName, WaitingReason> {
    if state.run.phase != RunPhase::Running {
        return BTreeMap::new();
    }
    let plan = scheduler.plan(&RunView { config, state });
    let reason = |(name, decision)| match decision {
        Decision::Wait(reason) => Some((name, reason)),
        _ => None,
    };
    plan.into_iter().filter_map(reason).collect()
}
