//! Which attempts does an executor hold, and which wait for a free slot?

use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures::FutureExt as _;
use tokio::{sync::watch, task::JoinSet};
use tracing::{Instrument as _, Span};

use super::{
    attempt::{self, Attempt},
    context::Context,
    journal::{Entry, Stage},
    progress::Progress,
    signals::{Signals, StopReason},
};
use crate::{
    contract::{Command, HeldTask, TaskId, TaskSpec},
    driver::{Pod, PodId},
};

type Key = (TaskId, u32);

/// What the work on an attempt is logged under.
fn task_span(task: &TaskSpec, doing: &'static str) -> Span {
    let of_run = task.run.span(doing);
    of_run.in_scope(|| tracing::info_span!("task", task = %task.id, name = %task.name, attempt = task.attempt))
}

/// The attempts of an executor; dropping it aborts the work on them, not the steps.
pub(super) struct Tasks {
    context: Arc<Context>,
    running: JoinSet<Key>,
    signals: HashMap<Key, Signals>,
    waiting: VecDeque<TaskSpec>,
    count: watch::Sender<usize>,
}

impl Tasks {
    pub(super) fn new(context: Arc<Context>, count: watch::Sender<usize>) -> Self {
        let (running, signals, waiting) = (JoinSet::new(), HashMap::new(), VecDeque::new());
        Self { context, running, signals, waiting, count }
    }

    /// What the executor says that it holds when it registers.
    pub(super) fn held(&self) -> Vec<HeldTask> {
        let mut held: Vec<_> =
            self.signals.keys().map(|(task, attempt)| HeldTask { task: task.clone(), attempt: *attempt }).collect();
        held.sort_by(|a, b| (&a.task, a.attempt).cmp(&(&b.task, b.attempt)));
        held
    }

    /// Whether it holds none, not even one that waits.
    pub(super) fn is_empty(&self) -> bool {
        self.signals.is_empty() && self.waiting.is_empty()
    }

    /// Goes on with an attempt of the journal.
    pub(super) fn resume(&mut self, entry: Entry, pod: Option<Arc<dyn Pod>>) {
        let signals = Signals::new();
        let span = task_span(&entry.task, "resuming a task");
        let attempt = Attempt::new(self.context.clone(), entry, signals.clone());
        self.spawn(attempt.held.clone(), signals, async move { attempt.resume(pod).await }.instrument(span));
    }

    /// Does what the run service says. `limit`: the most attempts at a time.
    pub(super) fn obey(&mut self, command: Command, limit: u32) {
        match command {
            Command::Assign { task } => self.assign(*task, limit),
            Command::Stop { task, attempt } => self.stop((task, attempt)),
            Command::Forget { task, attempt } => self.forget(&(task, attempt)),
            // A matter of the whole executor, not of its tasks.
            Command::Drain => {}
        }
    }

    fn assign(&mut self, task: TaskSpec, limit: u32) {
        let key = (task.id.clone(), task.attempt);
        let waits = self.waiting.iter().any(|waiting| waiting.id == task.id && waiting.attempt == task.attempt);
        if waits || self.signals.contains_key(&key) {
            // Told again after a reconnection.
            return;
        }
        if limit == 0 {
            tracing::warn!(task = %task.id, "not taking a task: the executor drains");
            return;
        }
        self.waiting.push_back(task);
        self.fill(limit);
    }

    /// Begins what waits, while there are free slots. A slot is free when the pod of its task is gone, which the run
    /// service cannot see: it may assign a little early.
    pub(super) fn fill(&mut self, limit: u32) {
        while self.signals.len() < limit as usize
            && let Some(task) = self.waiting.pop_front()
        {
            self.begin(task, Signals::new());
        }
    }

    /// Leaves what waits to other executors.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
    }

    fn begin(&mut self, task: TaskSpec, signals: Signals) {
        let pod = PodId::parse(self.context.random.id("pod")).expect("random ids have the alphabet of pod ids");
        let boot = self.context.boot.clone();
        let span = task_span(&task, "executing a task");
        let progress = Progress::new(&task);
        let entry = Entry { task, pod, generation: 0, stage: Stage::Assigned, boot, progress, pod_started: None };
        let attempt = Attempt::new(self.context.clone(), entry, signals.clone());
        self.spawn(attempt.held.clone(), signals, attempt.begin().instrument(span));
    }

    fn spawn(&mut self, held: HeldTask, signals: Signals, work: impl Future<Output = ()> + Send + 'static) {
        let key = (held.task.clone(), held.attempt);
        self.signals.insert(key.clone(), signals.clone());
        self.count.send_replace(self.signals.len());
        let context = self.context.clone();
        self.running.spawn(async move {
            // A panic in the work on one attempt must neither end the others nor leave its run waiting for ever.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!(task = %held.task, attempt = held.attempt, "the work on a task panicked");
                attempt::end_after_panic(context, &held, signals).await;
            }
            key
        });
    }

    fn stop(&mut self, key: Key) {
        if let Some(signals) = self.signals.get(&key) {
            signals.stop(StopReason::Requested);
        } else if let Some(at) = self.waiting.iter().position(|task| task.id == key.0 && task.attempt == key.1) {
            // It starts nothing, so it needs no slot: it is accepted and reported as stopped.
            let task = self.waiting.remove(at).expect("it was just found");
            let signals = Signals::new();
            signals.stop(StopReason::Requested);
            self.begin(task, signals);
        }
    }

    fn forget(&mut self, key: &Key) {
        self.waiting.retain(|task| task.id != key.0 || task.attempt != key.1);
        if let Some(signals) = self.signals.get(key) {
            signals.forget.cancel();
        }
    }

    /// Stops everything, because the run service may give it up.
    pub(super) fn give_up(&mut self) {
        for signals in self.signals.values() {
            signals.stop(StopReason::Silence);
        }
    }

    /// Ends the work on all attempts, and leaves their steps running.
    pub(super) async fn abandon(mut self) {
        self.running.shutdown().await;
    }

    /// Waits until an attempt is over; for ever if there is none.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) {
        match self.running.join_next().await {
            None => std::future::pending().await,
            Some(Ok(key)) => {
                self.signals.remove(&key);
            }
            Some(Err(error)) => {
                // A panic in the end of what panicked. Its journal stays, so that the next start of the executor finds
                // it; its slot stays taken, because its pod may run.
                tracing::error!(%error, "the work on a task ended unexpectedly");
            }
        }
        self.count.send_replace(self.signals.len());
    }
}
