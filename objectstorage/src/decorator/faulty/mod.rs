//! How does a program behave whose storage fails? Feature `test-util`.
//!
//! A [`FaultyStorage`] asks a plan about every call: does it pass, does it fail, and if it fails, before its effect,
//! after it, or long before it? Plans are scripted ("crash at call 17") or drawn from a seed; both replay.
//!
//! | file | question |
//! |---|---|
//! | `verdict.rs` | what can become of a call? |
//! | `rates.rs` | how often does what happen, where faults are drawn from a seed? |
//! | `world.rs` | what do all clients of one storage have in common? |
//! | `damage.rs` | how do bytes come to harm on their way? |
//! | `hold.rs` | how does a test stop a call in the middle? |

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{CallKind, random::Random};
use crate::{
    Body, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutOptions,
    PutSize, Result,
};

mod damage;
mod hold;
mod rates;
mod verdict;
mod world;

use damage::Damage;
use hold::Hold;
pub use hold::{HoldGuard, Moment};
pub use rates::FaultRates;
pub use verdict::{Call, Verdict};
use world::{Effect, World};

/// A storage that fails on purpose. Clones share their plan, their counts and their crash.
///
/// Nothing happens by itself: what is late or slow goes by tokio's clock, and every random number by the seed. On a
/// current-thread runtime with a paused clock, the same seed gives the same run.
///
/// ```
/// use runyard_objectstorage::{FaultyStorage, MemoryStorage, ObjectKey, ObjectStorageExt, PutMode, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> runyard_objectstorage::Result<()> {
/// let storage = FaultyStorage::new(MemoryStorage::new());
/// storage.script(2, Verdict::FailAfter);
/// let key = ObjectKey::parse("a")?;
/// assert!(!storage.exists(&key).await?);
/// let lost_reply = storage.put_bytes(&key, "x".into(), PutMode::Create).await;
/// assert!(lost_reply.is_err_and(|error| error.is_retryable()));
/// assert!(storage.exists(&key).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Several processes over one storage
/// Each gets a client of its own, with a plan, counts, holds and a crash of its own. What is late survives the crash of
/// its client, as a packet in the network does, and lands before whichever client's call comes next; and when the
/// storage is full, it is full for all.
///
/// ```
/// use runyard_objectstorage::{FaultRates, FaultyStorage, MemoryStorage};
///
/// let first = FaultyStorage::new(MemoryStorage::new());
/// let second = first.another_client();
/// first.seeded(1, FaultRates::default());
/// second.seeded(2, FaultRates::default());
/// first.crash();
/// assert!(!second.is_crashed());
/// ```
#[derive(Clone)]
pub struct FaultyStorage<S> {
    inner: S,
    state: Arc<Mutex<State>>,
    world: Arc<Mutex<World>>,
}

type Plan = Box<dyn FnMut(&Call<'_>) -> Verdict + Send>;

struct State {
    plan: Plan,
    /// Where the plan is drawn from, for who has to replay it.
    drawn_from: Option<(u64, FaultRates)>,
    calls: [u64; CallKind::ALL.len()],
    is_crashed: bool,
    holds: Vec<(CallKind, Moment, Arc<Hold>)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            plan: Box::new(|_| Verdict::Pass),
            drawn_from: None,
            calls: Default::default(),
            is_crashed: false,
            holds: Vec::new(),
        }
    }
}

impl<S: ObjectStorage> FaultyStorage<S> {
    /// Lets everything pass, until it is told otherwise.
    pub fn new(inner: S) -> Self {
        Self { inner, state: Arc::default(), world: Arc::default() }
    }

    /// The same storage for another process: everything passes, and nothing was called.
    pub fn another_client(&self) -> Self
    where
        S: Clone,
    {
        Self { inner: self.inner.clone(), state: Arc::default(), world: self.world.clone() }
    }

    /// The storage around which this is: what is there, whatever callers were told.
    ///
    /// What is late lands before a call: call [`land_due`](Self::land_due) before looking behind the calls.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Asks `plan` about every call from now on.
    pub fn plan(&self, plan: impl FnMut(&Call<'_>) -> Verdict + Send + 'static) {
        let mut state = self.state();
        state.plan = Box::new(plan);
        state.drawn_from = None;
    }

    /// Lets everything pass but the `nth` call from now, counted from 1.
    pub fn script(&self, nth: u64, verdict: Verdict) {
        let number = self.calls_total() + nth;
        self.plan(move |call| if call.number == number { verdict } else { Verdict::Pass });
    }

    /// Draws what becomes of each call from `seed`: the nth call from now always meets the same.
    ///
    /// Seed and rates are part of the storage's `Debug` text, and of the log at its beginning.
    pub fn seeded(&self, seed: u64, rates: FaultRates) {
        tracing::info!(seed, ?rates, "the storage fails as drawn from a seed");
        let random = Random::seeded(seed);
        self.plan(move |_| rates.draw(&random));
        self.state().drawn_from = Some((seed, rates));
    }

    /// How many calls there were, including those that failed.
    pub fn calls_total(&self) -> u64 {
        self.state().calls.iter().sum()
    }

    /// How many calls of one kind there were, including those that failed.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.state().calls[kind as usize]
    }

