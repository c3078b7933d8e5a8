//! What would a run service have seen of an executor?

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::{mpsc, watch};

use crate::contract::{
    ByteStream, CacheHit, CachePut, ClientError, Command, ExecutorId, ExecutorStatus, Fence, Registration, Result,
    RunServiceClient, Siblings, StepRef, TaskId, TaskReport, TaskSpec,
};

/// A [`RunServiceClient`] that keeps everything in memory and does as it is told.
///
/// ```
/// use runyard_executor_core::testing::FakeRunService;
///
/// let service = FakeRunService::new();
/// assert!(service.with(|stored| stored.registrations.is_empty()));
/// ```
#[derive(Debug)]
pub struct FakeRunService {
    stored: watch::Sender<Stored>,
    commands: Mutex<Option<mpsc::UnboundedSender<Result<Command>>>>,
}

/// What a [`FakeRunService`] has seen.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Stored {
    /// What executors said of themselves, in order.
    pub registrations: Vec<ExecutorStatus>,
    /// How many heartbeats came.
    pub heartbeats: u64,
    /// What executors said of others, in order.
    pub siblings: Vec<Siblings>,
    /// The attempts that were accepted, in order; one that was accepted again is here again.
    pub accepted: Vec<(TaskId, u32)>,
    /// All reports that were not older than one before, in order.
    pub reports: Vec<TaskReport>,
    /// Logs by task, attempt and step.
    pub logs: BTreeMap<(TaskId, u32, StepRef), Vec<u8>>,
    /// Workspace archives by task and step.
    pub workspace: BTreeMap<(TaskId, u32), Bytes>,
    /// Cache entries, oldest first.
    pub cache: Vec<(String, Bytes)>,
    /// Whether calls fail with [`ClientError::Unavailable`].
    unavailable: bool,
    /// Whether appends alone fail so.
    logs_unavailable: bool,
    fenced: BTreeSet<TaskId>,
    assigned: Vec<TaskSpec>,
}

impl Stored {
    /// The newest report of a task.
    pub fn report(&self, task: &TaskId) -> Option<&TaskReport> {
        self.reports.iter().rev().find(|report| report.fence.task == *task)
    }

    /// The log of a step of the first attempt, as text.
    pub fn log(&self, task: &TaskId, step: StepRef) -> String {
        let log = self.logs.get(&(task.clone(), 1, step));
        log.map(|log| String::from_utf8_lossy(log).into_owned()).unwrap_or_default()
    }

    fn epoch(&self) -> u64 {
        self.registrations.len() as u64
    }
}

impl FakeRunService {
    /// A run service that nobody has talked to.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { stored: watch::Sender::new(Stored::default()), commands: Mutex::new(None) })
    }

    /// Looks at what it has seen.
    pub fn with<T>(&self, look: impl FnOnce(&Stored) -> T) -> T {
        look(&self.stored.borrow())
    }

    /// Waits until what it has seen satisfies a condition.
    pub async fn wait_until(&self, condition: impl FnMut(&Stored) -> bool) {
        let mut stored = self.stored.subscribe();
        stored.wait_for(condition).await.expect("the service owns the sender");
    }

    /// Waits for the final report of a task.
    pub async fn final_report(&self, task: &TaskId) -> TaskReport {
        let is_final = |report: &&TaskReport| report.state.is_final();
        self.wait_until(|stored| stored.report(task).filter(is_final).is_some()).await;
        self.with(|stored| stored.report(task).cloned()).expect("it was waited for")
    }

    /// Assigns a task to the executor that is registered, or to the next one.
    pub fn assign(&self, task: TaskSpec) {
        self.stored.send_modify(|stored| stored.assigned.push(task.clone()));
        self.tell(Command::Assign { task: Box::new(task) });
    }

    /// Tells the executor something.
    pub fn tell(&self, command: Command) {
        if let Some(commands) = &*self.commands() {
            // An executor that went away hears what matters at its next registration.
            let _ = commands.send(Ok(command));
        }
    }

    /// Breaks the connection to the executor.
    pub fn break_connection(&self) {
        if let Some(commands) = self.commands().take() {
            let _ = commands.send(Err(unavailable("waiting for commands")));
        }
    }

    /// From now on all calls fail, or none.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.stored.send_modify(|stored| stored.unavailable = unavailable);
    }

    /// From now on appends to logs fail, or not.
    pub fn set_logs_unavailable(&self, unavailable: bool) {
        self.stored.send_modify(|stored| stored.logs_unavailable = unavailable);
    }

    /// From now on nothing of the task is expected.
    pub fn fence(&self, task: &TaskId) {
        self.stored.send_modify(|stored| {
            stored.fenced.insert(task.clone());
        });
    }

    /// Puts an archive into the workspace, as another task would.
    pub fn put_archive(&self, task: &TaskId, step: u32, archive: Bytes) {
        self.stored.send_modify(|stored| {
            stored.workspace.insert((task.clone(), step), archive);
        });
    }

    fn commands(&self) -> std::sync::MutexGuard<'_, Option<mpsc::UnboundedSender<Result<Command>>>> {
        self.commands.lock().expect("no panic happens while it is locked")
    }

    /// Changes what is stored, if the service is there at all.
    fn change<T>(&self, doing: &'static str, change: impl FnOnce(&mut Stored) -> Result<T>) -> Result<T> {
        let mut result = Err(unavailable(doing));
        self.stored.send_if_modified(|stored| {
            if stored.unavailable {
                return false;
            }
            result = change(stored);
            true
        });
        result
    }

    fn change_for<T>(
        &self,
        fence: &Fence,
        doing: &'static str,
        change: impl FnOnce(&mut Stored) -> Result<T>,
    ) -> Result<T> {
        self.change(doing, |stored| {
            let fenced = |reason: &str| ClientError::Fenced {
                task: fence.task.clone(),
                attempt: fence.attempt,
                reason: reason.to_owned(),
            };
            if fence.epoch != stored.epoch() {
                return Err(fenced("its epoch is over"));
            }
            if stored.fenced.contains(&fence.task) {
                return Err(fenced("nobody expects it"));
            }
            change(stored)
        })
    }
}

