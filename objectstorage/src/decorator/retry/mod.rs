//! How does a short outage go unnoticed? The call is made again, where that is harmless.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};

use super::{CallKind, random::Random};
use crate::{
    Body, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutMode,
    PutOptions, Result,
};

/// How often, and after how long, a call is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySettings {
    /// How often a call is made at most, the first time included; default 5.
    pub attempts_max: u32,
    /// What is waited after the first attempt at most, doubled after each further one; default 100 ms.
    pub delay_first: Duration,
    /// What is waited between two attempts at most; default 10 s.
    pub delay_max: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { attempts_max: 5, delay_first: Duration::from_millis(100), delay_max: Duration::from_secs(10) }
    }
}

/// A storage that makes failed calls again, if [`Error::is_retryable`]. Clones share their source of jitter.
///
/// Only what is harmless is repeated:
///
/// | call | is repeated |
/// |---|---|
/// | `head`, `get` until it has returned, `delete` | always |
/// | `list` | always; it goes on after the last entry, and each entry begins the count of attempts anew |
/// | `put` that overwrites, body in memory | always |
/// | `put` that creates, body in memory | after [`Error::Full`], which wrote nothing |
/// | `put` of a streamed body | never: it cannot be read twice |
/// | the stream of a `get` | never: the object may have been replaced meanwhile |
///
/// A create whose reply was lost is not repeated, because it could meet its own object and take it for somebody
/// else's; the error is the caller's, who can read the object and knows whether it is theirs. An overwrite or a delete
/// whose reply was lost can take effect twice, and undo what another writer did to the same key in between: where keys
/// have several writers, they create.
///
/// Between two attempts, it waits half of a time that doubles, and a random part of the other half.
///
/// # Cancel safety
/// Dropping a call ends its attempts.
///
/// ```
/// use runyard_objectstorage::{
///     FaultyStorage, MemoryStorage, ObjectKey, ObjectStorageExt, RetrySettings, RetryStorage, Verdict,
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> runyard_objectstorage::Result<()> {
/// let unreliable = FaultyStorage::new(MemoryStorage::new());
/// unreliable.script(1, Verdict::FailBefore);
/// let storage = RetryStorage::new(unreliable, RetrySettings::default());
/// assert!(!storage.exists(&ObjectKey::parse("a")?).await?);
/// assert_eq!(storage.inner().calls_total(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RetryStorage<S> {
    inner: Arc<S>,
    settings: RetrySettings,
    random: Arc<Random>,
}

impl<S> Clone for RetryStorage<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: self.settings, random: self.random.clone() }
    }
}

impl<S: ObjectStorage> RetryStorage<S> {
    /// Repeats calls to `inner`, with a jitter of its own.
    pub fn new(inner: S, settings: RetrySettings) -> Self {
        Self::with_seed(inner, settings, RandomState::new().hash_one(0))
    }

    /// The same with a jitter that replays.
    pub fn with_seed(inner: S, settings: RetrySettings, seed: u64) -> Self {
        Self { inner: Arc::new(inner), settings, random: Arc::new(Random::seeded(seed)) }
    }

    /// The storage around which this is.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    async fn repeat<T, F>(&self, kind: CallKind, name: &str, repeatable: Repeatable, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempts = 1;
        loop {
            match call().await {
                Err(error) if repeatable.after(&error) && attempts < self.settings.attempts_max => {
                    self.wait(kind, name, &error, attempts).await;
                    attempts += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn wait(&self, kind: CallKind, name: &str, error: &Error, attempts: u32) {
        let delay = self.settings.delay(attempts, self.random.next());
        tracing::debug!(?kind, name, attempts, ?delay, %error, "a call to the storage is made again");
        tokio::time::sleep(delay).await;
    }
}

/// When a call may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeatable {
    Always,
    /// Only if it certainly had no effect.
    WithoutEffect,
}

impl Repeatable {
    fn put(mode: PutMode) -> Self {
        match mode {
            PutMode::Overwrite => Self::Always,
            PutMode::Create => Self::WithoutEffect,
        }
    }

    fn after(self, error: &Error) -> bool {
        match self {
            Self::Always => error.is_retryable(),
            Self::WithoutEffect => matches!(error, Error::Full { .. }),
        }
    }
}

impl RetrySettings {
    /// What is waited after so many attempts; `random` is drawn from all numbers.
    fn delay(&self, attempts: u32, random: u64) -> Duration {
        let doubled = 1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
        let half = self.delay_first.saturating_mul(doubled).min(self.delay_max) / 2;
        half + half.mul_f64(random as f64 / u64::MAX as f64)
    }
}

#[async_trait]
impl<S: ObjectStorage> ObjectStorage for RetryStorage<S> {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.repeat(CallKind::Head, key.as_str(), Repeatable::Always, || self.inner.head(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        self.repeat(CallKind::Get, key.as_str(), Repeatable::Always, || self.inner.get(key, range)).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        let bytes = match body.into_bytes() {
            Ok(bytes) => bytes,
            Err(streamed) => return self.inner.put(key, streamed, options).await,
        };
        let call = || self.inner.put(key, bytes.clone().into(), options);
        self.repeat(CallKind::Put, key.as_str(), Repeatable::put(options.mode), call).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.repeat(CallKind::Delete, key.as_str(), Repeatable::Always, || self.inner.delete(key)).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let entries = self.inner.list(request.clone());
        let listing = Listing { storage: self.clone(), request, entries, last: None, attempts: 1 };
        stream::try_unfold(listing, |mut listing| async move {
            Ok(listing.next().await.transpose()?.map(|entry| (entry, listing)))
        })
        .boxed()
    }
}

/// A listing that goes on where it broke off.
struct Listing<S> {
    storage: RetryStorage<S>,
    request: ListRequest,
    entries: BoxStream<'static, Result<ListEntry>>,
    /// The name of the last entry that was handed out.
    last: Option<String>,
    /// How often the entry after it was asked for.
    attempts: u32,
}

impl<S: ObjectStorage> Listing<S> {
    async fn next(&mut self) -> Option<Result<ListEntry>> {
        loop {
            match self.entries.next().await? {
                // A prefix is listed again, because there are keys below it that come after it.
                Ok(entry) if self.last.as_deref() == Some(entry.name()) => {}
                Ok(entry) => {
                    self.last = Some(entry.name().to_owned());
                    self.attempts = 1;
                    return Some(Ok(entry));
                }
                Err(error) if error.is_retryable() && self.attempts < self.storage.settings.attempts_max => {
                    self.storage.wait(CallKind::List, &self.request.prefix, &error, self.attempts).await;
                    self.attempts += 1;
                    let start_after = self.last.clone().or_else(|| self.request.start_after.clone());
                    self.entries = self.storage.inner.list(ListRequest { start_after, ..self.request.clone() });
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
