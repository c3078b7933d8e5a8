//! What does one process see of the storage?
//!
//! Calls take time on their way there and on their way back; they fail, with and without effect; for a while nothing can
//! be reached, or none of them gets anywhere. A process that is killed never hears of its calls again, and what it was writing may still arrive.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use runyard_objectstorage::{
    Body, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutOptions,
    PutSize, Result,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{random::Random, variants::Variant, world::World};

/// The storage of one life of one process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Machine {
    world: Arc<World>,
    name: Arc<str>,
    killed: CancellationToken,
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    /// Until when none of its calls gets anywhere.
    asleep_until: Instant,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    /// It fails, and had no effect.
    Lost,
    /// It fails, and had its effect.
    Unanswered,
}

impl Machine {
    pub(crate) fn new(world: &Arc<World>, name: &Arc<str>, random: Random) -> Self {
        let state = Arc::new(Mutex::new(State { random, asleep_until: Instant::now() }));
        Self { world: Arc::clone(world), name: Arc::clone(name), killed: CancellationToken::new(), state }
    }

    /// Ends the process here and now: none of its calls returns any more.
    pub(crate) fn kill(&self) {
        self.killed.cancel();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    fn fate(&self) -> Fate {
        if self.world.is_calm() {
            return Fate::Passes;
        }
        if self.world.is_cut_off() {
            return Fate::Lost;
        }
        let (faults, outages) = (self.world.profile.faults, self.world.profile.outages);
        let state = &mut *self.state();
        let random = &mut state.random;
        if random.below(10_000) < outages {
            let took = random.millis(1_000..60_000);
            if random.chance(500) {
                self.world.cut_off(took);
                return Fate::Lost;
            }
            self.world.count("processes that fell asleep");
            self.world.trace(|| format!("{} sleeps for {took:?}", self.name));
            state.asleep_until = Instant::now() + took;
        }
        match random.chance(faults) {
            false => Fate::Passes,
            true if random.chance(500) => Fate::Lost,
            true => Fate::Unanswered,
        }
    }

    /// Whether the process is killed on its way.
    async fn travel(&self) -> bool {
        let took = {
            let random = &mut self.state().random;
            let usual = random.millis(0..self.world.profile.latency_max + 1);
            let is_slow = random.chance(20) && !self.world.is_calm();
            if is_slow { usual * 20 } else { usual }
        };
        if took > Duration::ZERO {
            tokio::select! {
                biased;
                () = self.killed.cancelled() => {}
                () = tokio::time::sleep(took) => {}
            }
        }
        loop {
            let until = self.state().asleep_until;
            if self.killed.is_cancelled() || until <= Instant::now() || self.world.is_calm() {
                return self.killed.is_cancelled();
            }
            tokio::select! {
                biased;
                () = self.killed.cancelled() => {}
                () = self.world.calm_or_sleep(until - Instant::now()) => {}
            }
        }
    }

    /// One call: there, its effect, and back.
    async fn call<T>(&self, kind: &'static str, name: &str, effect: impl Future<Output = Result<T>>) -> Result<T> {
        if self.travel().await {
            return std::future::pending().await;
        }
        let fate = self.fate();
        let answer = match fate {
            Fate::Lost => Err(unavailable(kind, name)),
            Fate::Unanswered => effect.await.and_then(|_| Err(unavailable(kind, name))),
            Fate::Passes => effect.await,
        };
        if fate != Fate::Passes {
            self.world.count("failed storage calls");
        }
        self.world.trace(|| {
            let answer = answer.as_ref().err().map_or("ok".to_owned(), Error::to_string);
            format!("{} {kind} {name}: {answer}", self.name)
        });
        if self.travel().await {
            return std::future::pending().await;
        }
        answer
    }

    /// What of a log is really stored, if it is broken on purpose.
    fn damage(&self, key: &ObjectKey, bytes: bytes::Bytes) -> bytes::Bytes {
        let is_damaged = self.world.is(Variant::StorageDropsByte)
            && key.as_str().starts_with("logs/")
            && bytes.len() > 1
            && self.state().random.chance(200);
        if is_damaged { bytes.slice(..bytes.len() - 1) } else { bytes }
    }

    /// A killed process has handed over the bytes of a put already.
    fn arrive_after_death(&self, key: ObjectKey, bytes: bytes::Bytes, options: PutOptions) {
        if self.world.is_calm() || self.state().random.chance(500) {
            return;
        }
        let delay = self.state().random.millis(0..10_000);
        let this = self.clone();
        self.world.later(async move {
            tokio::time::sleep(delay).await;
            let answer = this.world.storage.put(&key, bytes.into(), options).await;
            this.world.count("writes that arrived after the death of their process");
            this.world.trace(|| format!("{} had put {key} before its death: {answer:?}", this.name));
        });
    }
}

fn unavailable(doing: &'static str, name: &str) -> Error {
    Error::Unavailable { doing, name: name.to_owned(), source: "simulated".into() }
}

#[async_trait]
impl ObjectStorage for Machine {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.call("looking at", key.as_str(), self.world.storage.head(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        self.call("reading", key.as_str(), self.world.storage.get(key, range)).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        let bytes = body.collect(key, options.size).await?;
        if self.killed.is_cancelled() {
            return std::future::pending().await;
        }
        let stored = self.damage(key, bytes);
        let options = PutOptions { size: PutSize::Unknown, ..options };
        let put = self.world.storage.put(key, stored.clone().into(), options);
        let call = self.call("writing", key.as_str(), put);
        tokio::select! {
            biased;
            answer = call => answer,
            () = self.killed.cancelled() => {
                self.arrive_after_death(key.clone(), stored, options);
                std::future::pending().await
            }
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.call("deleting", key.as_str(), self.world.storage.delete(key)).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let this = self.clone();
        let name = request.prefix.clone();
        let opened = async move {
            let list = async { Ok(this.world.storage.list(request)) };
            this.call("listing", &name, list).await
        };
        stream::once(opened).try_flatten().boxed()
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({})", self.name)
    }
}
