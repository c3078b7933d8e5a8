//! What does one process see of the storage?
//!
//! Calls take time on their way there and on their way back. They fail, with and without effect, and land late. The
//! process sleeps for minutes in the middle of a call, or is killed there: then its calls never return, and what is on
//! its way may still arrive.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use runyard_objectstorage::{
    Body, CallKind, Error, FaultyStorage, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta,
    ObjectStorage, PutOptions, Result, Verdict,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{disk::Disk, random::Random, world::World};

/// The storage of one life of one process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Machine {
    world: Arc<World>,
    pub(crate) name: Arc<str>,
    faulty: FaultyStorage<Arc<Disk>>,
    killed: CancellationToken,
    /// While it is, none of its calls fails by itself.
    is_lucky: Arc<AtomicBool>,
    /// How often something went wrong with it.
    troubles: Arc<AtomicU64>,
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    /// Until when the process sleeps.
    asleep_until: Instant,
    /// Until when a call of it sleeps: a later sleep may be shorter.
    calls_sleep_until: Instant,
}

impl State {
    fn sleep(&mut self, took: Duration) {
        self.asleep_until = Instant::now() + took;
        self.calls_sleep_until = self.calls_sleep_until.max(self.asleep_until);
    }
}

impl Machine {
    pub(crate) fn new(world: &Arc<World>, name: &str, random: Random) -> Self {
        let faulty = FaultyStorage::new(Arc::clone(&world.disk));
        let mut faults = random.clone();
        let (plan_world, is_lucky) = (Arc::clone(world), Arc::new(AtomicBool::new(false)));
        let plan_is_lucky = Arc::clone(&is_lucky);
        let troubles = Arc::<AtomicU64>::default();
        let plan_troubles = Arc::clone(&troubles);
        faulty.plan(move |call| {
            let is_spared = plan_world.is_calm() || plan_is_lucky.load(Ordering::Relaxed);
            if is_spared || !faults.chance(plan_world.profile.faults) {
                return Verdict::Pass;
            }
            plan_troubles.fetch_add(1, Ordering::Relaxed);
            match faults.below(3) {
                0 => Verdict::FailBefore,
                1 => Verdict::FailAfter,
                _ if matches!(call.kind, CallKind::Put | CallKind::Delete) => Verdict::Late,
                _ => Verdict::FailBefore,
            }
        });
        Self {
            world: Arc::clone(world),
            name: name.into(),
            faulty,
            killed: CancellationToken::new(),
            is_lucky,
            troubles,
            state: Arc::new(Mutex::new(State {
                random,
                asleep_until: Instant::now(),
                calls_sleep_until: Instant::now(),
            })),
        }
    }

    /// Ends the process here and now: none of its calls returns any more.
    pub(crate) fn kill(&self) {
        self.world.trace(|| format!("{} is killed", self.name));
        self.world.callers_are_gone(&self.name, self.world.disk.tip());
        self.killed.cancel();
    }

    /// Spares the process faults for a while, or ends that.
    pub(crate) fn be_lucky(&self, is_lucky: bool) {
        self.is_lucky.store(is_lucky, Ordering::Relaxed);
    }

    /// How often something went wrong with it; none while it sleeps, is killed or cannot reach the storage.
    pub(crate) fn troubles(&self) -> Option<u64> {
        let is_asleep = self.state().calls_sleep_until > Instant::now() && !self.world.is_calm();
        let is_well = !is_asleep && !self.killed.is_cancelled() && !self.world.is_cut_off() && !self.world.is_full();
        is_well.then(|| self.troubles.load(Ordering::Relaxed))
    }

