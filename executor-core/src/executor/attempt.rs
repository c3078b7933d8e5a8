//! How is one attempt of a task executed, from its assignment to its last report?
//!
//! ```text
//! journal ─ accept ─ setup ─ step 1 ─ … ─ step n ─ all ended? ─ final report ─ remove the pod ─ forget
//!                      └ reports and the setup's log go on beside the steps ┘
//! ```
//!
//! What comes next is decided by [`Progress`] and [`resume`]; this file does it.

use std::{io, sync::Arc, time::Duration};

use futures::future::{self, BoxFuture, FutureExt as _};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    environment,
    journal::{Entry, Stage},
    progress::{Next, Outcome},
    pump::{PumpError, Source, pump},
    reporter::{Board, send_reports},
    resume::{Resume, resume},
    signals::{Signals, StopReason},
    task_log::TaskLog,
};
use crate::{
    contract::{AttemptState, ClientError, Failure, FailureClass, HeldTask, StepRef},
    driver::Pod,
};

const POD_GONE: &str = "the executor was restarted and the pod of the task is gone";

/// One attempt in the hands of this executor.
pub(super) struct Attempt {
    pub(super) context: Arc<Context>,
    pub(super) entry: Entry,
    pub(super) held: HeldTask,
    pub(super) signals: Signals,
    /// When the task as a whole has to be over.
    pub(super) deadline: Option<Instant>,
}

/// Nobody expects anything of the attempt any more.
#[derive(Debug)]
pub(super) struct Abandoned(pub(super) String);

/// How the work on an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its end is acknowledged.
    Reported,
    /// It was abandoned.
    GivenUp,
}

impl From<ClientError> for Abandoned {
    fn from(error: ClientError) -> Self {
        Self(error.to_string())
    }
}

impl Attempt {
    pub(super) fn new(context: Arc<Context>, entry: Entry, signals: Signals) -> Self {
        let started = entry.pod_started.as_ref();
        let deadline = started.and_then(|started| {
            let passed = started.elapsed(&context.boot).unwrap_or_default();
            Some(Instant::now() + entry.task_limit()?.saturating_sub(passed))
        });
        Self { held: entry.held(), context, entry, signals, deadline }
    }

    /// Executes an attempt that was just assigned. Whether that came to its end.
    pub(super) async fn begin(mut self) -> Ended {
        let journaled = self.journal();
        let forget = self.signals.forget.clone();
        let ended = unless_forgotten(forget, self.accept_and_execute(journaled)).await;
        self.clean(ended).await
    }

    /// Goes on with an attempt that an earlier process has journaled.
    pub(super) async fn resume(mut self, pod: Option<Arc<dyn Pod>>) -> Ended {
        self.entry.generation += 1;
        let same_boot = self.entry.boot == self.context.boot;
        let how = resume(&self.entry, same_boot, pod.is_some());
        tracing::info!(task = %self.held.task, ?how, "resuming a task");
        let forget = self.signals.forget.clone();
        let journaled = self.journal();
        let work = match how {
            Resume::Begin => self.accept_and_execute(journaled),
            Resume::SetUpAgain => self.execute(None, true, same_boot),
            Resume::Continue | Resume::Report => self.execute(pod, true, same_boot),
            Resume::Lost => {
                self.entry.progress.end = Some(failed(FailureClass::Lost, POD_GONE));
                self.execute(pod, true, same_boot)
            }
        };
        let ended = unless_forgotten(forget, work).await;
        self.clean(ended).await
    }

    pub(super) fn journal(&self) -> io::Result<()> {
        self.context.journal.write(&self.entry)
    }

