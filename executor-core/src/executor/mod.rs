//! How does an executor take tasks, execute them, and survive a restart?
//!
//! [`Executor`] registers with a run service and executes what that assigns, in the pods of a driver. It journals
//! before it starts anything: an executor that was killed and is opened again on the same directory re-attaches to
//! the steps that still run, goes on with their logs at the exact byte, and starts nothing a second time.

mod archives;
mod attempt;
pub(crate) mod backoff;
mod builder;
mod connection;
mod context;
mod disk;
mod environment;
mod home;
mod journal;
mod outbox;
mod progress;
mod pump;
pub(crate) mod random;
mod reporter;
mod resume;
#[cfg(test)]
mod samples;
mod setup;
mod signals;
mod stages;
mod step;
mod task_log;
mod tasks;
mod uptime;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use builder::{ExecutorBuilder, Settings};
pub(crate) use environment::directory;
pub(crate) use home::{create_private_dir, private_file};

use self::context::Context;
use crate::{
    contract::{ClientError, ExecutorId, RunServiceClient},
    driver::{DriverError, ExecutorDriver},
};

/// Executes the tasks that a run service assigns to it.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use runyard_executor_core::{Executor, contract::RunServiceClient, driver::ProcessDriver};
/// # use tokio_util::sync::CancellationToken;
/// # async fn example(client: Arc<dyn RunServiceClient>) -> Result<(), Box<dyn std::error::Error>> {
/// let driver = Arc::new(ProcessDriver::open("/var/lib/ci/pods")?);
/// let executor = Executor::builder(client, driver).task_limit(4).open("/var/lib/ci/executor").await?;
/// executor.run(CancellationToken::new()).await?;
/// # Ok(())
/// # }
/// ```
pub struct Executor {
    context: Arc<Context>,
    name: String,
    labels: std::collections::BTreeMap<String, String>,
    /// The most tasks at a time, until it drains.
    task_limit: watch::Sender<u32>,
    /// Why it takes no new tasks for a while.
    not_ready: watch::Sender<Option<String>>,
    /// Whether the run service asked it to end when its tasks have ended.
    ends_when_idle: watch::Sender<bool>,
    /// How many tasks it holds.
    held: watch::Sender<usize>,
    /// Locked while it runs.
    running: tokio::sync::Mutex<()>,
}

impl Executor {
    /// An executor of the tasks of `client`'s run service, in pods of `driver`.
    pub fn builder(client: Arc<dyn RunServiceClient>, driver: Arc<dyn ExecutorDriver>) -> ExecutorBuilder {
        ExecutorBuilder::new(client, driver)
    }

    /// Its id, made when its directory was first opened.
    pub fn id(&self) -> &ExecutorId {
        &self.context.home.id
    }

    /// Takes no new tasks from now on, tells the run service so, and waits until the running ones have ended.
    ///
    /// Something has to poll [`Executor::run`] meanwhile. It goes on after that: it still answers, without tasks.
    pub async fn drain(&self) {
        self.task_limit.send_replace(0);
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held == 0).await.expect("the executor owns the sender");
    }

    /// How many tasks it holds, running, waiting for their last report, or being cleaned up.
    pub fn held(&self) -> usize {
        *self.held.borrow()
    }

    /// Executes tasks until `shutdown`, or until the run service asks it to end ([`Command::Drain`](crate::contract::Command::Drain)) and the tasks that it
    /// has by then have ended.
    ///
    /// On `shutdown` it takes no more commands and returns at once. Running steps go on under their supervisors; an
    /// executor that is opened again on the same directory, before `lost_after` has passed, goes on with them. To end
    /// without leaving anything behind, [`Executor::drain`] first.
    ///
    /// # Errors
    /// [`ExecutorError::AlreadyRunning`] if it runs already; [`ExecutorError::Replaced`] if another process registered with the same id; [`ExecutorError::Driver`] if the
    /// driver cannot be used at all; [`ExecutorError::Refused`] if the run service refuses the registration.
    ///
    /// # Cancel safety
    /// Dropping the future is like `shutdown`, but for what is just being done on other threads: the directory can be
    /// opened again when that has ended too. It is [`ExecutorError::DirectoryInUse`] until then.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), ExecutorError> {
        let _running = self.running.try_lock().map_err(|_| ExecutorError::AlreadyRunning)?;
        connection::run(self, shutdown).await
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("home", &self.context.home).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why an executor cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// Its directory cannot be used.
    #[error("cannot use the executor's directory `{dir}`: {doing} failed")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What was being done, as a participle.
        doing: &'static str,
        /// What was reported.
        source: std::io::Error,
    },
    /// Another executor has the directory open.
    #[error("another executor uses the directory `{dir}`; give each its own")]
    DirectoryInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// Its `run` was called while it runs.
    #[error("the executor runs already")]
    AlreadyRunning,
    /// The driver cannot be used at all.
    #[error("the driver failed while {doing}")]
    Driver {
        /// What was being done, as a participle.
        doing: &'static str,
        /// What was reported.
        source: DriverError,
    },
    /// Another process registered with the same id.
    #[error("executor `{executor}` was registered by another process; is its directory a copy of another one's?")]
    Replaced {
        /// The id.
        executor: ExecutorId,
    },
    /// The run service does not accept the executor.
    #[error("the run service refuses the executor")]
    Refused(#[source] ClientError),
}
