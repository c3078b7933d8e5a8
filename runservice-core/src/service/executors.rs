//! Which executors are there, and how is one told to end or forgotten?

use std::{collections::BTreeMap, time::SystemTime};

use runyard_datamanager::{DataManagerExt, KeyRange, Tx};
use runyard_executor_core::contract::{ExecutorId, ExecutorStatus, RunId, TaskId, TaskName};
use serde::{Deserialize, Serialize};

use super::{
    Core,
    reports::{assignment, assignments_of},
    store::Work,
};
use crate::{
    Error, Result,
    layout::{ASSIGNMENTS, EXECUTORS},
    model::millis,
    rows::{AssignmentRow, Drain, ExecutorRow},
};

/// An executor, and what it has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct ExecutorDetail {
    /// What it said of itself when it registered last.
    pub status: ExecutorStatus,
    /// Grows with every registration.
    pub epoch: u64,
    /// Whether it is there.
    pub state: ExecutorState,
    /// Whether it was asked to take no more tasks and end.
    pub draining: bool,
    /// The tasks that were given to it, by the names of their runs and tasks.
    pub tasks: Vec<ExecutorTask>,
}

/// Whether an executor is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ExecutorState {
    /// It is connected, and was heard lately.
    Connected,
    /// It is connected, and nothing is heard of it: it gets no new tasks.
    Silent {
        /// Since when; in JSON, in milliseconds since 1970.
        #[serde(with = "millis", default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "http", schemars(with = "Option<u64>"))]
        since: Option<SystemTime>,
    },
    /// It is not connected.
    Disconnected {
        /// Since when; in JSON, in milliseconds since 1970.
        #[serde(with = "millis", default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "http", schemars(with = "Option<u64>"))]
        since: Option<SystemTime>,
    },
}

/// A task that was given to an executor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct ExecutorTask {
    /// The run.
    pub run: RunId,
    /// The task in it.
    pub task: TaskName,
    /// Its id.
    pub id: TaskId,
    /// The attempt.
    pub attempt: u32,
    /// Whether the executor is told to stop it.
    pub stop: bool,
}

impl Core {
    pub(super) async fn executors(&self) -> Result<Vec<ExecutorDetail>> {
        let at = self.data.snapshot();
        let rows = self.data.read_all(&at, &EXECUTORS, KeyRange::all()).await?;
        let mut tasks: BTreeMap<ExecutorId, Vec<ExecutorTask>> = BTreeMap::new();
        for (key, row) in self.data.read_all(&at, &ASSIGNMENTS, KeyRange::all()).await? {
            let id = TaskId::parse(String::from_utf8_lossy(&key).into_owned())?;
            tasks.entry(row.executor.clone()).or_default().push(task(id, row));
        }
        Ok(rows.into_iter().map(|(_, row)| detail(&mut tasks, row)).collect())
    }

    pub(super) async fn executor(&self, id: &ExecutorId) -> Result<ExecutorDetail> {
        let found = self.data.transact(|tx| async move {
            let row = tx.get(&EXECUTORS, id.as_str()).await?.ok_or_else(|| no_executor(id))?;
            Ok::<_, Error>((row, assignments_of(&tx, id).await?))
        });
        let ((row, tasks), _) = found.await?;
        let tasks = tasks.into_iter().map(|(id, row)| task(id, row)).collect();
        Ok(detail(&mut [(id.clone(), tasks)].into(), row))
    }

    pub(super) async fn drain_executor(&self, id: &ExecutorId) -> Result<()> {
        let drain = |tx: Tx| async move {
            let mut row = tx.get(&EXECUTORS, id.as_str()).await?.ok_or_else(|| no_executor(id))?;
            if row.drain.is_none() {
                row.drain = Some(Drain::Asked);
                tx.put(&EXECUTORS, id.as_str(), &row).await?;
            }
            Ok::<_, Error>(())
        };
        self.data.transact(drain).await.map(drop)
    }

    pub(super) async fn remove_executor(&self, id: &ExecutorId) -> Result<()> {
        let remove = |tx: Tx| async move {
            let row = tx.get(&EXECUTORS, id.as_str()).await?.ok_or_else(|| no_executor(id))?;
            let refuse = |reason: &str| {
                let message = format!("executor `{}` cannot be removed: {reason}", row.status.name);
                Err(Error::BadRequest { message })
            };
            if row.is_here() {
                return refuse("it is connected; drain it, and it ends when its tasks have ended");
            }
            for (_, assigned) in assignments_of(&tx, id).await? {
                let (_, state) = Work::new(self, tx.clone()).load(&assigned.run).await?;
                if assignment(&state, &assigned).is_some_and(|assignment| assignment.accepted) {
                    return refuse("it has accepted tasks that may be executing; they are given up if it stays away");
                }
            }
            self.take_back(&tx, id).await?;
            tx.delete(&EXECUTORS, id.as_str()).await?;
            Ok::<_, Error>(())
        };
        self.data.transact(remove).await.map(drop)
    }
}

fn no_executor(id: &ExecutorId) -> Error {
    Error::NotExist { what: format!("executor `{id}` does not exist") }
}

fn task(id: TaskId, row: AssignmentRow) -> ExecutorTask {
    ExecutorTask { run: row.run, task: row.name, id, attempt: row.attempt, stop: row.stop }
}

fn detail(tasks: &mut BTreeMap<ExecutorId, Vec<ExecutorTask>>, row: ExecutorRow) -> ExecutorDetail {
    let since = row.away_since;
    let state = match (&row.process, row.silent) {
        (Some(_), false) => ExecutorState::Connected,
        (Some(_), true) => ExecutorState::Silent { since },
        (None, _) => ExecutorState::Disconnected { since },
    };
    let mut tasks = tasks.remove(&row.status.id).unwrap_or_default();
    tasks.sort();
    ExecutorDetail { status: row.status, epoch: row.epoch, state, draining: row.drain.is_some(), tasks }
}
