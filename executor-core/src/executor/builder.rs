//! What is an executor made of?

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Executor, ExecutorError,
    context::{Context, Link},
    home::Home,
    journal::Journal,
    random::Random,
    uptime,
};
use crate::{contract::RunServiceClient, driver::ExecutorDriver};

/// The numbers of an executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether tasks may have privileged containers. Default: no.
    pub allow_privileged_containers: bool,
    /// Whether the executor may disappear without being deleted by hand. Default: no.
    pub dynamic: bool,
    /// How long a command has between being asked to end and being killed. Default: 10 s.
    pub stop_grace: Duration,
    /// How often the run service hears from an executor that has nothing else to say. Default: 5 s.
    pub heartbeat_interval: Duration,
    /// After how long without an acknowledged heartbeat the executor stops its tasks, and a step's supervisor its
    /// step. Default: 10 min. The run service must wait longer before it gives a task up.
    pub lost_after: Duration,
    /// How many bytes have to be free where the executor's directory is: with less it takes no new tasks, and says so. Where
    /// an engine of containers keeps its data is another question, which this does not answer. Default: 512 MiB.
    pub disk_free_min: u64,
    /// The most bytes in the log of a step; the rest is dropped, with a mark. Default: 4 GiB.
    pub log_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_privileged_containers: false,
            dynamic: false,
            stop_grace: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(5),
            lost_after: Duration::from_secs(600),
            disk_free_min: 512 << 20,
            log_bytes_max: 4 << 30,
        }
    }
}

/// Puts an [`Executor`] together.
#[derive(Debug)]
pub struct ExecutorBuilder {
    client: Arc<dyn RunServiceClient>,
    driver: Arc<dyn ExecutorDriver>,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    task_limit: u32,
    settings: Settings,
    seed: Option<u64>,
}

impl ExecutorBuilder {
    pub(super) fn new(client: Arc<dyn RunServiceClient>, driver: Arc<dyn ExecutorDriver>) -> Self {
        let (name, labels, settings) = (None, BTreeMap::new(), Settings::default());
        Self { client, driver, name, labels, task_limit: 2, settings, seed: None }
    }

    /// The most tasks at a time, setup included. 0: none. Default: 2.
    #[must_use]
    pub fn task_limit(mut self, limit: u32) -> Self {
        self.task_limit = limit;
        self
    }

    /// What people call it. Default: its id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What tasks may select it by.
    #[must_use]
    pub fn labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.labels = labels;
        self
    }

    /// Its numbers.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Makes ids and jitter repeatable, for simulations. Default: the operating system's randomness.
    ///
    /// An executor that is opened again needs another seed: ids of pods must not repeat.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens the executor's directory, which it makes if need be.
    ///
    /// # Errors
    /// [`ExecutorError::DirectoryInUse`] if another executor has it open; [`ExecutorError::Directory`] if it cannot
    /// be used.
    pub async fn open(self, dir: impl AsRef<Path>) -> Result<Executor, ExecutorError> {
        let dir = dir.as_ref();
        let unusable = |doing| move |source| ExecutorError::Directory { dir: dir.to_owned(), doing, source };
        let random = match self.seed {
            Some(seed) => Random::seeded(seed),
            None => Random::from_os().map_err(unusable("seeding its ids"))?,
        };
        let boot = uptime::boot_id().map_err(unusable("reading the boot id"))?;
        // A handful of small files: not worth another thread.
        let home = Home::open(dir, &random)?;
        let context = Context {
            client: self.client,
            driver: self.driver,
            settings: self.settings,
            boot,
            journal: Journal::new(&home.dir),
            home,
            random,
            link: watch::Sender::new(Link::Connecting),
        };
        Ok(Executor {
            name: self.name.unwrap_or_else(|| context.home.id.to_string()),
            context: Arc::new(context),
            labels: self.labels,
            task_limit: watch::Sender::new(self.task_limit),
            not_ready: watch::Sender::new(None),
            ends_when_idle: watch::Sender::new(false),
            held: watch::Sender::new(0),
            running: tokio::sync::Mutex::new(()),
        })
    }
}
