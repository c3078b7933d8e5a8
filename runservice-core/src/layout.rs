//! How are the run service's objects and collections named? The only file that spells them.
//!
//! ```text
//! logs/<task id>/data/<attempt>/<setup or step>/<20-digit offset>
//! logs/<task id>/runs/<run id>                     says which runs have these logs
//! workspacearchives/<task id>/data/<step>
//! workspacearchives/<task id>/runs/<run id>
//! caches/<object id>
//! rundata/...                                      the data manager's own
//! ```
//!
//! Roles of a coordinator: `scheduler`, and `runservice/<process id>` for each process.

use std::{ops::Range, time::SystemTime};

use bytes::Bytes;
use runyard_datamanager::Collection;
use runyard_executor_core::contract::{RunId, StepRef, TaskId};
use runyard_objectstorage::ObjectKey;

use crate::{
    model::{GroupPath, Run, RunConfig, Task},
    process::ProcessId,
    rows::{
        AssignmentRow, CacheRow, Chore, CredentialRow, EventRow, ExecutorRow, JoinTokenRow, LogRow, ReferenceRow,
        TaskData,
    },
    scheduler::WaitingTask,
    service::EventSequence,
};

/// The base path of the run service's data manager in the object storage.
pub const RUN_DATA: &str = "rundata";

/// The role of the process that places tasks.
pub(crate) const SCHEDULER: &str = "scheduler";

/// The role that a process leads as long as it lives.
pub(crate) fn process_role(process: &ProcessId) -> String {
    format!("runservice/{process}")
}

/// Runs by id. Indexes: `number` (root group and number), `created` (when), `live` (unfinished ones).
pub(crate) const RUNS: Collection<Run> = Collection::new("runs").with_indexes(&[
    (RUNS_BY_NUMBER, |_, run, keys| keys.push(number_key(&run.group.root(), run.number))),
    (RUNS_BY_CREATED, |_, run, keys| keys.push(created_key(run))),
    (RUNS_LIVE, |_, run, keys| {
        if !run.phase.is_final() {
            keys.push(Bytes::new());
        }
    }),
    (RUNS_BY_AGE, |_, run, keys| {
        if run.phase.is_final() && !run.pinned {
            let kept =
                [(Aging::Run, true), (Aging::Logs, !run.logs_expired), (Aging::Workspaces, !run.workspaces_expired)];
            keys.extend(kept.into_iter().filter(|(_, kept)| *kept).map(|(aging, _)| age_key(aging, run)));
        }
    }),
]);
pub(crate) const RUNS_BY_NUMBER: &str = "number";
pub(crate) const RUNS_BY_CREATED: &str = "created";
pub(crate) const RUNS_LIVE: &str = "live";
pub(crate) const RUNS_BY_AGE: &str = "age";

/// What the last change of a run left as its tag, by run id: whoever has read it has read the run and its tasks.
pub(crate) const TAGS: Collection<String> = Collection::new("runtags");
/// Run configs by run id.
pub(crate) const CONFIGS: Collection<RunConfig> = Collection::new("runconfigs");
/// Tasks by [`task_key`].
pub(crate) const TASKS: Collection<Task> = Collection::new("tasks");
/// Scheduled tasks by task id. Index: `executor`.
pub(crate) const ASSIGNMENTS: Collection<AssignmentRow> =
    Collection::new("assignments").with_indexes(&[(ASSIGNMENTS_BY_EXECUTOR, |_, row, keys| {
        keys.push(Bytes::copy_from_slice(row.executor.as_str().as_bytes()));
    })]);
pub(crate) const ASSIGNMENTS_BY_EXECUTOR: &str = "executor";
/// Tasks that wait for an executor, by task id.
pub(crate) const READY: Collection<WaitingTask> = Collection::new("ready");
/// The running run of each group, by group path: that the key is the group makes it at most one.
pub(crate) const RUNNING: Collection<RunId> = Collection::new("running");
/// Queued runs by group and number.
pub(crate) const QUEUE: Collection<RunId> = Collection::new("queue");
/// The last run number of each root group.
pub(crate) const COUNTERS: Collection<u64> = Collection::new("counters");
/// Executors by id.
pub(crate) const EXECUTORS: Collection<ExecutorRow> = Collection::new("executors");
/// What lets executors join, by id. Index: `hash` of the token.
pub(crate) const JOIN_TOKENS: Collection<JoinTokenRow> =
    Collection::new("jointokens").with_indexes(&[(TOKENS_BY_HASH, |_, row, keys| keys.push(hash_key(&row.sha256)))]);
