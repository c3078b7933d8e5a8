//! How does a run come to be? One transaction: its number, its rows, its place in the group, and its start.

use runyard_datamanager::{DataManagerExt, Direction, KeyRange};
use runyard_executor_core::contract::{NAME_BYTES_MAX, RunId};

use super::{Core, store::Work};
use crate::{
    Error, Result,
    engine::{self, Admission, Event, GroupView},
    layout::{self, COUNTERS, IDEMPOTENCY, QUEUE, RUNNING, RUNS},
    model::{Run, RunConfig},
};

/// A run to be created.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// What is to be run.
    pub config: RunConfig,
    /// The caller's name for this creation: a second one with the same name returns the first one's run.
    pub idempotency_key: Option<String>,
}

impl From<RunConfig> for NewRun {
    fn from(config: RunConfig) -> Self {
        Self { config, idempotency_key: None }
    }
}

impl Core {
    pub(super) async fn create(&self, new: NewRun) -> Result<Run> {
        let NewRun { mut config, idempotency_key } = new;
        check(&mut config)?;
        let run = self.ids.run();
        let tasks: Vec<_> = config.tasks.keys().map(|_| self.ids.task()).collect();
        let (created, _) = self
            .data
            .transact(|tx| {
                let (config, run, tasks, key) = (&config, &run, &tasks, idempotency_key.as_deref());
                async move {
                    if let Some(key) = key {
                        if let Some(earlier) = tx.get(&IDEMPOTENCY, key).await? {
                            let earlier = tx.get(&RUNS, earlier.as_str()).await?;
                            return earlier.ok_or_else(|| Error::no_run(run));
                        }
                        tx.put(&IDEMPOTENCY, key, run).await?;
                    }
                    let work = Work::new(self, tx);
                    work.create(config, run, tasks).await
                }
            })
            .await?;
        Ok(created)
    }
}

impl Work<'_> {
    async fn create(
        &self,
        config: &RunConfig,
        id: &RunId,
        tasks: &[runyard_executor_core::contract::TaskId],
    ) -> Result<Run> {
        let root = config.group.root();
        let number = self.tx.get(&COUNTERS, &root).await?.unwrap_or(0) + 1;
        self.tx.put(&COUNTERS, &root, &number).await?;
        let mut ids = tasks.iter().cloned();
        let mut next_id = || ids.next().expect("there is an id for every task of the config");
        let created = engine::create(config, id.clone(), number, &mut next_id);
        let state = self.insert(config, created).await?;
        if state.run.phase.is_final() {
            return Ok(state.run);
        }
        match self.admit(config, id).await? {
            Admission::Start => Ok(self.step(id, &Event::Start).await?.run),
            Admission::Queue { cancel, stop } => {
                for queued in &cancel {
                    self.step(queued, &Event::Cancel).await?;
                }
                if let Some(running) = &stop {
                    // Stopping may finish the running run at once, and then starts this one.
                    self.step(running, &Event::Stop).await?;
                }
                let run = self.tx.get(&RUNS, id.as_str()).await?;
                run.ok_or_else(|| Error::no_run(id))
            }
        }
    }

    /// What the group's other runs mean for a new one that was just queued.
    async fn admit(&self, config: &RunConfig, id: &RunId) -> Result<Admission> {
        let running = self.tx.get(&RUNNING, &config.group).await?;
        let range = KeyRange::prefix(layout::numbered_prefix(config.group.as_str()));
        let queued = self.tx.scan(&QUEUE, range, Direction::Ascending, usize::MAX).await?;
        let queued = queued.into_iter().map(|(_, queued)| queued).filter(|queued| queued != id).collect();
        Ok(engine::admit(config.concurrency, &GroupView { running, queued }))
    }
}

fn check(config: &mut RunConfig) -> Result<()> {
    if config.name.is_empty() || config.name.len() > NAME_BYTES_MAX {
        return Err(Error::BadRequest {
            message: format!("the name of a run has 1 to {NAME_BYTES_MAX} bytes, this one {}", config.name.len()),
        });
    }
    if !config.setup_errors.is_empty() {
        return Ok(());
    }
    let errors = config.check();
    if errors.is_empty() { Ok(()) } else { Err(Error::BadRequest { message: errors.join("; ") }) }
}
