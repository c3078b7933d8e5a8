//! What do all tasks of an executor share, and how do they talk to the run service?

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Settings, backoff::Backoff, home::Home, journal::Journal, random::Random};
use crate::{
    contract::{ClientError, Fence, HeldTask, RunServiceClient},
    driver::ExecutorDriver,
};

/// Whether the executor is registered, and under which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Registered { epoch: u64 },
}

pub(super) struct Context {
    pub(super) client: Arc<dyn RunServiceClient>,
    pub(super) driver: Arc<dyn ExecutorDriver>,
    pub(super) settings: Settings,
    /// Whoever holds the context may write into the directory, so it keeps the lock.
    pub(super) home: Home,
    pub(super) boot: String,
    pub(super) journal: Journal,
    pub(super) random: Random,
    pub(super) link: watch::Sender<Link>,
}

impl Context {
    /// Calls the run service for an attempt, for as long as it does not answer.
    ///
    /// # Errors
    /// Whatever it answers. [`ClientError::Fenced`] only if that is not the work of a registration of our own that
    /// came in between.
    pub(super) async fn call<T, F>(&self, held: &HeldTask, call: impl Fn(Fence) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut backoff = self.backoff();
        loop {
            let epoch = self.registered().await;
            let error = match call(self.fence(held, epoch)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let replaced = *self.link.borrow() != Link::Registered { epoch };
            match error {
                ClientError::Fenced { .. } | ClientError::Replaced { .. } if replaced => {}
                error if error.is_retryable() => {
                    tracing::debug!(task = %held.task, %error, "trying again");
                    backoff.wait(&self.random).await;
                }
                error => return Err(error),
            }
        }
    }

    /// The fence of an attempt under the current registration; waits for one.
    pub(super) async fn current_fence(&self, held: &HeldTask) -> Fence {
        let epoch = self.registered().await;
        self.fence(held, epoch)
    }

    fn fence(&self, held: &HeldTask, epoch: u64) -> Fence {
        Fence { task: held.task.clone(), attempt: held.attempt, executor: self.home.id.clone(), epoch }
    }

    async fn registered(&self) -> u64 {
        let mut link = self.link.subscribe();
        let registered = link.wait_for(|link| matches!(link, Link::Registered { .. })).await;
        match *registered.expect("the context owns the sender") {
            Link::Registered { epoch } => epoch,
            Link::Connecting => unreachable!("it was waited for"),
        }
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// Where the logs of an attempt are that the executor itself writes.
    pub(super) fn logs(&self, held: &HeldTask) -> PathBuf {
        self.home.dir.join("logs").join(format!("{}.{}", held.task, held.attempt))
    }
}
