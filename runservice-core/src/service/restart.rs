//! How is a run repeated? One transaction: the new run, its place in the group, and what it shares with the old one.

use std::collections::BTreeSet;

use runyard_datamanager::DataManagerExt;
use runyard_executor_core::contract::{RunId, TaskId};
use serde::{Deserialize, Serialize};

use super::{Core, create::handed_out, store::Work};
use crate::{
    Result,
    engine::{self, RestartFrom},
    layout::{self, CHORES, REFERENCES},
    model::{Run, RunState},
    rows::{Chore, ReferenceRow, TaskData},
};

/// Where a restarted run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RestartPoint {
    /// With every task.
    Scratch,
    /// With the tasks that did not succeed, and those that depend on them.
    FailedTasks,
}

impl Core {
    pub(super) async fn restart(&self, run: &RunId, from: RestartPoint) -> Result<Run> {
        // There are as many tasks as in the run that is repeated, which never change.
        let tasks: Vec<_> = self.run_config(run).await?.tasks.keys().map(|_| self.ids.task()).collect();
        let id = self.ids.run();
        let restart = |tx| {
            let (id, tasks) = (&id, &tasks);
            async move { Work::new(self, tx).restart(run, from, id, tasks).await }
        };
        let (restarted, _) = self.data.transact(restart).await?;
        self.counters.runs_created.add(1);
        Ok(restarted)
    }
}

impl Work<'_> {
    async fn restart(&self, old: &RunId, from: RestartPoint, id: &RunId, tasks: &[TaskId]) -> Result<Run> {
        let (config, old) = self.load(old).await?;
        let from = match from {
            RestartPoint::Scratch => RestartFrom::Scratch,
            RestartPoint::FailedTasks => RestartFrom::FailedTasks { expired: expired(&old) },
        };
        let identity = self.identity(&config, id).await?;
        let created = engine::restart(&config, &old, &from, identity, &mut handed_out(tasks))?;
        self.share(&old, &created.state).await?;
        self.enter(&config, &BTreeSet::new(), created).await
    }

    /// Writes who refers to the tasks that both runs have. Whoever gives one of them up reads these rows.
    async fn share(&self, old: &RunState, new: &RunState) -> Result<()> {
        let reference = ReferenceRow { logs: !old.run.logs_expired, workspaces: !old.run.workspaces_expired };
        let is_old = |task: &TaskId| old.tasks.values().any(|old| old.id == *task);
        for task in new.tasks.values().map(|task| &task.id).filter(|task| is_old(task)) {
            self.tx.put(&REFERENCES, layout::reference_key(task, &old.run.id), &reference).await?;
            self.tx.put(&REFERENCES, layout::reference_key(task, &new.run.id), &reference).await?;
            for data in [TaskData::Logs, TaskData::Workspaces].into_iter().filter(|data| reference.has(*data)) {
                let chore = Chore::Refer { data, task: task.clone(), run: new.run.id.clone() };
                self.tx.put(&CHORES, layout::chore_key(&chore), &chore).await?;
            }
        }
        Ok(())
    }
}

/// The tasks whose archives the run has given up.
fn expired(run: &RunState) -> BTreeSet<TaskId> {
    let all = run.tasks.values().map(|task| task.id.clone());
    all.filter(|_| run.run.workspaces_expired).collect()
}
