//! Why does a run wait, or a task of it?

use std::collections::BTreeMap;

use runyard_datamanager::{DataManagerExt, KeyRange, Snapshot};
use runyard_executor_core::contract::{ExecutorId, TaskName};

use super::{Core, WaitingTaskView, reports::assignments_at};
use crate::{
    Result, engine,
    executors::view,
    layout::{EXECUTORS, RUNNING, RUNS},
    model::{Run, RunConfig, RunPhase, RunState},
    rows::ExecutorRow,
    scheduler::{Placement, WaitingReason, WaitingTask},
};

impl Core {
    /// The run that a queued one waits for.
    pub(super) async fn why_queued(&self, at: &Snapshot, run: &Run) -> Result<Option<WaitingReason>> {
        if run.phase != RunPhase::Queued {
            return Ok(None);
        }
        let Some(running) = self.data.read(at, &RUNNING, &run.group).await? else { return Ok(None) };
        let running = self.data.read(at, &RUNS, running.as_str()).await?;
        Ok(running.map(|running| WaitingReason::WaitingForRun { number: running.number }))
    }

    /// The tasks of a run that wait for more than tasks of their own run, with a reason for each.
    pub(super) async fn why_waiting(
        &self,
        at: &Snapshot,
        config: &RunConfig,
        state: &RunState,
    ) -> Result<Vec<WaitingTaskView>> {
        let waiting = engine::waiting(&*self.scheduler, config, state).into_iter();
        let mut reasons: Vec<(TaskName, WaitingReason)> =
            waiting.filter(|(_, reason)| !matches!(reason, WaitingReason::WaitingForTasks { .. })).collect();
        let ready = engine::ready(&*self.scheduler, config, state);
        let is_assigned = state.tasks.values().any(|task| task.assignment.is_some());
        if is_assigned || !ready.is_empty() {
            let rows = self.data.read_all(at, &EXECUTORS, KeyRange::all()).await?;
            let rows: BTreeMap<_, _> = rows.into_iter().map(|(_, row)| (row.status.id.clone(), row)).collect();
            reasons.extend(self.silent(&rows, state));
            if !ready.is_empty() {
                reasons.extend(self.not_placed(at, &rows, config, state, ready).await?);
            }
        }
        Ok(reasons.into_iter().map(|(task, reason)| WaitingTaskView { task, reason }).collect())
    }

    /// The tasks that are with an executor that is away.
    fn silent(&self, rows: &BTreeMap<ExecutorId, ExecutorRow>, state: &RunState) -> Vec<(TaskName, WaitingReason)> {
        let mut reasons = Vec::new();
        for (name, task) in &state.tasks {
            let row = task.assignment.as_ref().and_then(|assignment| rows.get(&assignment.executor));
            if let Some(row) = row.filter(|row| !row.is_here()) {
                let since = row.away_since.and_then(|since| self.clock.now().duration_since(since).ok());
                let seconds = since.unwrap_or_default().as_secs();
                reasons
                    .push((name.clone(), WaitingReason::ExecutorSilent { executor: row.status.name.clone(), seconds }));
            }
        }
        reasons
    }

    /// What the scheduler says now of tasks that are ready.
    async fn not_placed(
        &self,
        at: &Snapshot,
        rows: &BTreeMap<ExecutorId, ExecutorRow>,
        config: &RunConfig,
        state: &RunState,
        ready: Vec<TaskName>,
    ) -> Result<Vec<(TaskName, WaitingReason)>> {
        let mut executors = Vec::new();
        for row in rows.values() {
            executors.push(view(row, assignments_at(&*self.data, at, &row.status.id).await?));
        }
        let mut reasons = Vec::new();
        for name in ready {
            let placement =
                WaitingTask::new(config, state, &name, 0).map(|task| self.scheduler.place(&task, &executors));
            if let Some(Placement::Wait(reason)) = placement {
                reasons.push((name, reason));
            }
        }
        Ok(reasons)
    }
}
