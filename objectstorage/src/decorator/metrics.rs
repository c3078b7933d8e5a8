//! What does a storage cost? Calls and bytes, counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use super::CallKind;
use crate::{
    Body, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutOptions, Result,
};

/// A storage that counts the calls to another one. Clones share their counters.
///
/// ```
/// use runyard_objectstorage::{CallKind, MemoryStorage, MetricsStorage, ObjectKey, ObjectStorageExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> runyard_objectstorage::Result<()> {
/// let storage = MetricsStorage::new(MemoryStorage::new());
/// let before = storage.metrics();
/// storage.exists(&ObjectKey::parse("a")?).await?;
/// assert_eq!(storage.metrics().since(&before).calls(CallKind::Head), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MetricsStorage<S> {
    inner: S,
    counters: Arc<Counters>,
}

/// What was counted up to one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    calls: [u64; CallKind::ALL.len()],
    /// Calls that returned an error, whichever; of listings, those that broke off.
    pub errors: u64,
    /// Bytes of objects that callers took out of streams.
    pub bytes_read: u64,
    /// Bytes of bodies that the storage took in, whether the write succeeded or not.
    pub bytes_written: u64,
}

#[derive(Debug, Default)]
struct Counters {
    calls: [AtomicU64; CallKind::ALL.len()],
    errors: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

impl Metrics {
    /// Calls of one kind.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.calls[kind as usize]
    }

    /// Calls of every kind.
    pub fn calls_total(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// What was counted since `earlier`, which was taken from the same storage.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: std::array::from_fn(|kind| self.calls[kind] - earlier.calls[kind]),
            errors: self.errors - earlier.errors,
            bytes_read: self.bytes_read - earlier.bytes_read,
            bytes_written: self.bytes_written - earlier.bytes_written,
        }
    }
}

impl Counters {
    fn called(&self, kind: CallKind) {
        add(&self.calls[kind as usize], 1);
    }

    fn answered<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            add(&self.errors, 1);
        }
        result
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl<S: ObjectStorage> MetricsStorage<S> {
    /// Counts what goes to `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, counters: Arc::default() }
    }

    /// The storage around which this is.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What was counted up to now.
    pub fn metrics(&self) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            calls: std::array::from_fn(|kind| read(&self.counters.calls[kind])),
            errors: read(&self.counters.errors),
            bytes_read: read(&self.counters.bytes_read),
            bytes_written: read(&self.counters.bytes_written),
        }
    }

    /// The body, counted while it is read.
    fn count_body(&self, body: Body) -> Body {
        match body.into_bytes() {
            Ok(bytes) => {
                add(&self.counters.bytes_written, bytes.len() as u64);
                Body::from(bytes)
            }
            Err(body) => {
                let counters = self.counters.clone();
                Body::stream(
                    body.into_stream().inspect_ok(move |piece| add(&counters.bytes_written, piece.len() as u64)),
                )
            }
        }
    }
}

#[async_trait]
impl<S: ObjectStorage> ObjectStorage for MetricsStorage<S> {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.counters.called(CallKind::Head);
        self.counters.answered(self.inner.head(key).await)
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        self.counters.called(CallKind::Get);
        let object = self.counters.answered(self.inner.get(key, range).await)?;
        let counters = self.counters.clone();
        let count = move |piece: Result<Bytes>| {
            let piece = counters.answered(piece)?;
            add(&counters.bytes_read, piece.len() as u64);
            Ok(piece)
        };
        Ok(GetObject { stream: object.stream.map(count).boxed(), ..object })
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        self.counters.called(CallKind::Put);
        let body = self.count_body(body);
        self.counters.answered(self.inner.put(key, body, options).await)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.counters.called(CallKind::Delete);
        self.counters.answered(self.inner.delete(key).await)
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        self.counters.called(CallKind::List);
        let counters = self.counters.clone();
        self.inner.list(request).map(move |entry| counters.answered(entry)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::{MemoryStorage, ObjectStorageExt, PutMode};

    #[tokio::test]
    async fn calls_errors_and_bytes_are_counted() {
        let storage = MetricsStorage::new(MemoryStorage::new());
        let key = ObjectKey::parse("k").unwrap();
        storage.put_bytes(&key, "1234".into(), PutMode::Create).await.unwrap();
        storage.put_bytes(&key, "1234".into(), PutMode::Create).await.unwrap_err();
        let body = Body::stream(stream::iter([Ok("56".into()), Ok("7".into())]));
        storage.put(&key, body, PutOptions::default()).await.unwrap();
        let before_reads = storage.metrics();
        assert_eq!(before_reads.calls(CallKind::Put), 3);
        assert_eq!((before_reads.errors, before_reads.bytes_written), (1, 11));
        storage.get_bytes(&key).await.unwrap();
        storage.list_objects("").await.unwrap();
        storage.delete(&key).await.unwrap();
        storage.head(&key).await.unwrap_err();
        let reads = storage.clone().metrics().since(&before_reads);
        assert_eq!(reads.calls, [1, 1, 0, 1, 1]);
        assert_eq!((reads.calls_total(), reads.errors, reads.bytes_read, reads.bytes_written), (4, 1, 3, 0));
    }
}