    /// Makes every call fail from now on, until [`revive`](Self::revive); those under way fail as well.
    pub fn crash(&self) {
        self.state().is_crashed = true;
    }

    /// Whether calls fail because of a crash.
    pub fn is_crashed(&self) -> bool {
        self.state().is_crashed
    }

    /// Ends a crash, and lets everything pass again.
    pub fn revive(&self) {
        self.plan(|_| Verdict::Pass);
        self.state().is_crashed = false;
    }

    /// Makes calls of one kind wait, until the guard is dropped.
    pub fn hold(&self, kind: CallKind, moment: Moment) -> HoldGuard {
        let hold = Hold::closed();
        let mut state = self.state();
        state.holds.retain(|(_, _, hold)| !hold.is_open());
        state.holds.push((kind, moment, hold.clone()));
        HoldGuard::of(hold)
    }

    /// Makes every put, of all clients, fail with [`Error::Full`] and without effect, until
    /// [`free_space`](Self::free_space). Reads and deletes go on.
    pub fn fill(&self) {
        self.world().fill();
    }

    /// Ends that the storage is full, however it began.
    pub fn free_space(&self) {
        self.world().free();
    }

    /// How many late effects, of all clients, have not landed.
    pub fn late_count(&self) -> usize {
        self.world().on_the_way()
    }

    /// Gives all late calls, of all clients, their effect, in the order in which they were made.
    ///
    /// Returns what they would have answered; nobody else hears of it.
    pub async fn land_late(&self) -> Vec<Result<()>> {
        let late = self.world().take_all();
        self.land(late).await
    }

    /// Gives those late calls their effect for which it is time, as every call does before its own effect.
    ///
    /// Returns what they would have answered; nobody else hears of it.
    pub async fn land_due(&self) -> Vec<Result<()>> {
        let due = self.world().take_due();
        self.land(due).await
    }

    async fn land(&self, effects: Vec<Effect>) -> Vec<Result<()>> {
        let mut answers = Vec::new();
        for effect in effects {
            answers.push(match effect {
                Effect::Put(key, _, _) if self.world().is_full() => Err(full(key.as_str())),
                Effect::Put(key, bytes, options) => self.inner.put(&key, bytes.into(), options).await,
                Effect::Delete(key) => self.inner.delete(&key).await,
            });
        }
        answers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the lock is never poisoned: no panic while it is held")
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("the lock is never poisoned: no panic while it is held")
    }

    /// Counts a call and asks the plan.
    fn begin(&self, kind: CallKind, name: &str) -> Verdict {
        self.world().count_call();
        let mut state = self.state();
        state.calls[kind as usize] += 1;
        if state.is_crashed {
            return Verdict::FailBefore;
        }
        let number = state.calls.iter().sum();
        (state.plan)(&Call { kind, name, number })
    }

    async fn wait(&self, kind: CallKind, moment: Moment, verdict: Verdict) {
        let matching = |hold: &&(CallKind, Moment, Arc<Hold>)| hold.0 == kind && hold.1 == moment;
        let holds: Vec<_> = self.state().holds.iter().filter(matching).map(|(_, _, hold)| hold.clone()).collect();
        for hold in holds {
            hold.pass().await;
        }
        match (moment, verdict) {
            (Moment::Before, Verdict::SlowBefore(time)) | (Moment::After, Verdict::SlowAfter(time)) => {
                tokio::time::sleep(time).await;
            }
            _ => {}
        }
    }

    /// Gives a call its effect and its answer.
    async fn carry_out<T>(
        &self,
        verdict: Verdict,
        kind: CallKind,
        name: &str,
        effect: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.wait(kind, Moment::Before, verdict).await;
        if verdict == Verdict::CrashBefore {
            self.crash();
        }
        if self.is_crashed() || has_no_effect(verdict, kind) {
            return Err(injected(kind, name));
        }
        // Before a crash after the effect: what is late arrives in any case.
        self.land_due().await;
        if let Verdict::Full(time) = verdict {
            self.world().fill_for(time);
        }
        if kind == CallKind::Put && (matches!(verdict, Verdict::Full(_)) || self.world().is_full()) {
            return Err(full(name));
        }
        if verdict == Verdict::CrashAfter {
            self.crash();
        }
        let answer = effect.await;
        self.wait(kind, Moment::After, verdict).await;
        if self.is_crashed() || verdict == Verdict::FailAfter { Err(injected(kind, name)) } else { answer }
    }
}

/// Whether a call fails at once, whatever it may do later.
fn has_no_effect(verdict: Verdict, kind: CallKind) -> bool {
    match verdict {
        Verdict::FailBefore => true,
        Verdict::TornBody => matches!(kind, CallKind::Head | CallKind::Delete),
        _ => is_late(verdict),
    }
}

