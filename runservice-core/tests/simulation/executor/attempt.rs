//! What does a simulated executor do with an attempt of a task?
//!
//! As the contract has it: it journals it, has its acceptance acknowledged, and only then begins; it passes on what the
//! steps print, from the exact offset, and reports the end when nothing executes any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use runyard_executor_core::contract::{
    AttemptState, ClientError, Failure, FailureClass, LogEnd, StepRef, StepStatus, TaskReport,
};
use tokio_util::sync::CancellationToken;

use super::{Executor, disk::Entry, mouth::Abandoned};
use crate::{
    output::Script,
    pods::Attempt as Id,
    promises::LogId,
    random::{Random, hash},
    variants::Variant,
};

/// What an attempt is told while it executes.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    pub(crate) stop: CancellationToken,
    pub(crate) forget: CancellationToken,
    /// Whether it is stopped because the run service was not heard of.
    pub(crate) is_silence: Arc<AtomicBool>,
}

/// An attempt in the hands of an executor.
pub(crate) struct Attempt {
    executor: Arc<Executor>,
    id: Id,
    entry: Entry,
    signals: Signals,
    sequence: u64,
}

impl Attempt {
    pub(crate) fn new(executor: &Arc<Executor>, entry: Entry, signals: Signals) -> Self {
        let sequence = u64::from(entry.generation) << 32;
        Self { executor: Arc::clone(executor), id: entry.attempt(), entry, signals, sequence }
    }

    /// Executes it, or goes on with it, until its end is acknowledged or nobody expects it any more; which of the two.
    pub(crate) async fn run(mut self) -> (Id, bool) {
        let forget = self.signals.forget.clone();
        let ended = tokio::select! {
            biased;
            () = forget.cancelled() => Err(Abandoned("it was forgotten".to_owned())),
            ended = self.execute() => ended,
        };
        let Executor { world, disk, id, .. } = &*self.executor;
        let is_reported = ended.is_ok();
        if let Err(Abandoned(why)) = ended {
            world.count("attempts that were given up");
            world.trace(|| format!("{id} gives {} attempt {} up: {why}", self.id.0, self.id.1));
        }
        world.pods.end(&self.id);
        disk.remove(&self.id);
        (self.id, is_reported)
    }

    fn save(&self) {
        self.executor.disk.write(&self.entry);
    }

    async fn execute(&mut self) -> Result<(), Abandoned> {
        let executor = Arc::clone(&self.executor);
        let world = &executor.world;
        self.save();
        if !self.entry.is_started {
            if world.is(Variant::ExecutorStartsEarly) {
                self.begin();
            }
            self.accept().await?;
            if executor.mouth.silent_since().elapsed() >= world.profile.lost_after {
                // It may have been given up meanwhile.
                self.signals.is_silence.store(true, Ordering::Relaxed);
                self.signals.stop.cancel();
            }
            if !self.signals.stop.is_cancelled() && !self.entry.is_started {
                self.begin();
            }
        }
        if self.entry.end.is_none() {
            self.steps().await?;
        }
        world.pods.end(&self.id);
        self.report(self.entry.end.clone().unwrap_or(AttemptState::Success)).await
    }

    async fn accept(&self) -> Result<(), Abandoned> {
        let accepted =
            self.executor.mouth.call(&self.id, |client, fence| async move { client.accept(&fence).await }).await;
        self.obey_fence(accepted.map_err(abandoned))
    }

    /// Whoever may not go on does not.
    fn obey_fence(&self, told: Result<(), Abandoned>) -> Result<(), Abandoned> {
        if told.is_err() && self.executor.world.is(Variant::ExecutorIgnoresFence) { Ok(()) } else { told }
    }

    fn begin(&mut self) {
        let Executor { world, id, limit, .. } = &*self.executor;
        world.count("attempts that began");
        world.trace(|| format!("{id} begins {} attempt {} ({})", self.id.0, self.id.1, self.entry.spec.name));
        world.check(world.pods.begin(&self.id, id, *limit));
        self.entry.is_started = true;
        self.save();
    }

    /// Does what is left of the steps.
    async fn steps(&mut self) -> Result<(), Abandoned> {
        for step in self.entry.step_refs() {
            if self.entry.step(step).status.is_final() {
                continue;
            }
            if self.entry.step(step).status == StepStatus::NotStarted {
                if self.signals.stop.is_cancelled() || !self.entry.is_started {
                    self.entry.end = Some(self.stopped());
                    break;
                }
                self.executor.world.pods.start_step(&self.id, step);
                self.entry.step(step).status = StepStatus::Running;
                self.save();
                self.report(AttemptState::Running).await?;
            }
            let end = self.step(step).await?;
            self.save();
            if let Some(end) = end {
                self.entry.end = Some(end);
                break;
            }
        }
        self.entry.end.get_or_insert(AttemptState::Success);
        self.save();
        Ok(())
    }

    fn stopped(&self) -> AttemptState {
        match self.signals.is_silence.load(Ordering::Relaxed) {
            true => lost("the run service was not heard of"),
            false => AttemptState::Stopped,
        }
    }

