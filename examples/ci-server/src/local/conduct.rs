//! How are runs created, followed to their ends, and stopped?
//!
//! Every step is woken by an event of the run service; nothing looks by the clock.

use std::collections::{BTreeMap, BTreeSet};

use futures::{FutureExt, TryStreamExt, stream::BoxStream};
use runyard_executor_core::contract::{RunId, TaskName};
use runyard_runservice_core::{
    Error, ErrorKind, NewRun, Result, RunDetail, RunFilter, RunService, SequencedEvent,
    engine::{Change, RunEvent},
    model::RunConfig,
    scheduler::WaitingReason,
};
use tokio::{
    sync::mpsc::{Sender, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    message::{LogStyle, Message, Tone},
    narrate::Narrator,
    progress::RunProgress,
};

/// Names of the variables that hold the number of a run.
const NUMBER_VARIABLES: [&str; 2] = ["AGOLA_RUN_COUNTER", "RUNYARD_RUN_COUNTER"];

/// Sees some runs to their ends.
#[derive(Debug)]
pub(super) struct Conductor {
    pub(super) service: RunService,
    pub(super) out: Sender<Message>,
    pub(super) style: LogStyle,
    /// Whether tasks that wait for approval are approved.
    pub(super) approve: bool,
}

/// The runs that are followed.
#[derive(Debug, Default)]
struct Followed {
    runs: BTreeMap<RunId, RunProgress>,
    narrators: BTreeMap<(RunId, TaskName), UnboundedSender<(Instant, Change)>>,
    /// What was said to wait already.
    said: BTreeSet<(RunId, TaskName)>,
    work: JoinSet<()>,
}

impl Conductor {
    /// Stops what an earlier program left in the same store, which its end interrupted.
    pub(super) async fn stop_unfinished(&self) -> Result<()> {
        let mut filter = RunFilter { limit: 100, ..RunFilter::default() };
        loop {
            let page = self.service.list(&filter).await?;
            for run in page.runs.iter().filter(|run| !run.phase.is_final()) {
                end(&self.service, &run.id).await?;
                let text = format!("run #{} of this store had been interrupted and is stopped", run.number);
                self.note(text, Tone::Warning).await;
            }
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Creates the runs, which go one after another, and returns how they ended. `stop` stops them.
    pub(super) async fn conduct(&self, configs: Vec<RunConfig>, stop: &CancellationToken) -> Result<Vec<RunDetail>> {
        let mut followed = Followed::default();
        let mut events = self.service.events(self.service.now());
        let mut ids = Vec::new();
        for mut config in configs {
            config.number_variables = NUMBER_VARIABLES.map(str::to_owned).to_vec();
            let siblings = ids.iter().cloned().collect();
            let new = NewRun { config: config.clone(), idempotency_key: None, siblings };
            let run = self.service.create(new).await?;
            ids.push(run.id.clone());
            let progress = RunProgress::new(&run, config);
            self.say(Message::Created(Box::new(progress.clone()))).await;
            self.begin(&mut followed, progress);
        }
        let stopping = async {
            stop.cancelled().await;
            let text = "stopping the tasks; once more ends them at once".to_owned();
            // Not to wait for a terminal that is stopped.
            let _ = self.out.try_send(Message::Note { text, tone: Tone::Warning });
            // The last ones first, so that none starts in the place of one that was stopped.
            for id in ids.iter().rev() {
                end(&self.service, id).await?;
            }
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            followed = self.follow(&mut followed, &mut events) => followed?,
            failed = stopping => failed?,
        }
        // What was heard is told to its end.
        followed.narrators.clear();
        while followed.work.join_next().await.is_some() {}
        let mut ended = Vec::new();
        for id in &ids {
            ended.push(self.service.get(id).await?);
        }
        Ok(ended)
    }

    fn begin(&self, followed: &mut Followed, run: RunProgress) {
        for (task, config) in &run.config.tasks {
            let (changes, heard) = unbounded_channel();
            let narrator = Narrator {
                service: self.service.clone(),
                run: run.id.clone(),
                task: task.clone(),
                steps: config.steps.clone(),
                style: self.style,
                out: self.out.clone(),
            };
            followed.work.spawn(narrator.tell(heard));
            followed.narrators.insert((run.id.clone(), task.clone()), changes);
        }
        followed.runs.insert(run.id.clone(), run);
    }

    async fn follow(
        &self,
        followed: &mut Followed,
        events: &mut BoxStream<'static, Result<SequencedEvent>>,
    ) -> Result<()> {
        while followed.runs.values().any(|run| !run.phase.is_final()) {
            let Some(event) = events.try_next().await? else {
                return Err(Error::Internal { message: "the run service ended".to_owned(), source: None });
            };
            self.hear(followed, event.event).await?;
            while let Some(Some(event)) = events.try_next().now_or_never().transpose()? {
                self.hear(followed, event.event).await?;
            }
            self.look_for_waiting(followed).await?;
        }
        Ok(())
    }

    async fn hear(&self, followed: &mut Followed, event: RunEvent) -> Result<()> {
        let Some(run) = followed.runs.get_mut(&event.run) else { return Ok(()) };
        let now = Instant::now();
        run.apply(&event.change, now);
        if let Some(task) = task_of(&event.change)
            && let Some(narrator) = followed.narrators.get(&(event.run.clone(), task.clone()))
        {
            // A narrator ends after its queue does.
            let _ = narrator.send((now, event.change.clone()));
        }
        if let Change::TaskWaitingApproval { task, waiting: true, .. } = &event.change
            && self.approve
        {
            self.note(format!("approving `{task}`"), Tone::Normal).await;
            unless_too_late(self.service.approve(&event.run, task, None).await)?;
        }
        self.say(Message::Happened(Box::new(event))).await;
        Ok(())
    }

    /// Says what waits for what cannot come; stops a run that would wait for ever.
    async fn look_for_waiting(&self, followed: &mut Followed) -> Result<()> {
        for run in followed.runs.values() {
            let blocked = run.blocked();
            let is_approved =
                |reason: &WaitingReason| self.approve && matches!(reason, WaitingReason::WaitingForApproval { .. });
            if blocked.iter().any(|(_, reason)| is_approved(reason)) {
                continue;
            }
            for (task, reason) in blocked {
                if followed.said.insert((run.id.clone(), task.clone())) {
                    let reason = explained(&reason);
                    self.say(Message::Waits { run: run.id.clone(), task, reason }).await;
                }
            }
            if run.is_stuck() {
                let text = format!("run {} is stopped: nothing of it can go on", run.config.name);
                self.note(text, Tone::Warning).await;
                end(&self.service, &run.id).await?;
            }
        }
        Ok(())
    }

    async fn say(&self, message: Message) {
        // Nobody listens any more only when the program ends.
        let _ = self.out.send(message).await;
    }

    async fn note(&self, text: String, tone: Tone) {
        self.say(Message::Note { text, tone }).await;
    }
}

/// Ends a run, wherever it is.
async fn end(service: &RunService, run: &RunId) -> Result<()> {
    match service.cancel(run).await {
        Err(error) if error.kind() == ErrorKind::BadRequest => unless_too_late(service.stop(run).await),
        cancelled => cancelled.map(drop),
    }
}

/// An action that came too late changed nothing, and nothing had to be changed.
fn unless_too_late<T>(acted: Result<T>) -> Result<()> {
    match acted {
        Err(error) if error.kind() == ErrorKind::BadRequest => Ok(()),
        acted => acted.map(drop),
    }
}

fn explained(reason: &WaitingReason) -> String {
    match reason {
        WaitingReason::WaitingForApproval { .. } => "it needs an approval, which --approve gives".to_owned(),
        reason => format!("{reason}; `runyard run` runs tasks as processes of this machine"),
    }
}

fn task_of(change: &Change) -> Option<&TaskName> {
    match change {
        Change::TaskStatus { task, .. } | Change::TaskRetried { task, .. } | Change::StepChanged { task, .. } => {
            Some(task)
        }
        _ => None,
    }
}
