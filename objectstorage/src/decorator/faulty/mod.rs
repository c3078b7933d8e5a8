//! How does a program behave whose storage fails? Feature `test-util`.
//!
//! A [`FaultyStorage`] asks a plan about every call: does it pass, does it fail, and if it fails, before its effect or
//! after it? Plans are scripted ("crash at call 17") or drawn from a seed; both replay.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{CallKind, random::Random};
use crate::{
    Body, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutOptions,
    PutSize, Result,
};

mod hold;

use hold::Hold;
pub use hold::{HoldGuard, Moment};

/// A call to a [`FaultyStorage`], as its plan sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// Which call it is.
    pub kind: CallKind,
    /// The key, or the prefix of a listing.
    pub name: &'a str,
    /// The number of this call among all calls, from 1.
    pub number: u64,
}

/// What becomes of a call. What fails, fails with [`Error::Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes through.
    Pass,
    /// It fails without effect.
    FailBefore,
    /// It has its effect and fails nevertheless: the reply is lost. A listing breaks off after its first entry, the
    /// stream of a get in the middle of its first piece.
    FailAfter,
    /// It fails, and a put or a delete has its effect later: at [`FaultyStorage::land_late`].
    Late,
    /// It fails without effect, and so does every call after it, until [`FaultyStorage::revive`].
    CrashBefore,
    /// It has its effect and fails, and every call after it fails without effect, until [`FaultyStorage::revive`].
    CrashAfter,
}

/// A storage that fails on purpose. Clones share their plan and their counts.
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
#[derive(Clone)]
pub struct FaultyStorage<S> {
    inner: S,
    state: Arc<Mutex<State>>,
}

