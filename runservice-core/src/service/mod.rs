//! The run service: makes what the engine decides durable, and tells whom it concerns.
//!
//! Every change of a run is one transaction: the run is loaded, the pure reducer says what becomes of it, and the rows
//! that differ are written together with what follows from them (see [`store`]).

mod audit;
mod connections;
mod create;
mod delete;
mod events;
mod executors;
mod follow;
mod query;
mod reports;
mod restart;
mod store;
#[cfg(test)]
mod tests;
mod turns;
mod why;

use std::sync::Arc;

use futures::stream::BoxStream;
use runyard_datamanager::{DataManager, DataManagerExt, coordinator::Coordinator};
use runyard_executor_core::contract::{ExecutorId, RunId, RunServiceClient, TaskName};
use runyard_objectstorage::ObjectStorage;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use self::turns::Turns;
pub use self::{
    create::NewRun,
    events::{EventSequence, InvalidSequence, SequencedEvent},
    executors::{ExecutorDetail, ExecutorState, ExecutorTask},
    query::{LogRef, LogRequest, RunDetail, RunFilter, RunPage, WaitingTaskView},
    restart::RestartPoint,
};
use crate::{
    Clock, IdSource, Result, Settings, SystemClock,
    client::LocalClient,
    engine::Event,
    executors::Sessions,
    logs::{LogPage, LogPlace, Logs},
    metrics::{Counters, Metrics},
    model::{GroupPath, Run, RunConfig},
    peers::Peers,
    process::Process,
    scheduler::{DefaultScheduler, Scheduler},
    sealer::Sealer,
    workers,
};

/// The run engine as a service. Cloning is cheap; clones are the same service.
///
/// It does nothing by itself: [`RunService::run`] is the future that places tasks and tells executors, and the host
/// decides where that runs and when it ends.
#[derive(Clone, Debug)]
pub struct RunService {
    core: Arc<Core>,
}

/// What every part of the service works with.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) data: Arc<dyn DataManager>,
    pub(crate) storage: Arc<dyn ObjectStorage>,
    pub(crate) scheduler: Arc<dyn Scheduler>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<IdSource>,
    pub(crate) logs: Logs,
    pub(crate) sessions: Sessions,
    pub(crate) coordinator: Option<Arc<dyn Coordinator>>,
    pub(crate) process: Process,
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    pub(crate) sealer: Option<Arc<dyn Sealer>>,
    pub(crate) turns: Turns,
    peers: Option<Arc<dyn Peers>>,
}

/// Puts a [`RunService`] together.
#[derive(Debug)]
pub struct RunServiceBuilder {
    data: Arc<dyn DataManager>,
    storage: Arc<dyn ObjectStorage>,
    scheduler: Arc<dyn Scheduler>,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
    coordinator: Option<Arc<dyn Coordinator>>,
    process_name: Option<String>,
    settings: Settings,
    sealer: Option<Arc<dyn Sealer>>,
    peers: Option<Arc<dyn Peers>>,
}

impl RunServiceBuilder {
    /// Decides what may start, and where. Default: [`DefaultScheduler`].
    pub fn scheduler(mut self, scheduler: impl Scheduler + 'static) -> Self {
        self.scheduler = Arc::new(scheduler);
        self
    }

    /// Stamps what happens. Default: the machine's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes ids. Default: seeded by the operating system.
    pub fn ids(mut self, ids: IdSource) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// Says which of the processes that share the store should place tasks, and which of them live. Default: none, this
    /// process is the only one.
    ///
    /// It is the coordinator of the data manager's store. All processes on a store are given one, or none is.
    pub fn coordinator(mut self, coordinator: Arc<dyn Coordinator>) -> Self {
        self.coordinator = Some(coordinator);
        self
    }

    /// What operators of other processes read of this one, such as its address. Default: an id.
    pub fn process_name(mut self, name: impl Into<String>) -> Self {
        self.process_name = Some(name.into());
        self
    }

    /// Says how the other processes on the store are reached. Default: they are not.
    pub fn peers(mut self, peers: impl Peers) -> Self {
        self.peers = Some(Arc::new(peers));
        self
    }

    /// Seals secret values before they are stored. Default: none, they are stored as they are.
    ///
    /// All processes on a store are given sealers that open what the others seal.
    pub fn sealer(mut self, sealer: impl Sealer) -> Self {
        self.sealer = Some(Arc::new(sealer));
        self
    }

