//! What can be asked about runs, and how is their output read?

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use runyard_datamanager::{DataManagerExt, Direction, IndexScan, KeyRange, Snapshot};
use runyard_executor_core::contract::{RunId, StepRef, TaskName};

use super::Core;
use crate::{
    Error, Result,
    layout::{self, CONFIGS, LOGS, RUNS, RUNS_BY_CREATED, RUNS_BY_NUMBER, TASKS},
    logs::{Follower, LogId, LogPage, LogPlace},
    model::{GroupPath, Run, RunConfig, RunPhase, RunResult, RunState, Task},
    rows::LogRow,
    scheduler::WaitingReason,
};

/// A run with its definition and its tasks.
#[derive(Clone, Debug)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// What was asked to be run.
    pub config: RunConfig,
    /// Its tasks by name.
    pub tasks: BTreeMap<TaskName, Task>,
    /// Why the run waits, if it does.
    pub waiting: Option<WaitingReason>,
    /// The tasks that wait although nothing of their own run is in the way, and why.
    pub waiting_tasks: Vec<WaitingTaskView>,
}

/// A task that waits, and why.
#[derive(Clone, Debug)]
pub struct WaitingTaskView {
    /// The task.
    pub task: TaskName,
    /// Why it waits.
    pub reason: WaitingReason,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only runs below this root group.
    pub root: Option<GroupPath>,
    /// Only runs of exactly this group.
    pub group: Option<GroupPath>,
    /// Only runs in this phase.
    pub phase: Option<RunPhase>,
    /// Only runs with this result.
    pub result: Option<RunResult>,
    /// The most runs to return; 0: the default of 50.
    pub limit: usize,
    /// Where an earlier page ended: its [`RunPage::next`].
    pub after: Option<Bytes>,
}

/// Some runs, the newest first.
#[derive(Clone, Debug)]
pub struct RunPage {
    /// The runs. They may be fewer than were asked for, even none, if many others had to be passed over.
    pub runs: Vec<Run>,
    /// Where the next page begins; none: there is no more.
    pub next: Option<Bytes>,
}

/// Names a log.
#[derive(Clone, Debug)]
pub struct LogRef {
    /// The run.
    pub run: RunId,
    /// The task in it.
    pub task: TaskName,
    /// The attempt; none: the current one.
    pub attempt: Option<u32>,
    /// The setup or a step.
    pub step: StepRef,
}

/// How to read a log.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// Which one.
    pub log: LogRef,
    /// The first byte to read.
    pub offset: u64,
    /// Whether to wait for what is not yet written.
    pub follow: bool,
}

/// A page of a filtered list looks at no more runs than these: its cursor goes on behind them.
const LOOKED_AT_MAX: usize = 1_000;

impl RunFilter {
    fn matches(&self, run: &Run) -> bool {
        let is_of_group = |group: &GroupPath| run.group == *group;
        self.group.as_ref().is_none_or(is_of_group)
            && self.phase.is_none_or(|phase| run.phase == phase)
            && self.result.is_none_or(|result| run.result == result)
    }
}

/// Where what is asked for of a log is.
enum Found {
    /// In the objects of its row.
    Sealed(LogRow),
    /// Wherever it is being written.
    Growing(Follower),
    /// Nowhere: it will never be written.
    Empty,
}

