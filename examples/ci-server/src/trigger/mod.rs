//! How does a push become runs? A worker takes each trigger, reads the definition at its commit, and creates them.
//!
//! Every creation has a key of its own, and the trigger is removed after the last: a crash in between repeats the
//! trigger, and the runs that exist already are found by their keys. Triggers of one project go one after another;
//! a project that cannot be read does not hold up the others. Of several servers, one handles triggers at a time.

mod plan;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use runyard_datamanager::coordinator::Coordinator;
use runyard_runservice_core::{NewRun, RunService};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    configdata::{self, ConfigData, ProjectId, Trigger, TriggerKey},
    git::{self, GitService},
};

pub(crate) use plan::{CloneAccess, root_group};

/// How many commits are read at a time.
const READS_MAX: usize = 4;

/// How long a trigger that failed waits before it is tried again: at first, and at most.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Makes runs out of pushes.
#[derive(Debug)]
pub(crate) struct TriggerWorker {
    config: ConfigData,
    coordinator: Arc<dyn Coordinator>,
    git: Arc<GitService>,
    runs: RunService,
    clone: CloneAccess,
    reads: Semaphore,
}

/// Why a trigger could not be handled, for now.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] configdata::Error),
    #[error(transparent)]
    Git(#[from] git::Error),
    #[error("a run could not be created")]
    Runs(#[from] runyard_runservice_core::Error),
}

/// What the process leads that handles triggers.
const ROLE: &str = "triggers";

type Queue = VecDeque<(TriggerKey, Trigger)>;

impl TriggerWorker {
    pub(crate) fn new(
        config: ConfigData,
        coordinator: Arc<dyn Coordinator>,
        git: Arc<GitService>,
        runs: RunService,
        clone: CloneAccess,
    ) -> Self {
        Self { config, coordinator, git, runs, clone, reads: Semaphore::new(READS_MAX) }
    }

    /// Handles what is there and what comes, until `end`, whenever it is this process's turn.
    ///
    /// That it is no other one's turn is a hint: two that handle the same trigger make the same runs.
    ///
    /// # Errors
    /// If the configuration data can be followed no longer.
    pub(crate) async fn run(&self, end: CancellationToken) -> configdata::Result<()> {
        loop {
            let turn = tokio::select! {
                () = end.cancelled() => return Ok(()),
                turn = self.coordinator.campaign(ROLE) => turn?,
            };
            tracing::info!("this process makes runs out of pushes now");
            tokio::select! {
                handled = self.handle_all(&end) => return handled,
                reason = turn.lost() => tracing::warn!(%reason, "this process makes no more runs out of pushes"),
            }
        }
    }

    async fn handle_all(&self, end: &CancellationToken) -> configdata::Result<()> {
        let mut triggers = self.config.follow_triggers().await?;
        let mut queues: BTreeMap<ProjectId, Queue> = BTreeMap::new();
        let mut working = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = end.cancelled() => return Ok(()),
                next = triggers.next() => {
                    let Some(next) = next else { return Ok(()) };
                    let (key, trigger) = next?;
                    let project = trigger.project.clone();
                    match queues.get_mut(&project) {
                        Some(queue) => queue.push_back((key, trigger)),
                        None => {
                            queues.insert(project, Queue::new());
                            working.push(self.handle_until_done(key, trigger));
                        }
                    }
                }
                Some(project) = working.next() => {
                    match queues.get_mut(&project).and_then(Queue::pop_front) {
                        Some((key, trigger)) => working.push(self.handle_until_done(key, trigger)),
                        None => drop(queues.remove(&project)),
                    }
                }
            }
        }
    }

    async fn handle_until_done(&self, key: TriggerKey, trigger: Trigger) -> ProjectId {
        let [mut wait, wait_max] = RETRY_AFTER;
        while let Err(error) = self.handle(&key, &trigger).await {
            let (project, name) = (&trigger.project, &trigger.name);
            tracing::error!(%project, %name, error = &error as &dyn std::error::Error, "a push cannot become runs yet");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(wait_max);
        }
        trigger.project
    }

    async fn handle(&self, key: &TriggerKey, trigger: &Trigger) -> Result<(), Error> {
        let _permit = self.reads.acquire().await.expect("the semaphore is never closed");
        let project = match self.config.find_project(trigger.project.as_str()).await {
            // It was deleted meanwhile.
            Err(configdata::Error::ProjectNotFound { .. }) => return Ok(self.config.remove_trigger(key).await?),
            other => other?,
        };
        let paths = runyard_runconfig::CANDIDATES.map(|candidate| candidate.path);
        let commit = match self.git.read_commit(&project.id, &trigger.new, &paths).await {
            Ok(commit) => Ok(commit),
            Err(error @ git::Error::NotACommit { .. }) => Err(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        let plan = plan::plan(&project, trigger, commit.as_ref().map_err(String::as_str), &self.clone).await;
        let mut siblings = BTreeSet::new();
        for (index, config) in plan.runs.into_iter().enumerate() {
            let instead = plan.shell.clone();
            let idempotency_key = Some(format!("{key}/{index}"));
            let new = NewRun { config, idempotency_key: idempotency_key.clone(), siblings: siblings.clone() };
            let created = match self.runs.create(new).await {
                // What the definition asks for is not possible: the user reads that at a run.
                Err(runyard_runservice_core::Error::BadRequest { message }) => {
                    let config = instead.with_error(message);
                    self.runs.create(NewRun { config, idempotency_key, siblings: siblings.clone() }).await?
                }
                other => other?,
            };
            tracing::info!(project = %project.name, run = created.number, name = created.name, "created a run");
            siblings.insert(created.id);
        }
        Ok(self.config.remove_trigger(key).await?)
    }
}

#[cfg(test)]
mod tests {
    use runyard_datamanager::{MemoryDataManager, coordinator::EmbeddedCoordinator};
    use runyard_objectstorage::MemoryStorage;
    use runyard_runservice_core::{EventSequence, RunFilter, model::RunPhase};

    use super::*;
    use crate::{
        server::auth::AdminToken,
        testing::{Home, create_project},
    };

    const TWO_RUNS: &str = "runs: [{name: a, tasks: []}, {name: b, tasks: []}]";

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trigger_that_is_handled_again_makes_no_second_run() {
        let home = Home::new();
        let server = home.start().await;
        let project = create_project(&server.config, "app").await;
        let work = home.work("work").await;
        work.commit(".runyard/config.yml", TWO_RUNS).await;
        work.git(&["push", "-q", &server.git_url("app"), "main"]).await;
        work.git(&["rm", "-q", "-r", ".runyard"]).await;
        work.commit("a", "1").await;
        work.git(&["push", "-q", &server.git_url("app"), "main"]).await;
        server.stop().await;

        let (config, git) = home.git_service().await;
        let runs = RunService::builder(MemoryDataManager::new(), MemoryStorage::new()).build();
        let (token, _) = AdminToken::load_or_create(&home.path("admin-token")).expect("a token");
        let clone = CloneAccess { server: "http://127.0.0.1:8080".to_owned(), token };
        let coordinator = Arc::new(EmbeddedCoordinator::new());
        let worker = TriggerWorker::new(config.clone(), coordinator.clone(), Arc::new(git), runs.clone(), clone);
        let of_project = RunFilter { root: Some(root_group(&project)), ..RunFilter::default() };
        let triggers = config.triggers().await.expect("rows");
        assert_eq!(triggers.len(), 2);
        // As if the process had ended each time before it removed the trigger.
        for _ in 0..2 {
            worker.handle(&triggers[0].0, &triggers[0].1).await.expect("handled");
        }
        // What is left of it when it starts again: the second trigger.
        let left = config.triggers().await.expect("rows");
        assert_eq!(left, triggers[1..]);
        let end = CancellationToken::new();
        let mut changes = runs.events(EventSequence::ZERO);
        let end_when_done = async {
            while runs.list(&of_project).await.expect("a list").runs.len() < 3 {
                changes.next().await.expect("no end").expect("an event");
            }
            end.cancel();
        };
        let (done, ()) = tokio::join!(worker.run(end.clone()), end_when_done);
        done.expect("ended");
        let page = runs.list(&of_project).await.expect("a list").runs;
        let found: Vec<_> = page.iter().rev().map(|run| (run.number, run.name.as_str())).collect();
        assert_eq!(found, [(1, "a"), (2, "b"), (3, "setup")]);
        assert_eq!(page[0].phase, RunPhase::SetupError);
        assert!(page[0].setup_errors[0].contains(".runyard/config.yml"));
    }
}
