//! How do the attempts of a simulated executor talk to the run service?

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use runyard_executor_core::contract::{ClientError, ExecutorId, Fence, RunServiceClient};
use tokio::{sync::Notify, time::Instant};

use crate::{link::Link, pods::Attempt, random::Random};

/// The registration of an executor, if it has one.
pub(crate) struct Mouth {
    id: ExecutorId,
    state: Mutex<State>,
    /// Not a watch, which wakes those who wait in an order that it draws.
    registered: Notify,
}

struct State {
    link: Option<(u64, Arc<Link>)>,
    heard: Instant,
    random: Random,
}

/// That nobody expects anything of an attempt any more.
#[derive(Debug)]
pub(crate) struct Abandoned(pub(crate) String);

impl Mouth {
    pub(crate) fn new(id: ExecutorId, random: Random) -> Self {
        let state = Mutex::new(State { link: None, heard: Instant::now(), random });
        Self { id, state, registered: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    pub(crate) fn connected(&self, epoch: u64, link: Arc<Link>) {
        self.state().link = Some((epoch, link));
        self.registered.notify_waiters();
    }

    pub(crate) fn disconnected(&self) {
        self.state().link = None;
    }

    /// The run service has answered a sign of life that was sent at this time.
    pub(crate) fn heard(&self, at: Instant) {
        self.state().heard = at;
    }

    /// Since when the run service has not answered a sign of life.
    pub(crate) fn silent_since(&self) -> Instant {
        self.state().heard
    }

    pub(crate) fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        self.state().random.millis(range)
    }

    async fn registration(&self) -> (u64, Arc<Link>) {
        loop {
            let registered = self.registered.notified();
            if let Some(link) = self.state().link.clone() {
                return link;
            }
            registered.await;
        }
    }

    fn fence(&self, attempt: &Attempt, epoch: u64) -> Fence {
        Fence { task: attempt.0.clone(), attempt: attempt.1, executor: self.id.clone(), epoch }
    }

    /// Calls the run service for as long as it does not answer. A fence counts only under the registration that there
    /// is.
    pub(crate) async fn call<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        attempt: &Attempt,
        call: impl Fn(Arc<dyn RunServiceClient>, Fence) -> F,
    ) -> Result<T, ClientError> {
        let mut pause = 50;
        loop {
            let (epoch, link) = self.registration().await;
            let error = match call(link, self.fence(attempt, epoch)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let is_replaced = self.state().link.as_ref().is_none_or(|(current, _)| *current != epoch);
            match error {
                ClientError::Fenced { .. } | ClientError::Replaced { .. } if is_replaced => {}
                error if error.is_retryable() => {
                    tokio::time::sleep(self.millis(pause / 2..pause)).await;
                    pause = (pause * 2).min(5_000);
                }
                error => return Err(error),
            }
        }
    }
}