    /// Sets the numbers that it goes by.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The service. Nothing runs until [`RunService::run`] is polled.
    pub fn build(self) -> RunService {
        let Self { data, storage, scheduler, clock, ids, coordinator, process_name, settings, sealer, peers } = self;
        let shared = coordinator.as_ref().is_some_and(|coordinator| coordinator.sole_holder().is_none());
        let logs = Logs::new(Arc::clone(&storage), shared);
        let sessions = Sessions::default();
        let process = Process::new(ids.process(), process_name, coordinator.is_none());
        let counters = Counters::default();
        RunService {
            core: Arc::new(Core {
                data,
                storage,
                scheduler,
                clock,
                ids,
                logs,
                sessions,
                coordinator,
                process,
                settings,
                counters,
                sealer,
                turns: Turns::default(),
                peers,
            }),
        }
    }
}

impl RunService {
    /// Begins to put a service together from its data manager and the storage of logs, archives and caches.
    pub fn builder(data: impl DataManager, storage: impl ObjectStorage) -> RunServiceBuilder {
        RunServiceBuilder {
            data: Arc::new(data),
            storage: Arc::new(storage),
            scheduler: Arc::new(DefaultScheduler::default()),
            clock: Arc::new(SystemClock),
            ids: Arc::new(IdSource::from_system()),
            coordinator: None,
            process_name: None,
            settings: Settings::default(),
            sealer: None,
            peers: None,
        }
    }

    /// What every part of the service works with.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The service as executors of the same process see it.
    pub fn client(&self) -> Arc<dyn RunServiceClient> {
        Arc::new(LocalClient(Arc::clone(&self.core)))
    }

