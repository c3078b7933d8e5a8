//! Who waits for an executor, and what do the executors hold? A fold of the stream of changes; no I/O but the first read.

use std::{collections::BTreeMap, time::SystemTime};

use runyard_datamanager::{Change, Committed, DataManager, DataManagerExt, KeyRange, Snapshot};
use runyard_executor_core::contract::{ExecutorId, TaskName};

use crate::{
    Result, engine,
    layout::{ASSIGNMENTS, EXECUTORS, READY},
    model::{GroupPath, RunConfig, RunState},
    rows::ExecutorRow,
    scheduler::{self, ExecutorView, Placement, Round, Scheduler, WaitingReason, WaitingTask},
};

/// What the placement of tasks is decided from.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Ready tasks, by the key of their row.
    waiting: BTreeMap<Vec<u8>, WaitingTask>,
    executors: BTreeMap<ExecutorId, ExecutorRow>,
    /// The executor of each assignment, by the key of its row.
    assigned: BTreeMap<Vec<u8>, ExecutorId>,
}

impl Board {
    /// Reads the board as it is at a snapshot.
    pub(crate) async fn load(data: &dyn DataManager, at: &Snapshot) -> Result<Self> {
        let mut board = Self::default();
        for (key, task) in data.read_all(at, &READY, KeyRange::all()).await? {
            board.waiting.insert(key.to_vec(), task);
        }
        for (_, row) in data.read_all(at, &EXECUTORS, KeyRange::all()).await? {
            board.executors.insert(row.status.id.clone(), row);
        }
        for (key, row) in data.read_all(at, &ASSIGNMENTS, KeyRange::all()).await? {
            board.assigned.insert(key.to_vec(), row.executor);
        }
        Ok(board)
    }

    /// Applies a transaction. Whether it may let a task be placed that could not be before.
    pub(super) fn fold(&mut self, committed: &Committed) -> Result<bool> {
        let mut news = false;
        for change in &committed.changes {
            news |= self.fold_one(change)?;
        }
        Ok(news)
    }

    fn fold_one(&mut self, change: &Change) -> Result<bool> {
        let key = change.key.to_vec();
        let value = change.value.as_deref();
        if change.collection == READY.name() {
            match value {
                Some(value) => drop(self.waiting.insert(key, READY.decode(&change.key, value)?)),
                None => drop(self.waiting.remove(&key)),
            }
            Ok(value.is_some())
        } else if change.collection == ASSIGNMENTS.name() {
            match value {
                Some(value) => drop(self.assigned.insert(key, ASSIGNMENTS.decode(&change.key, value)?.executor)),
                None => drop(self.assigned.remove(&key)),
            }
            Ok(value.is_none())
        } else if change.collection == EXECUTORS.name() {
            if let Some(value) = value {
                let row = EXECUTORS.decode(&change.key, value)?;
                self.executors.insert(row.status.id.clone(), row);
            } else {
                self.executors.retain(|id, _| id.as_str().as_bytes() != change.key);
            }
            Ok(true)
        } else {
            Ok(false)
        }
    }

    /// Decides where every waiting task goes.
    pub(super) fn round(&self, scheduler: &dyn Scheduler, last: Option<&GroupPath>) -> Round {
        let waiting = self.waiting.values().cloned().collect();
        scheduler::round(scheduler, waiting, self.executor_views(), last)
    }

    /// Why the tasks of a run wait that wait for more than their own run's tasks, with a reason for each.
    pub(crate) fn why_waiting(
        &self,
        scheduler: &dyn Scheduler,
        config: &RunConfig,
        state: &RunState,
        now: SystemTime,
    ) -> Vec<(TaskName, WaitingReason)> {
        let waiting = engine::waiting(scheduler, config, state).into_iter();
        let mut reasons: Vec<_> =
            waiting.filter(|(_, reason)| !matches!(reason, WaitingReason::WaitingForTasks { .. })).collect();
        for (name, task) in state.tasks.iter().filter(|(_, task)| !task.status.is_final()) {
            let executor = task.assignment.as_ref().and_then(|assignment| self.executors.get(&assignment.executor));
            if let Some(row) = executor.filter(|row| !row.is_here()) {
                let since = row.away_since.and_then(|since| now.duration_since(since).ok());
                let seconds = since.unwrap_or_default().as_secs();
                reasons
                    .push((name.clone(), WaitingReason::ExecutorSilent { executor: row.status.name.clone(), seconds }));
            }
        }
        let executors = self.executor_views();
        for name in engine::ready(scheduler, config, state) {
            let placement = WaitingTask::new(config, state, &name, 0).map(|task| scheduler.place(&task, &executors));
            if let Some(Placement::Wait(reason)) = placement {
                reasons.push((name, reason));
            }
        }
        reasons
    }

    fn executor_views(&self) -> Vec<ExecutorView> {
        let mut active: BTreeMap<&ExecutorId, u32> = BTreeMap::new();
        for executor in self.assigned.values() {
            *active.entry(executor).or_default() += 1;
        }
        let view = |row @ ExecutorRow { status, drain, .. }: &ExecutorRow| ExecutorView {
            id: status.id.clone(),
            name: status.name.clone(),
            alive: row.is_here(),
            archs: status.archs.clone(),
            labels: status.labels.clone(),
            allow_privileged_containers: status.allow_privileged_containers,
            task_limit: if drain.is_some() { 0 } else { status.task_limit },
            active: active.get(&status.id).copied().unwrap_or(0),
        };
        self.executors.values().map(view).collect()
    }
}
