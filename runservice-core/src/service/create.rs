//! How does a run come to be? One transaction: its number, its rows, its place in the group, and its start.

use std::{collections::BTreeSet, sync::Arc};

use runyard_datamanager::{DataManagerExt, Direction, KeyRange};
use runyard_executor_core::contract::{NAME_BYTES_MAX, RunId, TaskId};
use tracing::Instrument as _;

use super::{Core, store::Work};
use crate::{
    Error, Result,
    engine::{self, Admission, Event, GroupMember, RunIdentity, Stepped},
    layout::{self, COUNTERS, IDEMPOTENCY, QUEUE, RUNNING, RUNS},
    model::{Run, RunConfig},
    sealer,
};

/// A run to be created.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// What is to be run.
    pub config: RunConfig,
    /// The caller's name for this creation: a second one with the same name returns the first one's run.
    pub idempotency_key: Option<String>,
    /// The runs that the same cause made before this one, such as one push: whatever the concurrency policy, they go
    /// one after another and do not cancel each other.
    pub siblings: BTreeSet<RunId>,
}

impl From<RunConfig> for NewRun {
    fn from(config: RunConfig) -> Self {
        Self { config, idempotency_key: None, siblings: BTreeSet::new() }
    }
}

impl Core {
    pub(super) async fn create(&self, mut new: NewRun) -> Result<Run> {
        check(&mut new.config)?;
        if let Some(sealer) = &self.sealer {
            sealer::seal(&**sealer, &mut new.config).await?;
        }
        let NewRun { config, idempotency_key, siblings } = new;
        let (config, id) = (Arc::new(config), self.ids.run());
        let tasks: Vec<_> = config.tasks.keys().map(|_| self.ids.task()).collect();
        let create = self.data.transact(|tx| {
            let (config, key, siblings, id, tasks) = (&config, idempotency_key.as_ref(), &siblings, &id, &tasks);
            async move { Work::new(self, tx).create(config, key, siblings, id, tasks).await }
        });
        let (created, _) = create.instrument(id.span("creating a run")).await?;
        // Not if it was created before, under the same idempotency key.
        if created.id == id {
            self.counters.runs_created.add(1);
        }
        Ok(created)
    }
}

impl Work<'_> {
    async fn create(
        &self,
        config: &Arc<RunConfig>,
        idempotency_key: Option<&String>,
        siblings: &BTreeSet<RunId>,
        id: &RunId,
        tasks: &[TaskId],
    ) -> Result<Run> {
        if let Some(key) = idempotency_key {
            if let Some(earlier) = self.tx.get(&IDEMPOTENCY, key).await? {
                return self.run(&earlier).await;
            }
            self.tx.put(&IDEMPOTENCY, key, id).await?;
        }
        let identity = self.identity(config, id).await?;
        let mut created = engine::create(config, identity, &mut handed_out(tasks));
        created.state.run.idempotency_key = idempotency_key.cloned();
        self.enter(config, siblings, created).await
    }

    /// The id of a new run, and the next number of its root group.
    pub(super) async fn identity(&self, config: &RunConfig, id: &RunId) -> Result<RunIdentity> {
        let root = config.group.root();
        let number = self.tx.get(&COUNTERS, &root).await?.unwrap_or(0) + 1;
        self.tx.put(&COUNTERS, &root, &number).await?;
        Ok(RunIdentity { id: id.clone(), number })
    }

    /// Writes a new run and gives it its place in the group, with what that means for the others.
    pub(super) async fn enter(
        &self,
        config: &Arc<RunConfig>,
        siblings: &BTreeSet<RunId>,
        created: Stepped,
    ) -> Result<Run> {
        let id = created.state.run.id.clone();
        let admission = self.admit(config, siblings).await?;
        let state = self.insert(config, created).await?;
        if state.run.phase.is_final() {
            return Ok(state.run.clone());
        }
        for queued in &admission.cancel {
            self.step(queued, &Event::Cancel).await?;
        }
        if admission.starts() {
            self.step(&id, &Event::Start).await?;
        }
        if let Some(running) = &admission.stop {
            // Stopping may finish the running run at once, and then starts this one.
            self.step(running, &Event::Stop).await?;
        }
        self.run(&id).await
    }

    /// What the new run does to its group.
    async fn admit(&self, config: &RunConfig, siblings: &BTreeSet<RunId>) -> Result<Admission> {
        let group = &config.group;
        let running = match self.tx.get(&RUNNING, group).await? {
            Some(id) => Some(self.member(id).await?),
            None => None,
        };
        let range = KeyRange::prefix(layout::numbered_prefix(group.as_str()));
        let mut queued = Vec::new();
        for (_, id) in self.tx.scan(&QUEUE, range, Direction::Ascending, usize::MAX).await? {
            queued.push(self.member(id).await?);
        }
        Ok(engine::admit(config.concurrency, running.as_ref(), &queued, siblings))
    }

    async fn member(&self, id: RunId) -> Result<GroupMember> {
        let number = self.run(&id).await?.number;
        Ok(GroupMember { id, number })
    }

    pub(super) async fn run(&self, id: &RunId) -> Result<Run> {
        self.tx.get(&RUNS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))
    }
}

/// One after another: as many as the config has tasks.
pub(super) fn handed_out(tasks: &[TaskId]) -> impl FnMut() -> TaskId {
    let mut ids = tasks.iter().cloned();
    move || ids.next().expect("there is an id for every task of the config")
}

fn check(config: &mut RunConfig) -> Result<()> {
    if config.name.is_empty() || config.name.len() > NAME_BYTES_MAX {
        return Err(Error::BadRequest {
            message: format!("the name of a run has 1 to {NAME_BYTES_MAX} bytes, this one {}", config.name.len()),
        });
    }
    if config.sealed {
        return Err(Error::BadRequest {
            message: "the run config says that its secrets are sealed: only the run service seals them".to_owned(),
        });
    }
    if !config.setup_errors.is_empty() {
        return Ok(());
    }
    let errors = config.check();
    if errors.is_empty() { Ok(()) } else { Err(Error::BadRequest { message: errors.join("; ") }) }
}