/// What executors show, by executor. Index: `hash` of the token.
pub(crate) const CREDENTIALS: Collection<CredentialRow> =
    Collection::new("credentials").with_indexes(&[(TOKENS_BY_HASH, |_, row, keys| {
        keys.extend(row.sha256.as_deref().map(hash_key));
    })]);
pub(crate) const TOKENS_BY_HASH: &str = "hash";
/// What happened, by position.
pub(crate) const EVENTS: Collection<EventRow> = Collection::new("events");
/// The last event that is not kept any more, under an empty key.
pub(crate) const EVENTS_EXPIRED: Collection<EventSequence> = Collection::new("eventsexpired");
/// What runs refer to of tasks that they share, by [`reference_key`].
pub(crate) const REFERENCES: Collection<ReferenceRow> = Collection::new("references");
/// What is still to be done with objects, by [`chore_key`].
pub(crate) const CHORES: Collection<Chore> = Collection::new("chores");
/// Sealed logs by [`log_key`].
pub(crate) const LOGS: Collection<LogRow> = Collection::new("logs");
/// Cache entries by [`cache_key`]. Index: `unused` (since when).
pub(crate) const CACHES: Collection<CacheRow> =
    Collection::new("caches").with_indexes(&[(CACHES_BY_USE, |_, row, keys| {
        keys.push(Bytes::copy_from_slice(&millis(row.unused_since()).to_be_bytes()));
    })]);
pub(crate) const CACHES_BY_USE: &str = "unused";
/// The last cache entry's number of each scope.
pub(crate) const CACHE_COUNTERS: Collection<u64> = Collection::new("cachecounters");
/// Runs by the idempotency key of their creation.
pub(crate) const IDEMPOTENCY: Collection<RunId> = Collection::new("idempotency");

/// Orders numbers inside a name: the name ends with NUL, which no name contains.
fn numbered(name: &str, number: u64) -> Bytes {
    let mut key = Vec::with_capacity(name.len() + 9);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key.extend_from_slice(&number.to_be_bytes());
    key.into()
}

fn hash_key(hash: &str) -> Bytes {
    Bytes::copy_from_slice(hash.as_bytes())
}

/// What every numbered key of a name begins with.
pub(crate) fn numbered_prefix(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// The index key of a run in its root group.
pub(crate) fn number_key(root: &GroupPath, number: u64) -> Bytes {
    numbered(root.as_str(), number)
}

/// The index key of a run among all runs: for showing the newest first, so a clock that steps back does no harm.
fn created_key(run: &Run) -> Bytes {
    Bytes::copy_from_slice(&run.times.created.map_or(0, millis).to_be_bytes())
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// What grows old with a run, each at its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aging {
    Run,
    Logs,
    Workspaces,
}

/// What all index keys begin with of runs that still have something.
pub(crate) fn age_prefix(aging: Aging) -> [u8; 1] {
    [aging as u8]
}

/// The index key of a final run among those that still have something, the oldest first.
fn age_key(aging: Aging, run: &Run) -> Bytes {
    [&age_prefix(aging)[..], &run.times.finished.map_or(0, millis).to_be_bytes()].concat().into()
}

/// The key of what a run refers to of a task.
pub(crate) fn reference_key(task: &TaskId, run: &RunId) -> String {
    format!("{task}/{run}")
}

/// What the keys of all references to a task begin with.
pub(crate) fn references_prefix(task: &TaskId) -> String {
    format!("{task}/")
}

/// The key of what is to be done: what is decided later about the same object takes the place of what was.
pub(crate) fn chore_key(chore: &Chore) -> String {
    match chore {
        Chore::Refer { data, task, run } | Chore::Release { data, task, run, .. } => {
            format!("{}/{task}/{run}", data_folder(*data))
        }
        Chore::TidyLog { task, attempt, step } => format!("logs/{}", log_key(task, *attempt, *step)),
        Chore::DropCache { object } => format!("caches/{object}"),
    }
}

fn data_folder(data: TaskData) -> &'static str {
    match data {
        TaskData::Logs => "logs",
        TaskData::Workspaces => "workspacearchives",
    }
}