    /// The journal reaches the disk while the acceptance is on its way; both have, before anything is started.
    fn accept_and_execute(&mut self, journaled: io::Result<()>) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move {
            let context = self.context.clone();
            let client = &*context.client;
            let accept = context.call(&self.held, |fence| async move { client.accept(&fence).await });
            let sync = async {
                journaled?;
                context.journal.sync(&self.held).await
            };
            let (synced, accepted) = future::join(sync, accept).await;
            accepted?;
            if let Err(error) = synced {
                self.entry.progress.end = Some(journal_failure(&error));
            }
            self.entry.stage = Stage::Started;
            let resumed = self.entry.generation > 0;
            self.execute(None, resumed, true).await
        }
        .boxed()
    }

    /// Does what is left to do, up to the acknowledged final report.
    fn execute(
        &mut self,
        pod: Option<Arc<dyn Pod>>,
        resumed: bool,
        same_boot: bool,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move {
            let context = self.context.clone();
            let held = self.held.clone();
            let board = Board::new(&self.entry.progress);
            let generation = self.entry.generation;
            let work = async {
                let log = match TaskLog::open(&context.logs(&held), "setup", environment::masker(&self.entry.task)) {
                    Ok(log) => log,
                    Err(error) => {
                        self.entry.progress.end.get_or_insert(journal_failure(&error));
                        return self.finish(pod, &board).await;
                    }
                };
                let setup_log = self.entry.progress.setup.log.is_none();
                let pump_setup_log = pump_setup_log(&context, &held, &log, &board, resumed, setup_log);
                let steps = async {
                    let pod = self.stages(pod, &log, &board, resumed, same_boot).await;
                    log.close();
                    pod
                };
                let (pod, pumped) = future::join(steps, pump_setup_log).await;
                pumped?;
                self.finish(pod?, &board).await
            };
            let reports = async { send_reports(&context, &held, generation, &board).await.map_err(Abandoned::from) };
            future::try_join(work, reports).await.map(|_| ())
        }
        .boxed()
    }

    /// Makes sure that nothing of the pod executes, and reports the end.
    async fn finish(&mut self, pod: Option<Arc<dyn Pod>>, board: &Board) -> Result<(), Abandoned> {
        let Next::End(state) = self.entry.progress.next() else { unreachable!("steps run until the attempt ends") };
        if let Err(error) = self.journal() {
            tracing::warn!(task = %self.held.task, %error, "cannot journal the end of a task");
        }
        if let Some(pod) = pod {
            self.insist("stopping", || pod.stop(Duration::ZERO)).await;
        } else {
            self.remove_pods().await;
        }
        board.finish(state);
        Ok(())
    }

    /// Removes whatever is left of the attempt.
    async fn clean(self, ended: Result<(), Abandoned>) -> Ended {
        let how = if ended.is_ok() { Ended::Reported } else { Ended::GivenUp };
        if let Err(Abandoned(reason)) = ended {
            tracing::warn!(task = %self.held.task, attempt = self.held.attempt, reason, "gave a task up");
        }
        self.remove_pods().await;
        let logs = self.context.logs(&self.held);
        if let Err(error) = std::fs::remove_dir_all(&logs)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %logs.display(), %error, "cannot remove the logs of a task");
        }
        if let Err(error) = self.context.journal.remove(&self.held) {
            tracing::error!(task = %self.held.task, %error, "cannot remove the journal of a task");
        }
        how
    }

    /// Removes the pod, also one that was only half made.
    pub(super) async fn remove_pods(&self) {
        let Context { driver, home, .. } = &*self.context;
        let remove = || {
            async {
                for pod in driver.pods(&home.id).await? {
                    if *pod.id() == self.entry.pod {
                        pod.remove().await?;
                    }
                }
                Ok(())
            }
            .boxed()
        };
        self.insist("removing", remove).await;
    }

    /// A pod must end: nothing can be reported, and no slot is free, while something of it may run.
    async fn insist<'a>(&'a self, doing: &str, work: impl Fn() -> BoxFuture<'a, crate::driver::Result<()>>) {
        let mut backoff = self.context.backoff();
        while let Err(error) = work().await {
            let error = error.user_message();
            tracing::error!(pod = %self.entry.pod, error, "{doing} a pod failed; trying again");
            backoff.wait(&self.context.random).await;
        }
    }
}

async fn unless_forgotten(
    forget: CancellationToken,
    work: BoxFuture<'_, Result<(), Abandoned>>,
) -> Result<(), Abandoned> {
    tokio::select! {
        biased;
        () = forget.cancelled() => Err(Abandoned("the run service has forgotten it".into())),
        ended = work => ended,
    }
}

async fn pump_setup_log(
    context: &Context,
    held: &HeldTask,
    log: &TaskLog,
    board: &Board,
    resumed: bool,
    wanted: bool,
) -> Result<(), Abandoned> {
    if !wanted {
        return Ok(());
    }
    match pump(context, held, StepRef::Setup, Source::Log(log), resumed).await {
        Ok(pumped) => board.seal_setup_log(pumped.log),
        Err(PumpError::Client(error @ (ClientError::Fenced { .. } | ClientError::Replaced { .. }))) => {
            return Err(error.into());
        }
        Err(error) => tracing::error!(task = %held.task, %error, "the log of a setup is incomplete"),
    }
    Ok(())
}

pub(super) fn stopped(reason: StopReason) -> AttemptState {
    match reason {
        StopReason::Requested => AttemptState::Stopped,
        StopReason::Silence => AttemptState::Failed(silence()),
    }
}

pub(super) fn silence() -> Failure {
    let message = "the executor could not reach the run service for so long that it gave the task up".to_owned();
    Failure { class: FailureClass::Lost, message }
}

pub(super) fn failed(class: FailureClass, message: impl Into<String>) -> AttemptState {
    AttemptState::Failed(Failure { class, message: message.into() })
}

/// Ends an attempt whose work panicked: nothing of it goes on, and its user is told.
pub(super) async fn end_after_panic(context: Arc<Context>, held: &HeldTask, signals: Signals) -> Ended {
    let entries = context.journal.entries().unwrap_or_default();
    // Without an entry it was never accepted, and nothing was started.
    let Some(mut entry) = entries.into_iter().find(|entry| entry.held() == *held) else { return Ended::GivenUp };
    let message = "the executor met an error of its own while it worked on the task; its log has the details";
    entry.progress.end.get_or_insert(failed(FailureClass::Infrastructure, message));
    Attempt::new(context, entry, signals).resume(None).await
}

pub(super) fn journal_failure(error: &io::Error) -> AttemptState {
    failed(FailureClass::Infrastructure, format!("the executor cannot write its journal: {error}"))
}

/// The outcome of a step that the executor itself could not do.
pub(super) fn broken(class: FailureClass, message: impl Into<String>) -> Outcome {
    Outcome::Failed(Failure { class, message: message.into() })
}