type Plan = Box<dyn FnMut(&Call<'_>) -> Verdict + Send>;

struct State {
    plan: Plan,
    calls: [u64; CallKind::ALL.len()],
    is_crashed: bool,
    late: Vec<LateEffect>,
    holds: Vec<(CallKind, Moment, Arc<Hold>)>,
}

enum LateEffect {
    Put(ObjectKey, Bytes, PutOptions),
    Delete(ObjectKey),
}

impl<S: ObjectStorage> FaultyStorage<S> {
    /// Lets everything pass, until it is told otherwise.
    pub fn new(inner: S) -> Self {
        let state = State {
            plan: Box::new(|_| Verdict::Pass),
            calls: Default::default(),
            is_crashed: false,
            late: Vec::new(),
            holds: Vec::new(),
        };
        Self { inner, state: Arc::new(Mutex::new(state)) }
    }

    /// The storage around which this is: what is there, whatever callers were told.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Asks `plan` about every call from now on.
    pub fn plan(&self, plan: impl FnMut(&Call<'_>) -> Verdict + Send + 'static) {
        self.state().plan = Box::new(plan);
    }

    /// Lets everything pass but the `nth` call from now, counted from 1.
    pub fn script(&self, nth: u64, verdict: Verdict) {
        let number = self.calls_total() + nth;
        self.plan(move |call| if call.number == number { verdict } else { Verdict::Pass });
    }

    /// Fails `per_mille` of a thousand calls, half of them before their effect and half after it, drawn from `seed`.
    pub fn seeded(&self, seed: u64, per_mille: u64) {
        let random = Random::seeded(seed);
        self.plan(move |_| {
            let drawn = random.next();
            match drawn % 1_000 < per_mille {
                false => Verdict::Pass,
                true if drawn >> 63 == 0 => Verdict::FailBefore,
                true => Verdict::FailAfter,
            }
        });
    }

    /// How many calls there were, including those that failed.
    pub fn calls_total(&self) -> u64 {
        self.state().calls.iter().sum()
    }

    /// How many calls of one kind there were, including those that failed.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.state().calls[kind as usize]
    }

    /// Makes every call fail from now on, until [`revive`](Self::revive).
    pub fn crash(&self) {
        self.state().is_crashed = true;
    }

    /// Whether calls fail because of a crash.
    pub fn is_crashed(&self) -> bool {
        self.state().is_crashed
    }

    /// Ends a crash, and lets everything pass again.
    pub fn revive(&self) {
        let mut state = self.state();
        state.is_crashed = false;
        state.plan = Box::new(|_| Verdict::Pass);
    }

    /// Makes calls of one kind wait, until the guard is dropped.
    pub fn hold(&self, kind: CallKind, moment: Moment) -> HoldGuard {
        let hold = Hold::closed();
        let mut state = self.state();
        state.holds.retain(|(_, _, hold)| !hold.is_open());
        state.holds.push((kind, moment, hold.clone()));
        HoldGuard::of(hold)
    }

    /// Gives the calls that were [`Late`](Verdict::Late) their effect, in the order in which they were made.
    ///
    /// Returns what they would have answered; nobody else hears of it.
    pub async fn land_late(&self) -> Vec<Result<()>> {
        let late = std::mem::take(&mut self.state().late);
        let mut answers = Vec::new();
        for effect in late {
            answers.push(match effect {
                LateEffect::Put(key, bytes, options) => self.inner.put(&key, bytes.into(), options).await,
                LateEffect::Delete(key) => self.inner.delete(&key).await,
            });
        }
        answers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the lock is never poisoned: no panic while it is held")
    }

    /// Counts a call and asks the plan.
    fn begin(&self, kind: CallKind, name: &str) -> Verdict {
        let mut state = self.state();
        state.calls[kind as usize] += 1;
        if state.is_crashed {
            return Verdict::FailBefore;
        }
        let number = state.calls.iter().sum();
        (state.plan)(&Call { kind, name, number })
    }

    async fn wait(&self, kind: CallKind, moment: Moment) {
        let matching = |hold: &&(CallKind, Moment, Arc<Hold>)| hold.0 == kind && hold.1 == moment;
        let holds: Vec<_> = self.state().holds.iter().filter(matching).map(|(_, _, hold)| hold.clone()).collect();
        for hold in holds {
            hold.pass().await;
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
        self.wait(kind, Moment::Before).await;
        let fault = || injected(kind, name);
        if matches!(verdict, Verdict::CrashBefore) {
            self.crash();
        }
        if self.is_crashed() || matches!(verdict, Verdict::FailBefore | Verdict::Late) {
            return Err(fault());
        }
        if matches!(verdict, Verdict::CrashAfter) {
            self.crash();
        }
        let answer = effect.await;
        self.wait(kind, Moment::After).await;
        match verdict {
            Verdict::FailAfter | Verdict::CrashAfter => Err(fault()),
            _ => answer,
        }
    }
}

/// The error of every planned failure.
fn injected(kind: CallKind, name: &str) -> Error {
    let doing = match kind {
        CallKind::Head | CallKind::Get => "reading",
        CallKind::Put => "writing",
        CallKind::Delete => "deleting",
        CallKind::List => "listing",
    };
    Error::Unavailable { doing, name: name.to_owned(), source: "injected by the faulty storage".into() }
}

#[async_trait]
impl<S: ObjectStorage + Clone> ObjectStorage for FaultyStorage<S> {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        let verdict = self.begin(CallKind::Head, key.as_str());
        self.carry_out(verdict, CallKind::Head, key.as_str(), self.inner.head(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        let verdict = self.begin(CallKind::Get, key.as_str());
        if verdict != Verdict::FailAfter {
            return self.carry_out(verdict, CallKind::Get, key.as_str(), self.inner.get(key, range)).await;
        }
        let object = self.carry_out(Verdict::Pass, CallKind::Get, key.as_str(), self.inner.get(key, range)).await?;
        let fault = stream::iter([Err(injected(CallKind::Get, key.as_str()))]);
        let half = object.stream.take(1).try_filter_map(|piece| async move {
            let half = piece.slice(..piece.len() / 2);
            Ok((!half.is_empty()).then_some(half))
        });
        Ok(GetObject { stream: half.chain(fault).boxed(), ..object })
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        let verdict = self.begin(CallKind::Put, key.as_str());
        if verdict == Verdict::Late {
            let bytes = body.collect(key, options.size).await?;
            let options = PutOptions { size: PutSize::Exact(bytes.len() as u64), ..options };
            self.state().late.push(LateEffect::Put(key.clone(), bytes, options));
            return Err(injected(CallKind::Put, key.as_str()));
        }
        self.carry_out(verdict, CallKind::Put, key.as_str(), self.inner.put(key, body, options)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let verdict = self.begin(CallKind::Delete, key.as_str());
        if verdict == Verdict::Late {
            self.state().late.push(LateEffect::Delete(key.clone()));
        }
        self.carry_out(verdict, CallKind::Delete, key.as_str(), self.inner.delete(key)).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let name = request.prefix.clone();
        let verdict = self.begin(CallKind::List, &name);
        let this = self.clone();
        let opened = async move {
            let breaks_off = matches!(verdict, Verdict::FailAfter | Verdict::CrashAfter);
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
        f.debug_struct("FaultyStorage").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
