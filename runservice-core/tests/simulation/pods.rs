//! What is really executing, and where?
//!
//! Pods live on machines, not in executors: they go on when their executor has crashed, until it comes back for them, or
//! until their supervisor has not been touched for too long.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use runyard_executor_core::contract::{ExecutorId, StepRef, TaskId};
use tokio::time::Instant;

/// An attempt of a task.
pub(crate) type Attempt = (TaskId, u32);

/// All pods that ever were.
pub(crate) struct Pods {
    lost_after: Duration,
    pods: Mutex<BTreeMap<Attempt, Pod>>,
}

struct Pod {
    executor: ExecutorId,
    /// When its executor was last seen by it.
    touched: Instant,
    ended: Option<Instant>,
    steps: BTreeMap<StepRef, Step>,
}

struct Step {
    began: Instant,
    stopped: Option<Instant>,
}

impl Pod {
    /// When its supervisor gave up, if it has.
    fn given_up(&self, lost_after: Duration, now: Instant) -> Option<Instant> {
        let until = self.touched + lost_after;
        (until <= now).then_some(until)
    }

    fn is_executing(&self, lost_after: Duration, now: Instant) -> bool {
        self.ended.is_none() && self.given_up(lost_after, now).is_none()
    }
}

impl Pods {
    pub(crate) fn new(lost_after: Duration) -> Self {
        Self { lost_after, pods: Mutex::default() }
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<Attempt, Pod>> {
        self.pods.lock().expect("not poisoned")
    }

    /// An attempt begins to execute.
    ///
    /// # Errors
    /// It was executed before, another attempt of the task is executing, or the executor has too many.
    pub(crate) fn begin(&self, attempt: &Attempt, executor: &ExecutorId, limit: u32) -> Result<(), String> {
        let (mut pods, now) = (self.pods(), Instant::now());
        check_once(&pods, attempt, executor)?;
        check_alone(&pods, attempt, executor, self.lost_after, now)?;
        check_limit(&pods, executor, limit, self.lost_after, now)?;
        let pod = Pod { executor: executor.clone(), touched: now, ended: None, steps: BTreeMap::new() };
        pods.insert(attempt.clone(), pod);
        Ok(())
    }

    /// Nothing of an attempt is executing any more.
    pub(crate) fn end(&self, attempt: &Attempt) {
        let now = Instant::now();
        if let Some(pod) = self.pods().get_mut(attempt) {
            let given_up = pod.given_up(self.lost_after, now).unwrap_or(now);
            pod.ended.get_or_insert(given_up);
        }
    }

    /// The machine of an executor is gone, with everything on it.
    pub(crate) fn end_all(&self, executor: &ExecutorId) {
        let all: Vec<_> =
            self.pods().iter().filter(|(_, pod)| pod.executor == *executor).map(|(id, _)| id.clone()).collect();
        all.iter().for_each(|attempt| self.end(attempt));
    }

    /// An executor that is there touches its pods.
    pub(crate) fn touch(&self, executor: &ExecutorId) {
        let now = Instant::now();
        for pod in self.pods().values_mut().filter(|pod| pod.executor == *executor && pod.ended.is_none()) {
            match pod.given_up(self.lost_after, now) {
                Some(at) => pod.ended = Some(at),
                None => pod.touched = now,
            }
        }
    }

    /// Starts a step, unless it was started before.
    pub(crate) fn start_step(&self, attempt: &Attempt, step: StepRef) {
        if let Some(pod) = self.pods().get_mut(attempt) {
            pod.steps.entry(step).or_insert(Step { began: Instant::now(), stopped: None });
        }
    }

    pub(crate) fn stop_step(&self, attempt: &Attempt, step: StepRef) {
        if let Some(step) = self.pods().get_mut(attempt).and_then(|pod| pod.steps.get_mut(&step)) {
            step.stopped.get_or_insert(Instant::now());
        }
    }

    /// For how long a step has run, and whether it was interrupted; nothing if it never began.
    pub(crate) fn ran(&self, attempt: &Attempt, step: StepRef) -> Option<(Duration, bool)> {
        let (pods, now) = (self.pods(), Instant::now());
        let pod = pods.get(attempt)?;
        let step = pod.steps.get(&step)?;
        let ends = [step.stopped, pod.ended, pod.given_up(self.lost_after, now).filter(|_| pod.ended.is_none())];
        let end = ends.into_iter().flatten().min();
        Some((end.unwrap_or(now).saturating_duration_since(step.began), end.is_some()))
    }
}

/// An attempt of a task is executed once, ever.
fn check_once(pods: &BTreeMap<Attempt, Pod>, attempt: &Attempt, executor: &ExecutorId) -> Result<(), String> {
    match pods.get(attempt) {
        Some(pod) => Err(format!(
            "attempt {} of task {} is executed twice: by {} and by {executor}",
            attempt.1, attempt.0, pod.executor
        )),
        None => Ok(()),
    }
}

/// Two attempts of a task never execute at once.
fn check_alone(
    pods: &BTreeMap<Attempt, Pod>,
    attempt: &Attempt,
    executor: &ExecutorId,
    lost_after: Duration,
    now: Instant,
) -> Result<(), String> {
    let others = pods.range((attempt.0.clone(), 0)..=(attempt.0.clone(), u32::MAX));
    for ((_, other), pod) in others {
        if pod.is_executing(lost_after, now) {
            return Err(format!(
                "attempts {other} and {} of task {} execute at once: on {} and on {executor}",
                attempt.1, attempt.0, pod.executor
            ));
        }
    }
    Ok(())
}

/// An executor executes no more tasks than its limit.
fn check_limit(
    pods: &BTreeMap<Attempt, Pod>,
    executor: &ExecutorId,
    limit: u32,
    lost_after: Duration,
    now: Instant,
) -> Result<(), String> {
    let executing = pods.values().filter(|pod| pod.executor == *executor && pod.is_executing(lost_after, now)).count();
    match executing < limit as usize {
        true => Ok(()),
        false => Err(format!("{executor} executes {executing} tasks of at most {limit}, and begins another one")),
    }
}