fn is_late(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Late | Verdict::LateAfterCalls(_) | Verdict::LateAfter(_))
}

/// The source of every planned failure.
#[derive(Debug, thiserror::Error)]
#[error("injected by the faulty storage")]
struct Injected;

fn injected(kind: CallKind, name: &str) -> Error {
    let doing = match kind {
        CallKind::Head | CallKind::Get => "reading",
        CallKind::Put => "writing",
        CallKind::Delete => "deleting",
        CallKind::List => "listing",
    };
    Error::Unavailable { doing, name: name.to_owned(), source: Injected.into() }
}

/// What a full filesystem answers to a put.
fn full(name: &str) -> Error {
    Error::from_io(io::Error::new(io::ErrorKind::StorageFull, Injected), "writing", name)
}

/// The body of a put, and its options, after the damage.
async fn damaged(damage: Damage, key: &ObjectKey, body: Body, options: PutOptions) -> Result<(Body, PutOptions)> {
    if damage == Damage::Torn {
        // From a body of unknown length, the first piece is taken.
        let (stream, length) = match (body.into_bytes(), options.size) {
            (Ok(bytes), _) => (Body::from(bytes.clone()).into_stream(), bytes.len() as u64),
            (Err(body), PutSize::Exact(size)) => (body.into_stream(), size),
            (Err(body), PutSize::Unknown) => (body.into_stream().take(1).boxed(), u64::MAX),
        };
        return Ok((Body::stream(damage.done_to(stream, length, Injected.into())), options));
    }
    let bytes = damage.done_to_bytes(body.collect(key, options.size).await?);
    Ok((bytes.clone().into(), PutOptions { size: PutSize::Exact(bytes.len() as u64), ..options }))
}

#[async_trait]
impl<S: ObjectStorage + Clone> ObjectStorage for FaultyStorage<S> {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        let verdict = self.begin(CallKind::Head, key.as_str());
        self.carry_out(verdict, CallKind::Head, key.as_str(), self.inner.head(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        let verdict = self.begin(CallKind::Get, key.as_str());
        let Some(damage) = Damage::of_get(verdict) else {
            return self.carry_out(verdict, CallKind::Get, key.as_str(), self.inner.get(key, range)).await;
        };
        let object = self.carry_out(Verdict::Pass, CallKind::Get, key.as_str(), self.inner.get(key, range)).await?;
        let length = object.range.end - object.range.start;
        let stream = damage.done_to(object.stream, length, injected(CallKind::Get, key.as_str()));
        Ok(GetObject { stream, ..object })
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        let verdict = self.begin(CallKind::Put, key.as_str());
        if is_late(verdict) {
            let bytes = body.collect(key, options.size).await?;
            let options = PutOptions { size: PutSize::Exact(bytes.len() as u64), ..options };
            self.world().send(verdict, Effect::Put(key.clone(), bytes, options));
            return Err(injected(CallKind::Put, key.as_str()));
        }
        let (body, options) = match Damage::of_put(verdict) {
            Some(damage) => damaged(damage, key, body, options).await?,
            None => (body, options),
        };
        match self.carry_out(verdict, CallKind::Put, key.as_str(), self.inner.put(key, body, options)).await {
            // The caller's body was in order: to them, the connection broke.
            Err(Error::Body { source, .. }) if source.is::<Injected>() => Err(injected(CallKind::Put, key.as_str())),
            answer => answer,
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let verdict = self.begin(CallKind::Delete, key.as_str());
        if is_late(verdict) {
            self.world().send(verdict, Effect::Delete(key.clone()));
        }
        self.carry_out(verdict, CallKind::Delete, key.as_str(), self.inner.delete(key)).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let name = request.prefix.clone();
        let verdict = self.begin(CallKind::List, &name);
        let this = self.clone();
        let opened = async move {
            let breaks_off = matches!(verdict, Verdict::FailAfter | Verdict::TornBody | Verdict::CrashAfter);
            let verdict_of_opening = if breaks_off { Verdict::Pass } else { verdict };
            let inner = async { Ok(this.inner.list(request)) };
            let entries = this.carry_out(verdict_of_opening, CallKind::List, &name, inner).await?;
            if !breaks_off {
                return Ok::<_, Error>(entries);
            }
            if verdict == Verdict::CrashAfter {
                this.crash();
            }
            let fault = stream::iter([Err(injected(CallKind::List, &name))]);
            Ok(entries.take(1).chain(fault).boxed())
        };
        stream::once(opened).try_flatten().boxed()
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultyStorage<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drawn_from = self.state.lock().ok().and_then(|state| state.drawn_from);
        let mut text = f.debug_struct("FaultyStorage");
        text.field("inner", &self.inner);
        if let Some((seed, rates)) = drawn_from {
            text.field("seed", &seed).field("rates", &rates);
        }
        text.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
