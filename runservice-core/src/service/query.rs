//! What can be asked about runs, and how is their output read?

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use runyard_datamanager::{DataManagerExt, Direction, IndexScan, KeyRange, Position, Snapshot};
use runyard_executor_core::contract::{RunId, StepRef, TaskName};
use serde::{Deserialize, Serialize};

use super::Core;
use crate::{
    Error, Result,
    engine::RunEvent,
    layout::{self, CONFIGS, EVENTS, LOGS, RUNNING, RUNS, RUNS_BY_CREATED, RUNS_BY_NUMBER, TASKS},
    logs::{Follower, LogId, LogPage, LogPlace},
    model::{GroupPath, Run, RunConfig, RunPhase, RunState, Task},
    rows::LogRow,
    scheduler::WaitingReason,
    workers::Board,
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
    /// The most runs to return; 0: the default of 50.
    pub limit: usize,
    /// Where an earlier page ended: its [`RunPage::next`].
    pub after: Option<Bytes>,
}

/// Some runs, the newest first.
#[derive(Clone, Debug)]
pub struct RunPage {
    /// The runs.
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

/// Where what is asked for of a log is.
enum Found {
    /// In the objects of its row.
    Sealed(LogRow),
    /// Wherever it is being written.
    Growing(Follower),
    /// Nowhere: it will never be written.
    Empty,
}

/// A place in the sequence of all events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventSequence {
    position: Position,
    index: u32,
}

impl EventSequence {
    /// Before every event.
    pub const ZERO: Self = Self { position: Position::ZERO, index: 0 };

    /// After every event of the transaction at `position`.
    pub(crate) fn at(position: Position) -> Self {
        Self { position, index: u32::MAX }
    }
}

impl fmt::Display for EventSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.index)
    }
}

/// Reads back what `Display` wrote.
impl std::str::FromStr for EventSequence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = || {
            let (position, index) = text.rsplit_once('.')?;
            let (lsn, in_batch) = position.split_once('.')?;
            let position = Position { lsn: lsn.parse().ok()?, index: in_batch.parse().ok()? };
            Some(Self { position, index: index.parse().ok()? })
        };
        let message = format!("`{text}` is no sequence of an event, such as `12.0.3`");
        parsed().ok_or(Error::BadRequest { message })
    }
}

/// An event with its place.
#[derive(Clone, Debug)]
pub struct SequencedEvent {
    /// Its place.
    pub sequence: EventSequence,
    /// What happened.
    pub event: RunEvent,
}

impl Core {
    pub(super) async fn get(&self, id: &RunId) -> Result<RunDetail> {
        let at = self.data.snapshot();
        let run = self.read_run(&at, id).await?;
        let config = self.data.read(&at, &CONFIGS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))?;
        let tasks = self.data.read_all(&at, &TASKS, KeyRange::prefix(layout::tasks_prefix(id))).await?;
        let tasks = tasks.into_iter().map(|(_, task)| (task.name.clone(), task)).collect();
        let waiting = self.why_queued(&at, &run).await?;
        let state = RunState { run, tasks };
        let board = Board::load(&*self.data, &at).await?;
        let waiting_tasks = board
            .why_waiting(&*self.scheduler, &config, &state)
            .into_iter()
            .map(|(task, reason)| WaitingTaskView { task, reason })
            .collect();
        let RunState { run, tasks } = state;
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

    async fn why_queued(&self, at: &Snapshot, run: &Run) -> Result<Option<WaitingReason>> {
        if run.phase != RunPhase::Queued {
            return Ok(None);
        }
        let Some(running) = self.data.read(at, &RUNNING, &run.group).await? else { return Ok(None) };
        let number = self.read_run(at, &running).await?.number;
        Ok(Some(WaitingReason::WaitingForRun { number }))
    }

    async fn read_run(&self, at: &Snapshot, id: &RunId) -> Result<Run> {
        self.data.read(at, &RUNS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))
    }

    pub(super) async fn list(&self, filter: &RunFilter) -> Result<RunPage> {
        let at = self.data.snapshot();
        let (index, prefix) = match &filter.root {
            Some(root) => (RUNS_BY_NUMBER, layout::numbered_prefix(root.as_str())),
            None => (RUNS_BY_CREATED, Vec::new()),
        };
        let limit = if filter.limit == 0 { 50 } else { filter.limit };
        let after = filter.after.clone();
        let scan = IndexScan { index, prefix: &prefix, direction: Direction::Descending, limit, after };
        let page = self.data.read_index(&at, &RUNS, &scan).await?;
        Ok(RunPage { runs: page.entries.into_iter().map(|(_, run)| run).collect(), next: page.next })
    }

    pub(super) async fn log(&self, request: &LogRequest) -> Result<BoxStream<'static, Result<Bytes>>> {
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
            None if task.status.is_final() || attempt < task.attempt => Found::Empty,
            None => return Ok((id, Found::Growing(follower))),
        };
        self.logs.close(&id);
        Ok((id, found))
    }

    async fn find_task(&self, at: &Snapshot, log: &LogRef) -> Result<Task> {
        self.read_run(at, &log.run).await?;
        let range = KeyRange::prefix(layout::tasks_prefix(&log.run));
        let tasks = self.data.read_all(at, &TASKS, range).await?;
        let task = tasks.into_iter().map(|(_, task)| task).find(|task| task.name == log.task);
        task.ok_or_else(|| Error::NotExist { what: format!("run `{}` has no task `{}`", log.run, log.task) })
    }

    pub(super) fn events(&self, after: EventSequence) -> BoxStream<'static, Result<SequencedEvent>> {
        // An event of the same transaction may follow the one that was seen last, so that one is read again.
        let from = Position { lsn: after.position.lsn.saturating_sub(1), index: u32::MAX };
        self.data.follow(from).flat_map(move |committed| stream::iter(events_of(committed, after))).boxed()
    }
}

fn events_of(
    committed: runyard_datamanager::Result<runyard_datamanager::Committed>,
    after: EventSequence,
) -> Vec<Result<SequencedEvent>> {
    let committed = match committed {
        Ok(committed) => committed,
        Err(error) => return vec![Err(error.into())],
    };
    let appended = committed.changes.iter().filter(|change| change.collection == EVENTS.name());
    let mut events = Vec::new();
    for change in appended {
        let (Some(value), Some((position, index))) = (&change.value, Position::from_append_key(&change.key)) else {
            continue;
        };
        let sequence = EventSequence { position, index };
        if sequence > after {
            let event = EVENTS.decode(&change.key, value).map_err(Error::from);
            events.push(event.map(|event| SequencedEvent { sequence, event }));
        }
    }
    events
}

fn check_step(task: &Task, log: &LogRef) -> Result<()> {
    match log.step {
        StepRef::Step(index) if index as usize >= task.steps.len() => Err(Error::NotExist {
            what: format!("task `{}` has no step {index}, but {} steps counted from 0", task.name, task.steps.len()),
        }),
        _ => Ok(()),
    }
}
