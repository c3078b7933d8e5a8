//! Which attempts does an executor hold, and which wait to be begun?

use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures::FutureExt as _;
use tokio::{sync::watch, task::JoinSet};
use tracing::{Instrument as _, Span};

use super::{
    attempt::{self, Attempt, Ended},
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
    running: JoinSet<(Key, Ended)>,
    signals: HashMap<Key, Signals>,
    waiting: VecDeque<Waiting>,
    count: watch::Sender<usize>,
}

/// An attempt that was assigned and is not begun: no slot is free for it, or the work on it is being given up, because
/// it was taken back before it was assigned once more.
struct Waiting {
    task: TaskSpec,
    is_stopped: bool,
}

impl Waiting {
    fn key(&self) -> Key {
        (self.task.id.clone(), self.task.attempt)
    }
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
        let waiting = Waiting { task, is_stopped: false };
        let key = waiting.key();
        if self.waiting.iter().any(|known| known.key() == key) {
            // Told again after a reconnection.
            return;
        }
        if limit == 0 && !self.signals.contains_key(&key) {
            tracing::warn!(task = %key.0, "not taking a task: the executor drains");
            return;
        }
        // Also one that is worked on, which is told again, too: only if that is given up, it is begun anew.
        self.waiting.push_back(waiting);
        self.fill(limit);
    }

    /// Begins what waits, while there are free slots. A slot is free when the pod of its task is gone, which the run
    /// service cannot see: it may assign a little early.
    pub(super) fn fill(&mut self, limit: u32) {
        while self.signals.len() < limit as usize
            && let Some(at) = self.waiting.iter().position(|waiting| !self.signals.contains_key(&waiting.key()))
            && let Some(waiting) = self.waiting.remove(at)
        {
            self.begin(waiting);
        }
    }

    /// Leaves what waits to other executors.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
    }

    fn begin(&mut self, Waiting { task, is_stopped }: Waiting) {
        let signals = Signals::new();
        if is_stopped {
            signals.stop(StopReason::Requested);
        }
        let pod = PodId::parse(self.context.random.id("pod")).expect("random ids have the alphabet of pod ids");
        let boot = self.context.boot.clone();
        let span = task_span(&task, "executing a task");
        let progress = Progress::new(&task);
        let entry = Entry { task, pod, generation: 0, stage: Stage::Assigned, boot, progress, pod_started: None };
        let attempt = Attempt::new(self.context.clone(), entry, signals.clone());
        self.spawn(attempt.held.clone(), signals, attempt.begin().instrument(span));
    }

    fn spawn(&mut self, held: HeldTask, signals: Signals, work: impl Future<Output = Ended> + Send + 'static) {
        let key = (held.task.clone(), held.attempt);
        self.signals.insert(key.clone(), signals.clone());
        self.count.send_replace(self.signals.len());
        let context = self.context.clone();
        self.running.spawn(async move {
            // A panic in the work on one attempt must neither end the others nor leave its run waiting for ever.
            let ended = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(ended) => ended,
                Err(_) => {
                    tracing::error!(task = %held.task, attempt = held.attempt, "the work on a task panicked");
                    attempt::end_after_panic(context, &held, signals).await
                }
            };
            (key, ended)
        });
    }

    fn stop(&mut self, key: Key) {
        let at = self.waiting.iter().position(|waiting| waiting.key() == key);
        if let Some(at) = at {
            self.waiting[at].is_stopped = true;
        }
        if let Some(signals) = self.signals.get(&key) {
            signals.stop(StopReason::Requested);
        } else if let Some(waiting) = at.and_then(|at| self.waiting.remove(at)) {
            // It starts nothing, so it needs no slot: it is accepted and reported as stopped.
            self.begin(waiting);
        }
    }

    fn forget(&mut self, key: &Key) {
        self.waiting.retain(|waiting| waiting.key() != *key);
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
            Some(Ok((key, ended))) => {
                self.signals.remove(&key);
                if ended == Ended::Reported {
                    // Whatever was told of it again is done.
                    self.waiting.retain(|waiting| waiting.key() != key);
                }
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
