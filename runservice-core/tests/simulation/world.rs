//! What happened, and what is the weather like?
//!
//! The one place that all actors of a simulation share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use runyard_datamanager::coordinator::ModelEtcd;
use runyard_objectstorage::MemoryStorage;
use runyard_runservice_core::RunService;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{pods::Pods, profile::Profile, promises::Promises, random::Random, variants::Variant};

/// How often what happened.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// A simulated world.
pub(crate) struct World {
    pub(crate) profile: Profile,
    /// What of it is broken on purpose.
    pub(crate) variant: Option<Variant>,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) etcd: ModelEtcd,
    pub(crate) pods: Pods,
    pub(crate) promises: Mutex<Promises>,
    pub(crate) began: Instant,
    is_traced: bool,
    /// Cancelled when nothing goes wrong any more.
    calm: CancellationToken,
    /// Cancelled when something was wrong, or when all is over.
    over: CancellationToken,
    landings: Mutex<Option<JoinSet<()>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: Counts,
    trace: Vec<String>,
    failure: Option<String>,
    cut_off_until: Option<Instant>,
    alive: BTreeMap<u64, Life>,
}

/// A process of the run service that is alive.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) name: Arc<str>,
    pub(crate) runs: RunService,
    /// Cancelled at its end: nothing of it answers any more.
    pub(crate) ended: CancellationToken,
}

impl Life {
    /// The audit has found nothing.
    pub(crate) fn check_audit(&self) -> Result<(), String> {
        match self.runs.metrics().audit_repairs {
            0 => Ok(()),
            repairs => Err(format!("the audit of {} had {repairs} rows to repair", self.name)),
        }
    }
}

impl World {
    pub(crate) fn new(profile: Profile, variant: Option<Variant>, is_traced: bool) -> Arc<Self> {
        let began = Instant::now();
        Arc::new(Self {
            pods: Pods::new(profile.lost_after),
            profile,
            variant,
            storage: Arc::default(),
            etcd: ModelEtcd::new(),
            promises: Mutex::default(),
            began,
            is_traced,
            calm: CancellationToken::new(),
            over: CancellationToken::new(),
            landings: Mutex::new(Some(JoinSet::new())),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// What callers were promised.
    pub(crate) fn promises(&self) -> MutexGuard<'_, Promises> {
        self.promises.lock().expect("not poisoned")
    }

    /// Whether something is broken on purpose.
    pub(crate) fn is(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    /// Notes something for whoever reads why a seed failed.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            let line = format!("{:>12.3?} {}", self.began.elapsed(), what());
            self.state().trace.push(line);
        }
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    pub(crate) fn take_counts(&self) -> Counts {
        std::mem::take(&mut self.state().counts)
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut self.state().trace)
    }

    /// Something happened that never may. The first such thing is what a seed fails with, and ends it.
    pub(crate) fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        self.trace(|| format!("WRONG: {what}"));
        self.state().failure.get_or_insert(what);
        self.over.cancel();
    }

    /// Fails with the error of a check.
    pub(crate) fn check(&self, checked: Result<(), String>) {
        if let Err(wrong) = checked {
            self.fail(wrong);
        }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    pub(crate) fn end(&self) {
        self.over.cancel();
    }

    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    // Weather.

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.is_cancelled()
    }

    /// Ends all faults.
    pub(crate) fn calm_down(&self) {
        self.trace(|| "nothing goes wrong any more".to_owned());
        self.calm.cancel();
    }

    pub(crate) async fn calm(&self) {
        self.calm.cancelled().await;
    }

    /// Sleeps, but not longer than things go wrong.
    pub(crate) async fn calm_or_sleep(&self, took: Duration) {
        tokio::select! {
            biased;
            () = self.calm() => {}
            () = tokio::time::sleep(took) => {}
        }
    }

    /// Lets something happen later that nobody waits for.
    pub(crate) fn later(&self, landing: impl Future<Output = ()> + Send + 'static) {
        if let Some(landings) = &mut *self.landings.lock().expect("not poisoned") {
            while landings.try_join_next().is_some() {}
            landings.spawn(landing);
        }
    }

    /// Waits until everything has landed that was on its way; nothing more is sent off.
    pub(crate) async fn land_all(&self) {
        let landings = self.landings.lock().expect("not poisoned").take();
        if let Some(landings) = landings {
            landings.join_all().await;
        }
    }

    pub(crate) fn cut_off(&self, took: Duration) {
        self.count("outages of the storage");
        self.trace(|| format!("the storage cannot be reached for {took:?}"));
        self.state().cut_off_until = Some(Instant::now() + took);
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        !self.is_calm() && self.state().cut_off_until.is_some_and(|until| until > Instant::now())
    }

    // Processes.

    pub(crate) fn process_began(&self, index: u64, life: Life) {
        self.trace(|| format!("{} is up", life.name));
        self.state().alive.insert(index, life);
    }

    pub(crate) fn process_ended(&self, index: u64) {
        let ended = self.state().alive.remove(&index);
        if let Some(life) = ended {
            life.ended.cancel();
            self.check(life.check_audit());
        }
    }

    /// The processes that are alive.
    pub(crate) fn processes(&self) -> Vec<Life> {
        self.state().alive.values().cloned().collect()
    }

    /// Any of the processes that are alive; waits until there is one.
    pub(crate) async fn some_process(&self, random: &mut Random) -> Life {
        loop {
            let alive = self.processes();
            if !alive.is_empty() {
                return alive[random.below(alive.len() as u64) as usize].clone();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