fn unavailable(doing: &'static str) -> ClientError {
    ClientError::Unavailable { doing, source: "a test has switched it off".into() }
}

fn not_found(what: String) -> ClientError {
    ClientError::NotFound { what }
}

async fn collect(archive: ByteStream) -> Result<Bytes> {
    let pieces: Vec<Bytes> = archive
        .try_collect()
        .await
        .map_err(|source| ClientError::Unavailable { doing: "reading an archive", source })?;
    Ok(pieces.concat().into())
}

/// In small pieces, as a network would deliver it.
fn stream(archive: &Bytes) -> ByteStream {
    let pieces: Vec<_> = archive.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures::stream::iter(pieces).boxed()
}

#[async_trait]
impl RunServiceClient for FakeRunService {
    async fn register(&self, status: ExecutorStatus) -> Result<Registration> {
        let (epoch, again) = self.change("registering", |stored| {
            stored.registrations.push(status);
            let accepted = &stored.accepted;
            let is_open = |task: &&TaskSpec| !accepted.contains(&(task.id.clone(), task.attempt));
            Ok((stored.epoch(), stored.assigned.iter().filter(is_open).cloned().collect::<Vec<_>>()))
        })?;
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for task in again {
            let _ = sender.send(Ok(Command::Assign { task: Box::new(task) }));
        }
        *self.commands() = Some(sender);
        let commands = futures::stream::poll_fn(move |context| receiver.poll_recv(context)).boxed();
        Ok(Registration { epoch, commands })
    }

    async fn heartbeat(&self, executor: &ExecutorId, epoch: u64) -> Result<()> {
        self.change("taking a heartbeat", |stored| {
            if stored.epoch() != epoch {
                return Err(ClientError::Replaced { executor: executor.clone() });
            }
            stored.heartbeats += 1;
            Ok(())
        })
    }

    async fn siblings(&self, _: &ExecutorId, _: u64, siblings: Siblings) -> Result<()> {
        self.change("noting siblings", |stored| {
            stored.siblings.push(siblings);
            Ok(())
        })
    }

    async fn accept(&self, fence: &Fence) -> Result<()> {
        self.change_for(fence, "accepting a task", |stored| {
            stored.accepted.push((fence.task.clone(), fence.attempt));
            Ok(())
        })
    }

    async fn report(&self, report: TaskReport) -> Result<()> {
        let fence = report.fence.clone();
        self.change_for(&fence, "taking a report", |stored| {
            let newest = stored.reports.iter().rev().find(|old| old.fence.task == fence.task);
            if newest.is_none_or(|newest| newest.sequence < report.sequence) {
                stored.reports.push(report);
            }
            Ok(())
        })
    }

    async fn append_log(&self, fence: &Fence, step: StepRef, offset: u64, bytes: Bytes) -> Result<u64> {
        self.change_for(fence, "appending to a log", |stored| {
            if stored.logs_unavailable {
                return Err(unavailable("appending to a log"));
            }
            let log = stored.logs.entry((fence.task.clone(), fence.attempt, step)).or_default();
            let end = log.len() as u64;
            if offset > end {
                return Err(ClientError::LogGap { step, stored: end, offset });
            }
            let known = usize::try_from(end - offset).expect("logs of tests are small").min(bytes.len());
            log.extend_from_slice(&bytes[known..]);
            Ok(log.len() as u64)
        })
    }

    async fn put_workspace(&self, fence: &Fence, step: u32, archive: ByteStream) -> Result<()> {
        let archive = collect(archive).await?;
        self.change_for(fence, "storing an archive", |stored| {
            stored.workspace.insert((fence.task.clone(), step), archive);
            Ok(())
        })
    }

    async fn get_workspace(&self, fence: &Fence, task: &TaskId, step: u32) -> Result<ByteStream> {
        self.change_for(fence, "opening an archive", |stored| {
            let archive = stored.workspace.get(&(task.clone(), step));
            archive.map(stream).ok_or_else(|| not_found(format!("the archive of step {step} of task `{task}`")))
        })
    }

    async fn cache_exists(&self, fence: &Fence, key: &str) -> Result<bool> {
        self.change_for(fence, "looking for a cache entry", |stored| {
            Ok(stored.cache.iter().any(|(stored, _)| stored == key))
        })
    }

    async fn put_cache(&self, fence: &Fence, key: &str, archive: ByteStream) -> Result<CachePut> {
        let archive = collect(archive).await?;
        self.change_for(fence, "storing a cache entry", |stored| {
            if stored.cache.iter().any(|(stored, _)| stored == key) {
                return Ok(CachePut::Exists);
            }
            stored.cache.push((key.to_owned(), archive));
            Ok(CachePut::Stored)
        })
    }

    async fn get_cache(&self, fence: &Fence, keys: &[String]) -> Result<Option<CacheHit>> {
        self.change_for(fence, "opening a cache entry", |stored| {
            let hit = keys.iter().find_map(|key| {
                let exact = stored.cache.iter().find(|(stored, _)| stored == key);
                exact.or_else(|| stored.cache.iter().rev().find(|(stored, _)| stored.starts_with(key)))
            });
            Ok(hit.map(|(key, archive)| CacheHit {
                key: key.clone(),
                size: archive.len() as u64,
                archive: stream(archive),
            }))
        })
    }
}