impl Core {
    pub(super) async fn get(&self, id: &RunId) -> Result<RunDetail> {
        let at = self.data.snapshot();
        let run = self.read_run(&at, id).await?;
        let config = self.data.read(&at, &CONFIGS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))?;
        let tasks = self.data.read_all(&at, &TASKS, KeyRange::prefix(layout::tasks_prefix(id))).await?;
        let tasks = tasks.into_iter().map(|(_, task)| (task.name.clone(), Arc::new(task))).collect();
        let waiting = self.why_queued(&at, &run).await?;
        let state = RunState { run, tasks };
        let waiting_tasks = self.why_waiting(&at, &config, &state).await?;
        let RunState { run, tasks } = state;
        let tasks = tasks.into_iter().map(|(name, task)| (name, Arc::unwrap_or_clone(task))).collect();
        Ok(RunDetail { run, config, tasks, waiting, waiting_tasks })
    }

    pub(super) async fn find(&self, root: &GroupPath, number: u64) -> Result<Run> {
        let prefix = layout::number_key(root, number);
        let (direction, limit, after) = (Direction::Ascending, 1, None);
        let scan = IndexScan { index: RUNS_BY_NUMBER, prefix: &prefix, direction, limit, after };
        let page = self.data.read_index(&self.data.snapshot(), &RUNS, &scan).await?;
        let found = page.entries.into_iter().next().map(|(_, run)| run);
        found.ok_or_else(|| Error::NotExist { what: format!("run #{number} of `{root}` does not exist") })
    }

    async fn read_run(&self, at: &Snapshot, id: &RunId) -> Result<Run> {
        self.data.read(at, &RUNS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))
    }

    pub(super) async fn list(&self, filter: &RunFilter) -> Result<RunPage> {
        let at = self.data.snapshot();
        let root = filter.root.clone().or_else(|| filter.group.as_ref().map(GroupPath::root));
        let (index, prefix) = match &root {
            Some(root) => (RUNS_BY_NUMBER, layout::numbered_prefix(root.as_str())),
            None => (RUNS_BY_CREATED, Vec::new()),
        };
        let most = if filter.limit == 0 { 50 } else { filter.limit };
        let (mut runs, mut after, mut looked_at) = (Vec::new(), filter.after.clone(), 0);
        loop {
            // Never more than are still missing, so that the end of a page is the end of what was looked at.
            let (direction, limit) = (Direction::Descending, most - runs.len());
            let scan = IndexScan { index, prefix: &prefix, direction, limit, after };
            let page = self.data.read_index(&at, &RUNS, &scan).await?;
            looked_at += page.entries.len();
            runs.extend(page.entries.into_iter().map(|(_, run)| run).filter(|run| filter.matches(run)));
            after = page.next;
            if after.is_none() || runs.len() >= most || looked_at >= LOOKED_AT_MAX.max(most) {
                return Ok(RunPage { runs, next: after });
            }
        }
    }

    /// Streams a log as this process knows it.
    pub(super) async fn log_here(&self, request: &LogRequest) -> Result<BoxStream<'static, Result<Bytes>>> {
        let (id, found) = self.find_log(&request.log).await?;
        let follower = match found {
            Found::Sealed(row) => return Ok(self.logs.read_sealed(&id, row, request.offset)),
            Found::Empty => return Ok(stream::empty().boxed()),
            Found::Growing(follower) if !request.follow => return Ok(follower.read(request.offset, false)),
            Found::Growing(follower) => follower,
        };
        let (data, key) = (Arc::clone(&self.data), layout::log_key(&id.0, id.1, id.2));
        let row = async move { Ok(data.read(&data.snapshot(), &LOGS, &key).await?) };
        Ok(self.logs.read_to_its_end(follower, id, request.offset, row))
    }

    pub(super) async fn log_page(&self, log: &LogRef, place: LogPlace, limit: usize) -> Result<LogPage> {
        let (id, found) = self.find_log(log).await?;
        match found {
            Found::Sealed(row) => self.logs.sealed_page(&id, &row, place, limit).await,
            Found::Growing(follower) => self.logs.live_page(&follower, place, limit).await,
            Found::Empty => self.logs.sealed_page(&id, &LogRow::default(), place, limit).await,
        }
    }

    async fn find_log(&self, log: &LogRef) -> Result<(LogId, Found)> {
        let task = self.find_task(&self.data.snapshot(), log).await?;
        let attempt = log.attempt.unwrap_or(task.attempt);
        check_step(&task, log)?;
        let row_key = layout::task_key(&log.run, &task.id);
        let id = (task.id, attempt, log.step);
        // The follower first and the state after it: an end between the two is then heard.
        let follower = self.logs.follow(&id);
        let at = self.data.snapshot();
        let task = self.data.read(&at, &TASKS, &row_key).await?.ok_or_else(|| Error::no_run(&log.run))?;
        let row = self.data.read(&at, &LOGS, &layout::log_key(&id.0, id.1, id.2)).await?;
        let found = match row {
            Some(row) => Found::Sealed(row),
            None if was_written(&task, attempt, log.step) => {
                let LogRef { run, task, step, .. } = log;
                let what = format!("the log of step `{step}` of task `{task}` of run `{run}` is not kept any more");
                return Err(Error::NotExist { what });
            }
            None if task.status.is_final() || attempt < task.attempt => Found::Empty,
            None => return Ok((id, Found::Growing(follower))),
        };
        self.logs.close(&id);
        Ok((id, found))
    }

    pub(super) async fn find_task(&self, at: &Snapshot, log: &LogRef) -> Result<Task> {
        self.read_run(at, &log.run).await?;
        let range = KeyRange::prefix(layout::tasks_prefix(&log.run));
        let tasks = self.data.read_all(at, &TASKS, range).await?;
        let task = tasks.into_iter().map(|(_, task)| task).find(|task| task.name == log.task);
        task.ok_or_else(|| Error::NotExist { what: format!("run `{}` has no task `{}`", log.run, log.task) })
    }
}

/// Whether a log had something in it when its step ended.
fn was_written(task: &Task, attempt: u32, step: StepRef) -> bool {
    let earlier = task.earlier.iter().find(|earlier| earlier.attempt == attempt);
    let (setup, steps) = match earlier {
        Some(earlier) => (&earlier.setup, &earlier.steps),
        None => (&task.setup, &task.steps),
    };
    let state = match step {
        StepRef::Setup => Some(setup),
        StepRef::Step(index) => steps.get(index as usize),
    };
    state.and_then(|state| state.log.as_ref()).is_some_and(|end| end.bytes > 0)
}

fn check_step(task: &Task, log: &LogRef) -> Result<()> {
    match log.step {
        StepRef::Step(index) if index as usize >= task.steps.len() => Err(Error::NotExist {
            what: format!("task `{}` has no step {index}, but {} steps counted from 0", task.name, task.steps.len()),
        }),
        _ => Ok(()),
    }
}
