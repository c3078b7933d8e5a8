//! Who waits for an executor, and what do the executors hold? A fold of the stream of changes; no I/O but the first read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use runyard_datamanager::{Change, Committed, DataManager, DataManagerExt, KeyRange, Snapshot};
use runyard_executor_core::contract::ExecutorId;

use crate::{
    Result,
    executors::view,
    layout::{ASSIGNMENTS, EXECUTORS, READY},
    rows::ExecutorRow,
    scheduler::{ExecutorView, Placed, PlacementQueue, Scheduler, WaitingTask},
};

/// What the placement of tasks is decided from.
#[derive(Debug)]
pub(super) struct Board {
    scheduler: Arc<dyn Scheduler>,
    queue: PlacementQueue,
    /// What is in the queue, by the key of its row.
    waiting: HashMap<Vec<u8>, WaitingTask>,
    executors: BTreeMap<ExecutorId, ExecutorView>,
    /// The executor of each assignment, by the key of its row.
    assigned: HashMap<Vec<u8>, ExecutorId>,
    /// How many assignments each executor has, known or not.
    active: HashMap<ExecutorId, u32>,
}

impl Board {
    /// Reads the board as it is at a snapshot.
    pub(super) async fn load(scheduler: Arc<dyn Scheduler>, data: &dyn DataManager, at: &Snapshot) -> Result<Self> {
        let mut board = Self {
            scheduler,
            queue: PlacementQueue::new(),
            waiting: HashMap::new(),
            executors: BTreeMap::new(),
            assigned: HashMap::new(),
            active: HashMap::new(),
        };
        for (key, task) in data.read_all(at, &READY, KeyRange::all()).await? {
            board.set_waiting(key.to_vec(), Some(task));
        }
        for (key, row) in data.read_all(at, &ASSIGNMENTS, KeyRange::all()).await? {
            board.set_assigned(key.to_vec(), Some(row.executor));
        }
        for (_, row) in data.read_all(at, &EXECUTORS, KeyRange::all()).await? {
            board.set_executor(&row);
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
        let key = || change.key.to_vec();
        let value = change.value.as_deref();
        if change.collection == READY.name() {
            self.set_waiting(key(), value.map(|value| READY.decode(&change.key, value)).transpose()?);
            Ok(value.is_some())
        } else if change.collection == ASSIGNMENTS.name() {
            let row = value.map(|value| ASSIGNMENTS.decode(&change.key, value)).transpose()?;
            self.set_assigned(key(), row.map(|row| row.executor));
            Ok(value.is_none())
        } else if change.collection == EXECUTORS.name() {
            match value {
                Some(value) => self.set_executor(&EXECUTORS.decode(&change.key, value)?),
                None => self.executors.retain(|id, _| id.as_str().as_bytes() != change.key),
            }
            Ok(true)
        } else {
            Ok(false)
        }
    }

    fn set_waiting(&mut self, key: Vec<u8>, task: Option<WaitingTask>) {
        let before = match task.clone() {
            Some(task) => self.waiting.insert(key, task),
            None => self.waiting.remove(&key),
        };
        if let Some(before) = before {
            self.queue.remove(&*self.scheduler, &before);
        }
        if let Some(task) = task {
            self.queue.insert(&*self.scheduler, task);
        }
    }

    fn set_assigned(&mut self, key: Vec<u8>, executor: Option<ExecutorId>) {
        let before = match executor.clone() {
            Some(executor) => self.assigned.insert(key, executor),
            None => self.assigned.remove(&key),
        };
        if let Some(before) = before {
            self.count(&before, |active| active.saturating_sub(1));
        }
        if let Some(executor) = executor {
            self.count(&executor, |active| active + 1);
        }
    }

    fn count(&mut self, executor: &ExecutorId, change: impl Fn(u32) -> u32) {
        let active = self.active.entry(executor.clone()).or_default();
        *active = change(*active);
        if let Some(view) = self.executors.get_mut(executor) {
            view.active = *active;
        }
        if *active == 0 {
            self.active.remove(executor);
        }
    }

    fn set_executor(&mut self, row: &ExecutorRow) {
        let active = self.active.get(&row.status.id).copied().unwrap_or(0);
        self.executors.insert(row.status.id.clone(), view(row, active));
    }

    /// Decides where waiting tasks go.
    pub(super) fn round(&mut self) -> Vec<Placed> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let mut executors: Vec<ExecutorView> = self.executors.values().cloned().collect();
        self.queue.round(&*self.scheduler, &mut executors)
    }
}
