//! What is between an executor and a process of the run service? A network.
//!
//! Calls take time, are lost on their way there or back, and arrive once more when nobody thinks of them any more. At the
//! end of the process nothing answers.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use runyard_executor_core::contract::{
    ByteStream, CacheHit, CachePut, ClientError, ExecutorId, ExecutorStatus, Fence, Registration, Result,
    RunServiceClient, Siblings, StepRef, TaskId, TaskReport,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    random::Random,
    world::{Life, World},
};

/// A process of the run service as one executor reaches it.
pub(crate) struct Link {
    world: Arc<World>,
    inner: Arc<dyn RunServiceClient>,
    pub(crate) process: Arc<str>,
    ended: CancellationToken,
    random: Mutex<Random>,
}

impl Link {
    pub(crate) fn new(world: &Arc<World>, life: &Life, random: Random) -> Self {
        Self {
            world: Arc::clone(world),
            inner: life.runs.client(),
            process: Arc::clone(&life.name),
            ended: life.ended.clone(),
            random: Mutex::new(random),
        }
    }

    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().expect("not poisoned")
    }

    fn is_lost(&self) -> bool {
        let lost = !self.world.is_calm() && self.random().chance(self.world.profile.losses);
        if lost {
            self.world.count("lost calls of executors");
        }
        lost
    }

    async fn travel(&self) {
        let took = self.random().mostly_short(10, 300);
        tokio::time::sleep(took).await;
    }

    /// One call: there, its effect, and back. The effect is the work of the process, whatever becomes of its caller
    /// meanwhile; but who goes away takes the call back.
    async fn call<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
        &self,
        effect: impl FnOnce(Arc<dyn RunServiceClient>) -> F,
    ) -> Result<T> {
        let effect = effect(Arc::clone(&self.inner));
        let call = async {
            self.travel().await;
            if self.is_lost() {
                tokio::time::sleep(Duration::from_secs(2)).await;
                return Err(unreachable("the call was lost"));
            }
            let working = AbortOnDropHandle::new(tokio::spawn(effect));
            let answer = working.await.unwrap_or_else(|error| {
                self.world.fail(format!("a call of an executor ended with {error}"));
                Err(unreachable("the call panicked"))
            });
            self.travel().await;
            if self.is_lost() { Err(unreachable("the answer was lost")) } else { answer }
        };
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(unreachable("the process has ended")),
            answer = call => answer,
        }
    }

    /// Now and then a call arrives once more, and late.
    fn repeat(&self, what: &'static str, call: impl FnOnce(Arc<dyn RunServiceClient>) -> BoxFuture<'static, ()>) {
        if self.world.is_calm() || !self.random().chance(self.world.profile.losses) {
            return;
        }
        let delay = self.random().mostly_short(1_000, 120_000);
        let (world, ended, call) = (Arc::clone(&self.world), self.ended.clone(), call(Arc::clone(&self.inner)));
        self.world.later(async move {
            let late = async {
                tokio::time::sleep(delay).await;
                world.count("calls that arrived twice");
                world.trace(|| format!("{what} arrives once more, after {delay:?}"));
                call.await;
            };
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                () = late => {}
            }
        });
    }
}

fn unreachable(why: &'static str) -> ClientError {
    ClientError::Unavailable { doing: "reaching the run service", source: why.into() }
}

#[async_trait]
impl RunServiceClient for Link {
    async fn register(&self, status: ExecutorStatus) -> Result<Registration> {
        let Registration { epoch, commands } = self.call(|inner| async move { inner.register(status).await }).await?;
        let ended = self.ended.clone();
        let until = async move { ended.cancelled().await };
        let broken = stream::once(async { Err(unreachable("the connection broke")) });
        // A connection that the run service ends ends without that error.
        let ended = self.ended.clone();
        let broken = broken.filter(move |_| std::future::ready(ended.is_cancelled()));
        Ok(Registration { epoch, commands: commands.take_until(until).chain(broken).boxed() })
    }

    async fn heartbeat(&self, executor: &ExecutorId, epoch: u64) -> Result<()> {
        let executor = executor.clone();
        self.call(move |inner| async move { inner.heartbeat(&executor, epoch).await }).await
    }

    async fn siblings(&self, executor: &ExecutorId, epoch: u64, siblings: Siblings) -> Result<()> {
        let executor = executor.clone();
        self.call(move |inner| async move { inner.siblings(&executor, epoch, siblings).await }).await
    }

    async fn accept(&self, fence: &Fence) -> Result<()> {
        let late = fence.clone();
        self.repeat("an acceptance", |inner| async move { drop(inner.accept(&late).await) }.boxed());
        let fence = fence.clone();
        self.call(move |inner| async move { inner.accept(&fence).await }).await
    }

    async fn report(&self, report: TaskReport) -> Result<()> {
        let late = report.clone();
        self.repeat("a report", |inner| async move { drop(inner.report(late).await) }.boxed());
        self.call(move |inner| async move { inner.report(report).await }).await
    }

    async fn append_log(&self, fence: &Fence, step: StepRef, offset: u64, bytes: Bytes) -> Result<u64> {
        let (late, late_bytes) = (fence.clone(), bytes.clone());
        let append = |inner: Arc<dyn RunServiceClient>| {
            async move { drop(inner.append_log(&late, step, offset, late_bytes).await) }.boxed()
        };
        self.repeat("a part of a log", append);
        let fence = fence.clone();
        self.call(move |inner| async move { inner.append_log(&fence, step, offset, bytes).await }).await
    }

    // No step of a simulated task uses archives.

    async fn put_workspace(&self, fence: &Fence, step: u32, archive: ByteStream) -> Result<()> {
        self.inner.put_workspace(fence, step, archive).await
    }

    async fn get_workspace(&self, fence: &Fence, task: &TaskId, step: u32) -> Result<ByteStream> {
        self.inner.get_workspace(fence, task, step).await
    }

    async fn cache_exists(&self, fence: &Fence, key: &str) -> Result<bool> {
        self.inner.cache_exists(fence, key).await
    }

    async fn put_cache(&self, fence: &Fence, key: &str, archive: ByteStream) -> Result<CachePut> {
        self.inner.put_cache(fence, key, archive).await
    }

    async fn get_cache(&self, fence: &Fence, keys: &[String]) -> Result<Option<CacheHit>> {
        self.inner.get_cache(fence, keys).await
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(to {})", self.process)
    }
}
