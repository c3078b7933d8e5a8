//! How does one step of a run become rows? All inside one transaction.
//!
//! What differs between the state before and after is written, with what follows from it: the rows that say which run
//! of a group runs, who waits in the queue, which tasks wait for an executor, which are scheduled, and the events.

use std::sync::Arc;

use runyard_datamanager::{Direction, KeyRange, Tx};
use runyard_executor_core::contract::RunId;

use super::{Core, turns::Kept};
use crate::{
    Error, Result,
    engine::{self, Effect, Event, RunEvent, Stepped},
    layout::{self, ASSIGNMENTS, CHORES, CONFIGS, EVENTS, LOGS, QUEUE, READY, RUNNING, RUNS, TAGS, TASKS},
    model::{GroupPath, RunConfig, RunPhase, RunState, Task},
    rows::{AssignmentRow, Chore, EventRow},
    scheduler::WaitingTask,
};

/// A transaction on runs.
pub(super) struct Work<'a> {
    pub(super) core: &'a Core,
    pub(super) tx: Tx,
    now: std::time::SystemTime,
}

impl<'a> Work<'a> {
    pub(super) fn new(core: &'a Core, tx: Tx) -> Self {
        Self { core, tx, now: core.clock.now() }
    }

    /// Loads a run with its tasks. Every change of them changes the tag, so to read that is to read all of them.
    pub(super) async fn load(&self, id: &RunId) -> Result<(Arc<RunConfig>, Arc<RunState>)> {
        let tag = self.tx.get(&TAGS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))?;
        if let Some(Kept { config, state, .. }) = self.core.turns.kept(id, &tag) {
            return Ok((config, state));
        }
        let (config, state) = self.read(id).await?;
        let (config, state) = (Arc::new(config), Arc::new(state));
        self.core.turns.keep(Kept { tag, config: Arc::clone(&config), state: Arc::clone(&state) });
        Ok((config, state))
    }

    async fn read(&self, id: &RunId) -> Result<(RunConfig, RunState)> {
        let config = self.tx.get(&CONFIGS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))?;
        let run = self.tx.get(&RUNS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))?;
        let range = KeyRange::prefix(layout::tasks_prefix(id));
        let tasks = self.tx.scan(&TASKS, range, Direction::Ascending, usize::MAX).await?;
        let tasks = tasks.into_iter().map(|(_, task)| (task.name.clone(), Arc::new(task))).collect();
        Ok((config, RunState { run, tasks }))
    }

    /// Makes an event happen to a run. If that finishes it, the next run of its group starts in the same transaction,
    /// and so on while those finish at once.
    pub(super) async fn step(&self, id: &RunId, event: &Event) -> Result<Arc<RunState>> {
        let (stepped, mut freed) = self.step_one(id, event).await?;
        while let Some(group) = freed {
            let Some(next) = self.next_in_group(&group).await? else { break };
            (_, freed) = self.step_one(&next, &Event::Start).await?;
        }
        Ok(stepped)
    }

    /// Writes a run that did not exist before.
    pub(super) async fn insert(&self, config: &Arc<RunConfig>, created: Stepped) -> Result<Arc<RunState>> {
        let run = &created.state.run;
        self.tx.put(&CONFIGS, run.id.as_str(), &**config).await?;
        if run.phase == RunPhase::Queued {
            self.tx.put(&QUEUE, layout::queue_key(&run.group, run.number), &run.id).await?;
        }
        Ok(self.save(config, None, created).await?.0)
    }

    /// Says that a run, or one of its tasks, is not what it was.
    pub(super) async fn tag(&self, id: &RunId) -> Result<String> {
        let tag = self.core.ids.object();
        self.tx.put(&TAGS, id.as_str(), &tag).await?;
        Ok(tag)
    }

    /// Tells the world.
    pub(super) fn emit(&self, event: RunEvent) -> Result<()> {
        Ok(self.tx.append(&EVENTS, &EventRow { time: self.now, event })?)
    }

    async fn step_one(&self, id: &RunId, event: &Event) -> Result<(Arc<RunState>, Option<GroupPath>)> {
        let (config, before) = self.load(id).await?;
        let stepped = engine::step(&*self.core.scheduler, &config, &before, event)?;
        self.save(&config, Some(&before), stepped).await
    }

    /// The run that takes the place of the one that finished; the place is given up if there is none.
    async fn next_in_group(&self, group: &GroupPath) -> Result<Option<RunId>> {
        let range = KeyRange::prefix(layout::numbered_prefix(group.as_str()));
        let next = self.tx.scan(&QUEUE, range, Direction::Ascending, 1).await?;
        match next.into_iter().next() {
            Some((_, id)) => Ok(Some(id)),
            None => {
                self.tx.delete(&RUNNING, group).await?;
                Ok(None)
            }
        }
    }

    /// Writes what differs and what follows from it. Returns the group whose place became free, if one did.
    async fn save(
        &self,
        config: &Arc<RunConfig>,
        before: Option<&RunState>,
        stepped: Stepped,
    ) -> Result<(Arc<RunState>, Option<GroupPath>)> {
        let Stepped { mut state, effects } = stepped;
        engine::stamp(&mut state, self.now);
        let is_other_run = before.map(|before| &before.run) != Some(&state.run);
        if is_other_run {
            self.tx.put(&RUNS, state.run.id.as_str(), &state.run).await?;
        }
        let changed: Vec<&Arc<Task>> = match before {
            Some(before) => state.changed_tasks(before).map(|(_, task)| task).collect(),
            None => state.tasks.values().collect(),
        };
        for task in &changed {
            self.tx.put(&TASKS, layout::task_key(&state.run.id, &task.id), &***task).await?;
        }
        let is_changed = is_other_run || !changed.is_empty();
        let finished = effects.contains(&Effect::RunFinished);
        for effect in effects {
            self.save_effect(config, &state, effect).await?;
        }
        let freed = (finished && !state.run.parallel).then(|| state.run.group.clone());
        let state = Arc::new(state);
        if is_changed {
            let tag = self.tag(&state.run.id).await?;
            self.core.turns.keep(Kept { tag, config: Arc::clone(config), state: Arc::clone(&state) });
        }
        Ok((state, freed))
    }

    async fn save_effect(&self, config: &RunConfig, state: &RunState, effect: Effect) -> Result<()> {
        let run = &state.run;
        match effect {
            Effect::Ready { task } => {
                let row = WaitingTask::new(config, state, &task, self.tx.position().lsn);
                if let (Some(row), Some(task)) = (row, state.tasks.get(&task)) {
                    self.tx.put(&READY, task.id.as_str(), &row).await?;
                }
            }
            Effect::NotReady { task } => {
                if let Some(task) = state.tasks.get(&task) {
                    self.tx.delete(&READY, task.id.as_str()).await?;
                }
            }
            Effect::AssignmentAdded { task, id, .. } | Effect::StopAssignment { task, id, .. } => {
                if let Some(row) = state.tasks.get(&task).and_then(|task| AssignmentRow::of(run, task)) {
                    self.tx.put(&ASSIGNMENTS, id.as_str(), &row).await?;
                }
            }
            Effect::AssignmentRemoved { id, .. } => self.tx.delete(&ASSIGNMENTS, id.as_str()).await?,
            Effect::SealLog { id, attempt, step, end, .. } => {
                let sealed = self.core.logs.seal(&(id.clone(), attempt, step), end.as_ref()).await?;
                self.tx.put(&LOGS, layout::log_key(&id, attempt, step), &sealed.row).await?;
                if sealed.has_spare {
                    let chore = Chore::TidyLog { task: id, attempt, step };
                    self.tx.put(&CHORES, layout::chore_key(&chore), &chore).await?;
                }
            }
            Effect::RunStarted => {
                self.tx.delete(&QUEUE, layout::queue_key(&run.group, run.number)).await?;
                if !run.parallel {
                    self.tx.put(&RUNNING, &run.group, &run.id).await?;
                }
            }
            Effect::RunCancelled => self.tx.delete(&QUEUE, layout::queue_key(&run.group, run.number)).await?,
            // Whoever called this looks for the next run of the group.
            Effect::RunFinished => {}
            Effect::Emit(event) => self.emit(event)?,
        }
        Ok(())
    }
}