    /// Waits for the end of a step that was started; if that is the end of the attempt, how it ended.
    async fn step(&mut self, step: StepRef) -> Result<Option<AttemptState>, Abandoned> {
        let world = Arc::clone(&self.executor.world);
        let log = (self.id.0.clone(), self.id.1, step);
        let script = Script::of(world.profile.seed, &log, world.profile.failures, world.profile.pace);
        let (bytes, is_interrupted) = self.pump(&log, &script).await?;
        world.promises().ended.insert(log, bytes);
        let end = match &script.failure {
            _ if is_interrupted && self.signals.stop.is_cancelled() => Some(self.stopped()),
            _ if is_interrupted => Some(lost("its supervisor gave it up")),
            Some(failure) => Some(AttemptState::Failed(failure.clone())),
            None => None,
        };
        let report = self.entry.step(step);
        report.log = Some(LogEnd { bytes, sha256: None });
        report.status = match &end {
            None => StepStatus::Success,
            Some(AttemptState::Stopped) => StepStatus::Stopped,
            Some(_) => StepStatus::Failed,
        };
        report.exit_code = (!is_interrupted).then(|| i32::from(script.failure.is_some()));
        Ok(end)
    }

    /// Passes on what a step prints until it ends. Returns how much that was, and whether the step was interrupted.
    async fn pump(&mut self, log: &LogId, script: &Script) -> Result<(u64, bool), Abandoned> {
        let executor = Arc::clone(&self.executor);
        let world = &executor.world;
        let mut random = Random::new(world.profile.seed ^ u64::from(self.entry.generation), hash(&format!("{log:?}")));
        // What is left of this one's output is lost with its spool.
        let loses_spool = Random::new(world.profile.seed, hash(&format!("spool of {log:?}"))).chance(20);
        let mut stored = match self.entry.generation {
            0 => 0,
            _ => self.append(log, script, 0, Bytes::new()).await?,
        };
        loop {
            let (ran, is_interrupted) = world.pods.ran(&self.id, log.2).unwrap_or((Duration::ZERO, true));
            let printed = script.printed(ran.min(script.takes));
            let is_over = is_interrupted || ran >= script.takes;
            let left = (printed.len() as u64).saturating_sub(stored);
            if left > 0 && is_over && loses_spool {
                world.count("logs with a gap");
                return Ok((printed.len() as u64, is_interrupted && ran < script.takes));
            }
            if left > 0 {
                let mut end = stored + random.between(1..left + 1);
                if random.chance(700) {
                    end = stored + left;
                }
                // Some of it is sent once more.
                let start = stored - if random.chance(100) { random.below(stored + 1) } else { 0 };
                stored = self.append(log, script, start, printed.slice(start as usize..end as usize)).await?;
            } else if is_over {
                return Ok((printed.len() as u64, is_interrupted && ran < script.takes));
            } else {
                let next = script.next(ran).saturating_sub(ran).max(Duration::from_millis(1));
                tokio::select! {
                    biased;
                    () = self.signals.stop.cancelled() => world.pods.stop_step(&self.id, log.2),
                    () = tokio::time::sleep(next) => {}
                }
            }
        }
    }

    /// Sends a part of a log; returns how much is stored.
    async fn append(&self, log: &LogId, script: &Script, offset: u64, bytes: Bytes) -> Result<u64, Abandoned> {
        let Executor { world, mouth, .. } = &*self.executor;
        let end = offset + bytes.len() as u64;
        let promised_before = world.promises().stored.get(log).copied().unwrap_or_default();
        let appended = mouth
            .call(&self.id, |client, fence| {
                let bytes = bytes.clone();
                async move { client.append_log(&fence, log.2, offset, bytes).await }
            })
            .await;
        let stored = match appended {
            Ok(stored) if stored < end => {
                world.fail(format!("log {log:?} was sent up to {end}, and {stored} are acknowledged"));
                stored
            }
            Ok(stored) => stored,
            Err(ClientError::LogGap { stored, .. }) => stored,
            Err(error) => return Err(abandoned(error)),
        };
        let printed = script.whole().len() as u64;
        if stored > printed {
            world.fail(format!("log {log:?} has {printed} bytes, and {stored} are acknowledged"));
        }
        if stored < promised_before {
            world.fail(format!("of log {log:?}, {promised_before} bytes were acknowledged, and now it has {stored}"));
        }
        let mut promises = world.promises();
        let promised = promises.stored.entry(log.clone()).or_default();
        *promised = stored.max(*promised);
        Ok(stored)
    }

    async fn report(&mut self, state: AttemptState) -> Result<(), Abandoned> {
        self.sequence += 1;
        let this = &*self;
        let report = |fence| TaskReport {
            fence,
            sequence: this.sequence,
            state: state.clone(),
            setup: this.entry.setup.clone(),
            steps: this.entry.steps.clone(),
        };
        let reported = this
            .executor
            .mouth
            .call(&this.id, |client, fence| {
                let report = report(fence);
                async move { client.report(report).await }
            })
            .await;
        this.obey_fence(reported.map_err(abandoned))
    }
}

fn abandoned(error: ClientError) -> Abandoned {
    Abandoned(error.to_string())
}

fn lost(why: &str) -> AttemptState {
    AttemptState::Failed(Failure { class: FailureClass::Lost, message: why.to_owned() })
}