    /// Places tasks on executors, and tells executors what to do, until `shutdown`.
    ///
    /// With a [coordinator](RunServiceBuilder::coordinator), one process at a time places tasks, for the executors of all
    /// of them.
    ///
    /// # Errors
    /// Those of the data manager that a new attempt would meet again, such as that another process has taken the store
    /// over.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<()> {
        Box::pin(workers::run(Arc::clone(&self.core), shutdown)).await
    }

    /// Creates a run, and starts it if nothing of its group is in the way. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::BadRequest`](crate::Error::BadRequest) if the tasks do not make a graph. A definition that cannot be
    /// run for the user's fault is no error: give it [`RunConfig::setup_errors`].
    pub async fn create(&self, new: NewRun) -> Result<Run> {
        self.core.create(new).await
    }

    /// Asks a running run to stop; what executes is stopped, what has not started is skipped.
    pub async fn stop(&self, run: &RunId) -> Result<Run> {
        self.core.apply(run, Event::Stop).await
    }

    /// Cancels a run that is still queued.
    pub async fn cancel(&self, run: &RunId) -> Result<Run> {
        self.core.apply(run, Event::Cancel).await
    }

    /// Repeats a finished or cancelled run: a new run of the same group, with a new number, name, annotations and definition
    /// as they were.
    ///
    /// From failed tasks, the tasks that succeeded after nothing but successes are shared by both runs, with their logs and
    /// workspace archives; approvals are asked for again for the others.
    ///
    /// # Errors
    /// [`Error::BadRequest`](crate::Error::BadRequest) that says what is in the way, such as that nothing failed, or that
    /// archives of shared tasks have expired.
    pub async fn restart(&self, run: &RunId, from: RestartPoint) -> Result<Run> {
        self.core.restart(run, from).await
    }

    /// Deletes a final run and all that belongs to it alone; what it shares with a restart stays with that.
    ///
    /// When it returns, the run is gone; its objects follow. Its idempotency key is free again.
    ///
    /// # Errors
    /// [`Error::BadRequest`](crate::Error::BadRequest) if it is not final, or pinned.
    pub async fn delete(&self, run: &RunId) -> Result<()> {
        self.core.delete(run).await
    }

    /// Keeps a run with all that belongs to it, however old it becomes, or does not any more.
    pub async fn set_pinned(&self, run: &RunId, pinned: bool) -> Result<Run> {
        self.core.set_pinned(run, pinned).await
    }

    /// Approves a task: as a user, whom the scheduler's policy counts, or outright.
    pub async fn approve(&self, run: &RunId, task: &TaskName, approver: Option<&str>) -> Result<Run> {
        let approver = approver.map(str::to_owned);
        self.core.apply(run, Event::Approve { task: task.clone(), approver }).await
    }

    /// Changes the annotations of a task: sets the keys with a value, removes those without.
    pub async fn annotate(
        &self,
        run: &RunId,
        task: &TaskName,
        patch: std::collections::BTreeMap<String, Option<String>>,
    ) -> Result<Run> {
        self.core.apply(run, Event::SetAnnotations { task: task.clone(), patch }).await
    }

    /// The definition of a run.
    pub async fn run_config(&self, run: &RunId) -> Result<RunConfig> {
        self.core.run_config(run).await
    }

    /// A run with its tasks, and why those wait that wait.
    pub async fn get(&self, run: &RunId) -> Result<RunDetail> {
        self.core.get(run).await
    }

    /// The run with a number in a root group.
    pub async fn find(&self, root: &GroupPath, number: u64) -> Result<Run> {
        self.core.find(root, number).await
    }

    /// Runs, the newest first.
    pub async fn list(&self, filter: &RunFilter) -> Result<RunPage> {
        self.core.list(filter).await
    }

    /// Streams a log from an offset on; with [`LogRequest::follow`], until the log ends.
    ///
    /// A step that will never run has an empty log.
    ///
    /// A log that is written through another process is followed through that one, if it is known how
    /// ([`RunServiceBuilder::peers`]); otherwise what it wrote comes at the end of the step.
    pub async fn log(&self, request: &LogRequest) -> Result<BoxStream<'static, Result<bytes::Bytes>>> {
        match &self.core.peers {
            Some(peers) if request.follow => {
                follow::follow(Arc::clone(&self.core), Arc::clone(peers), request.clone()).await
            }
            _ => self.core.log_here(request).await,
        }
    }

    /// Like [`log`](Self::log), without asking other processes: what one of those is to be answered.
    pub async fn log_here(&self, request: &LogRequest) -> Result<BoxStream<'static, Result<bytes::Bytes>>> {
        self.core.log_here(request).await
    }

    /// Reads at most `limit` lines of a log, of which any part costs the reading of one or two objects of about 1 MiB.
    ///
    /// A log that is being written is shown as it is at the moment; from [`LogPage::bytes_total`] on it can be followed.
    pub async fn log_page(&self, log: &LogRef, place: LogPlace, limit: usize) -> Result<LogPage> {
        self.core.log_page(log, place, limit).await
    }

    /// Streams every event after a sequence, then what happens, as it happens.
    ///
    /// # Errors
    /// [`Error::EventsExpired`](crate::Error::EventsExpired) if events after it are not kept any more: read what there is
    /// ([`list`](Self::list)), and go on from the sequence of the error.
    pub fn events(&self, after: EventSequence) -> BoxStream<'static, Result<SequencedEvent>> {
        self.core.events(after)
    }

    /// Every executor that has registered and was not removed or forgotten.
    pub async fn executors(&self) -> Result<Vec<ExecutorDetail>> {
        self.core.executors().await
    }

    /// One executor.
    pub async fn executor(&self, id: &ExecutorId) -> Result<ExecutorDetail> {
        self.core.executor(id).await
    }

    /// Asks an executor to take no more tasks, and to end when those that it has have ended. It gets no more from now on,
    /// whether it is connected or not, until it is started anew.
    pub async fn drain_executor(&self, id: &ExecutorId) -> Result<()> {
        self.core.drain_executor(id).await
    }

    /// Removes an executor that will not come back. One that does comes back as a new one.
    ///
    /// # Errors
    /// [`Error::BadRequest`](crate::Error::BadRequest) while it is connected, or has accepted tasks: something of them may be
    /// executing.
    pub async fn remove_executor(&self, id: &ExecutorId) -> Result<()> {
        self.core.remove_executor(id).await
    }

    /// What this process has done since the service was built.
    pub fn metrics(&self) -> Metrics {
        self.core.counters.read()
    }

    /// The sequence of the last thing that happened: events after it are news.
    pub fn now(&self) -> EventSequence {
        EventSequence::at(self.core.data.snapshot().position())
    }
}

impl Core {
    /// Makes one event happen to a run, with everything that follows from it.
    pub(crate) async fn apply(&self, run: &RunId, event: Event) -> Result<Run> {
        let span = run.span(event.doing());
        async move {
            let _turn = self.turns.take(run).await;
            let step = |tx| {
                let event = &event;
                async move { Ok::<_, crate::Error>(store::Work::new(self, tx).step(run, event).await?.run.clone()) }
            };
            Ok(self.data.transact(step).await?.0)
        }
        .instrument(span)
        .await
    }

    pub(crate) async fn run_config(&self, run: &RunId) -> Result<RunConfig> {
        let at = self.data.snapshot();
        let config = self.data.read(&at, &crate::layout::CONFIGS, run.as_str()).await?;
        config.ok_or_else(|| crate::Error::no_run(run))
    }
}