/// The object that says that a run refers to the data of a task.
pub(crate) fn reference(data: TaskData, task: &TaskId, run: &RunId) -> ObjectKey {
    object(&format!("{}/{task}/runs/{run}", data_folder(data)))
}

/// What all objects of a task begin with.
pub(crate) fn task_data_prefix(data: TaskData, task: &TaskId) -> String {
    format!("{}/{task}/", data_folder(data))
}

/// What the keys of all sealed logs of a task begin with.
pub(crate) fn logs_of_task(task: &TaskId) -> String {
    format!("{task}/")
}

/// The key of a queued run.
pub(crate) fn queue_key(group: &GroupPath, number: u64) -> Bytes {
    numbered(group.as_str(), number)
}

/// The key of a task of a run: a task that two runs share has a row in each.
pub(crate) fn task_key(run: &RunId, task: &TaskId) -> String {
    format!("{run}/{task}")
}

/// What the keys of all tasks of a run begin with.
pub(crate) fn tasks_prefix(run: &RunId) -> String {
    format!("{run}/")
}

/// The key of a sealed log.
pub(crate) fn log_key(task: &TaskId, attempt: u32, step: StepRef) -> String {
    format!("{task}/{attempt}/{step}")
}

/// The log that [`log_key`] named.
pub(crate) fn log_of_key(key: &[u8]) -> Option<(TaskId, u32, StepRef)> {
    let mut parts = std::str::from_utf8(key).ok()?.splitn(3, '/');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The key of a cache entry.
pub(crate) fn cache_key(scope: &str, key: &str) -> Vec<u8> {
    [scope.as_bytes(), &[0], key.as_bytes()].concat()
}

/// What the objects of a log begin with.
pub(crate) fn log_prefix(task: &TaskId, attempt: u32, step: StepRef) -> String {
    format!("logs/{task}/data/{attempt}/{step}/")
}

/// The object that holds these bytes of a log. Whoever writes it, and whenever, writes the same: so a write that arrives
/// late does no harm.
pub(crate) fn log_chunk(prefix: &str, bytes: &Range<u64>) -> ObjectKey {
    object(&format!("{prefix}{:020}-{:020}", bytes.start, bytes.end))
}

/// The bytes that [`log_chunk`] put into a key.
pub(crate) fn log_chunk_bytes(prefix: &str, key: &ObjectKey) -> Option<Range<u64>> {
    let (start, end) = key.as_str().strip_prefix(prefix)?.split_once('-')?;
    let bytes = start.parse().ok()?..end.parse().ok()?;
    (log_chunk(prefix, &bytes) == *key).then_some(bytes)
}

/// The object of a workspace archive.
pub(crate) fn workspace_archive(task: &TaskId, step: u32) -> ObjectKey {
    object(&format!("workspacearchives/{task}/data/{step}"))
}

/// The object of a cache entry.
pub(crate) fn cache_object(id: &str) -> ObjectKey {
    object(&format!("caches/{id}"))
}

fn object(key: &str) -> ObjectKey {
    ObjectKey::parse(key).expect("ids and numbers make valid keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_object_is_a_directory_of_another() {
        let task = TaskId::parse("t1").expect("valid");
        let keys = [
            log_chunk(&log_prefix(&task, 1, StepRef::Setup), &(0..9)),
            log_chunk(&log_prefix(&task, 1, StepRef::Step(0)), &(7..8)),
            log_chunk(&log_prefix(&task, 11, StepRef::Step(10)), &(7..9)),
            workspace_archive(&task, 0),
            workspace_archive(&task, 10),
            cache_object("c1"),
        ];
        for a in &keys {
            for b in &keys {
                assert!(!b.as_str().starts_with(&format!("{a}/")), "{a} is a directory of {b}");
            }
        }
    }

    #[test]
    fn a_chunk_key_reads_back() {
        let prefix = log_prefix(&TaskId::parse("t1").expect("valid"), 1, StepRef::Step(3));
        assert_eq!(log_chunk_bytes(&prefix, &log_chunk(&prefix, &(123..456))), Some(123..456));
        for stranger in ["x", "1-2", "00000000000000000123"] {
            assert_eq!(log_chunk_bytes(&prefix, &object(&format!("logs/t1/data/1/3/{stranger}"))), None);
        }
    }
}