    fn is_troubled(&self) {
        self.troubles.fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Whether the process is killed on its way to, or from, the storage.
    async fn travel(&self) -> bool {
        let (usual, disaster) = {
            let profile = &self.world.profile;
            let random = &mut self.state().random;
            let usual = random.millis(0..profile.latency_max.as_millis() as u64 + 1);
            let slow = random.chance(20);
            (if slow { usual * 20 } else { usual }, random.below(10_000) < profile.disasters)
        };
        if disaster && !self.world.is_calm() {
            self.strike();
        }
        let travelled = async {
            tokio::time::sleep(usual).await;
            loop {
                let until = self.state().asleep_until;
                if until <= Instant::now() || self.world.is_calm() {
                    return;
                }
                self.world.calm_or(until).await;
            }
        };
        tokio::select! {
            biased;
            () = self.killed.cancelled() => true,
            () = travelled => false,
        }
    }

    fn strike(&self) {
        self.is_troubled();
        let state = &mut *self.state();
        let random = &mut state.random;
        let longest = random.pick(&[10_000, 120_000, 900_000]);
        let took = random.millis(1_000..longest);
        match random.below(3) {
            0 => {
                self.world.count("sleeps");
                self.world.trace(|| format!("{} sleeps for {took:?}", self.name));
                state.sleep(took);
            }
            1 => self.world.fill_disk(took.min(Duration::from_secs(60))),
            _ => self.world.cut_off(took.min(Duration::from_secs(60))),
        }
    }

    /// Now and then a process sleeps for longer than a cleaner waits.
    fn nap(&self, kind: CallKind, name: &str) {
        // Only the first process does, so that the others have the time to clean.
        let naps = if self.name.starts_with("p0.") { self.world.profile.naps } else { 0 };
        let is_decisive = match kind {
            CallKind::Put => name.contains("log/") || name.contains("manifest/"),
            _ => kind == CallKind::List && name.contains("manifest/"),
        };
        let state = &mut *self.state();
        let random = &mut state.random;
        if random.below(10_000) < if is_decisive { 20 * naps } else { naps } && !self.world.is_calm() {
            let took = random.millis(60_000..3_600_000);
            self.is_troubled();
            self.world.count("naps");
            self.world.trace(|| format!("{} naps for {took:?} before {kind:?} {name}", self.name));
            state.sleep(took);
        }
    }

    fn outage(&self, kind: CallKind, name: &str) -> Result<()> {
        if self.world.is_cut_off() {
            self.is_troubled();
            let source = "simulated outage".into();
            return Err(Error::Unavailable { doing: "reaching", name: name.to_owned(), source });
        }
        if kind == CallKind::Put && self.world.is_full() {
            self.is_troubled();
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(Error::Full { doing: "writing", name: name.to_owned(), source });
        }
        Ok(())
    }

    /// One call: there, its effect, and back.
    async fn call<T>(&self, kind: CallKind, name: &str, effect: impl Future<Output = Result<T>>) -> Result<T> {
        self.nap(kind, name);
        if self.travel().await {
            return std::future::pending().await;
        }
        self.effect_and_back(kind, name, effect).await
    }

    async fn effect_and_back<T>(
        &self,
        kind: CallKind,
        name: &str,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.outage(kind, name)?;
        let answer = effect.await;
        self.world.trace(|| {
            let answer = answer.as_ref().err().map_or("ok".to_owned(), Error::to_string);
            format!("{} {kind:?} {name}: {answer}", self.name)
        });
        if self.travel().await {
            return std::future::pending().await;
        }
        answer
    }

    /// What failed and has its effect later, has it now and then.
    fn land_later(&self) {
        let delay = self.late_delay();
        let this = self.clone();
        self.world.spawn_landing(async move {
            tokio::time::sleep(delay).await;
            for answer in this.faulty.land_late().await {
                this.world.count(if answer.is_ok() { "late effects" } else { "effects that came too late" });
                this.world.trace(|| format!("{} had a late effect: {answer:?}", this.name));
            }
        });
    }

    fn late_delay(&self) -> Duration {
        let random = &mut self.state().random;
        match random.below(3) {
            0 => random.millis(0..50),
            1 => random.millis(50..5_000),
            _ => random.millis(5_000..300_000),
        }
    }

    /// A killed process has handed over the bytes of a put already.
    fn arrive_after_death(&self, key: ObjectKey, bytes: bytes::Bytes, options: PutOptions) {
        if !self.state().random.chance(500) {
            return;
        }
        let delay = self.late_delay();
        let this = self.clone();
        self.world.spawn_landing(async move {
            tokio::time::sleep(delay).await;
            let answer = this.world.disk.put(&key, bytes.into(), options).await;
            this.world.count("effects after death");
            this.world.trace(|| format!("{} had put {key} before its death: {answer:?}", this.name));
        });
    }
}

#[async_trait]
impl ObjectStorage for Machine {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.call(CallKind::Head, key.as_str(), self.faulty.head(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        self.call(CallKind::Get, key.as_str(), self.faulty.get(key, range)).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        self.nap(CallKind::Put, key.as_str());
        let is_killed = self.travel().await;
        let body = match body.into_bytes() {
            Ok(bytes) if is_killed => {
                self.arrive_after_death(key.clone(), bytes, options);
                return std::future::pending().await;
            }
            Ok(bytes) => Body::from(bytes),
            Err(_) if is_killed => return std::future::pending().await,
            Err(stream) => stream,
        };
        let put = self.faulty.put(key, body, options);
        let answer = self.effect_and_back(CallKind::Put, key.as_str(), put).await;
        if matches!(answer, Err(Error::Unavailable { .. })) {
            self.land_later();
        }
        answer
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let answer = self.call(CallKind::Delete, key.as_str(), self.faulty.delete(key)).await;
        if matches!(answer, Err(Error::Unavailable { .. })) {
            self.land_later();
        }
        answer
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let this = self.clone();
        let name = request.prefix.clone();
        let opened = async move {
            let list = async { Ok(this.faulty.list(request)) };
            this.call(CallKind::List, &name, list).await
        };
        stream::once(opened).try_flatten().boxed()
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({})", self.name)
    }
}
