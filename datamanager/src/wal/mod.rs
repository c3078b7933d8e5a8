//! The durable data manager: a log in an object storage, and what it says in memory.
//!
//! The way of a write: [`commit`](DataManager::commit) encodes it and puts it in the [queue]; the [committer] takes
//! what waits, [plans](plan) a batch and writes it in the next [slot] of the log; then it is visible, and the caller
//! is answered. The way of a start is in [recovery].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rand::{TryRng, rngs::SysRng};
use runyard_objectstorage::ObjectStorage;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Committed, DataManager, Error, Page, Position, Result, Scan, Snapshot, Transaction,
    base::Base,
    coordinator::Coordinator,
    follow,
    history::TRANSACTIONS_KEPT,
    layout::Layout,
    limits,
    manifest::Manifest,
    record::{BatchId, Logged, encode_payload, framed_bytes},
    store::Store,
    wal::{
        committer::Committer,
        log::{FollowedLog, LogObjects},
        queue::{Answer, Queue, Submission},
    },
};

mod committer;
mod format;
mod log;
mod plan;
mod queue;
mod recovery;
mod slot;

/// How often a transaction is checked against a newer checkpoint, because that came while the transaction was queued,
/// before its reads count as too old.
const HAND_BACKS_MAX: usize = 8;

/// A [`DataManager`] whose durable home is an object storage. Clones are cheap handles of the same one.
///
/// Opening it spawns one task, the committer; it ends by [`close`](Self::close), or after the last handle was dropped
/// and what was queued is committed. Several processes may open one store: the log decides between them.
///
/// ```
/// use std::sync::Arc;
///
/// use runyard_datamanager::{Collection, DataManager, DataManagerExt, Error, WalDataManager};
/// use runyard_objectstorage::MemoryStorage;
///
/// const NAMES: Collection<String> = Collection::new("names");
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let storage = Arc::new(MemoryStorage::new());
/// let data = WalDataManager::builder(storage).base_path("rundata").open().await?;
/// data.transact(async |tx| tx.put(&NAMES, "1", &"first".to_owned()).await).await?;
/// assert_eq!(data.read(&data.snapshot(), &NAMES, "1").await?.as_deref(), Some("first"));
/// data.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WalDataManager {
    handle: Arc<Handle>,
}

/// Dropped with the last handle.
#[derive(Debug)]
struct Handle {
    store: Arc<Store>,
    queue: Arc<Queue>,
    log: LogObjects,
    commit_timeout: Duration,
    /// Cancelled when the committer has ended.
    stopped: CancellationToken,
    coordinator: Option<Arc<dyn Coordinator>>,
}

impl Handle {
    /// Has a transaction committed, after it was checked against what the checkpoint covers.
    async fn commit(&self, mut submission: Submission, deadline: Instant) -> Result<Position> {
        for _ in 0..HAND_BACKS_MAX {
            self.store.check_below(&mut submission.0).await?;
            let answer = self.queue.push(submission, deadline).await?;
            match answer.await {
                Ok(Answer::Finished(result)) => return result,
                Ok(Answer::HandedBack(again)) => submission = again,
                Err(_) => return Err(committer_is_gone()),
            }
        }
        let (position, oldest) = (submission.0.position, self.store.base().position());
        Err(Error::PositionExpired { position, oldest })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// How a [`WalDataManager`] is opened; made by [`WalDataManager::builder`].
#[derive(Debug)]
pub struct WalBuilder {
    storage: Arc<dyn ObjectStorage>,
    base_path: String,
    commit_timeout: Duration,
    queue_bytes_max: usize,
    recent_bytes_max: usize,
    history_transactions_max: u64,
    writer_id: Option<[u8; 16]>,
    coordinator: Option<Arc<dyn Coordinator>>,
}

impl WalBuilder {
    /// Where in the storage the store is; the default is its root. Nothing outside is written, read or listed.
    #[must_use]
    pub fn base_path(mut self, base_path: impl Into<String>) -> Self {
        self.base_path = base_path.into();
        self
    }

    /// How long a commit waits for a storage that is unavailable or full; the default is 30 s.
    #[must_use]
    pub fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.commit_timeout = timeout;
        self
    }

    /// How many bytes of transactions may wait before further commits wait for room; the default is 16 MiB.
    #[must_use]
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.queue_bytes_max = bytes;
        self
    }

    /// How many bytes of recent batches are kept in memory for followers; the default is 16 MiB. What is older is read
    /// from the log.
    #[must_use]
    pub fn recent_bytes_max(mut self, bytes: usize) -> Self {
        self.recent_bytes_max = bytes;
        self
    }

    /// How many transactions are remembered to find conflicts; the default is 1,000,000. A transaction that read
    /// before them must read again.
    #[must_use]
    pub fn history_transactions_max(mut self, transactions: usize) -> Self {
        self.history_transactions_max = transactions as u64;
        self
    }

    /// The id that this writer marks its batches with. By default it is drawn from the operating system; only a test
    /// that wants to be repeatable gives one, and never the same one to two openings.
    #[must_use]
    pub fn writer_id(mut self, id: [u8; 16]) -> Self {
        self.writer_id = Some(id);
        self
    }

    /// Whose hints to follow. It is kept as long as the data manager, and with it what it holds.
    #[must_use]
    pub fn coordinator(mut self, coordinator: Arc<dyn Coordinator>) -> Self {
        self.coordinator = Some(coordinator);
        self
    }

    /// Opens the store, or makes a new one, and reads its log.
    ///
    /// Must be called in a Tokio runtime; the committer runs in it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names a damaged or missing object, [`Error::FormatVersion`] a store of another version.
    pub async fn open(self) -> Result<WalDataManager> {
        let writer = match self.writer_id {
            Some(id) => id,
            None => draw_id()?,
        };
        let log = LogObjects { storage: self.storage, layout: Layout::new(&self.base_path)? };
        let store = Store::new(
            Base::new(Arc::new(Manifest::empty([0; 32]))),
            self.history_transactions_max,
            self.recent_bytes_max,
        );
        let tip = recovery::recover(&log, &store, writer).await?;
        let queue = Arc::new(Queue::new(self.queue_bytes_max));
        let committer = Committer {
            log: log.clone(),
            store: Arc::clone(&store),
            queue: Arc::clone(&queue),
            tip,
            id: BatchId { writer, number: 0 },
            foreign_lsn: None,
            put_took: Duration::ZERO,
        };
        let stopped = CancellationToken::new();
        let stops = stopped.clone().drop_guard();
        tokio::spawn(async move {
            let _stops = stops;
            committer.run().await;
        });
        let (commit_timeout, coordinator) = (self.commit_timeout, self.coordinator);
        Ok(WalDataManager { handle: Arc::new(Handle { store, queue, log, commit_timeout, stopped, coordinator }) })
    }
}

fn draw_id() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    SysRng.try_fill_bytes(&mut id).map_err(|source| {
        Error::storage("drawing the id of the writer")(runyard_objectstorage::Error::Unusable {
            message: "the operating system gives no random bytes".to_owned(),
            source: Some(source.into()),
        })
    })?;
    Ok(id)
}

impl WalDataManager {
    /// Begins to open a store in a storage.
    pub fn builder(storage: Arc<dyn ObjectStorage>) -> WalBuilder {
        WalBuilder {
            storage,
            base_path: String::new(),
            commit_timeout: Duration::from_secs(30),
            queue_bytes_max: 16 << 20,
            recent_bytes_max: 16 << 20,
            history_transactions_max: TRANSACTIONS_KEPT,
            writer_id: None,
            coordinator: None,
        }
    }

    /// Makes everything visible that other processes have committed until now: one read, and one for each batch.
    pub async fn catch_up(&self) -> Result<()> {
        let answer = self.handle.queue.catch_up()?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// What was visible at a position, held readable as long as the snapshot lives.
    ///
    /// # Errors
    /// [`Error::PositionExpired`] if some of it was overwritten since, while no snapshot held it;
    /// [`Error::Refused`] if the position does not exist.
    pub async fn snapshot_at(&self, position: Position) -> Result<Snapshot> {
        if position > self.handle.store.position() {
            self.catch_up().await?;
        }
        self.handle.store.snapshot_at(position)
    }

    /// A hash over all entries of a snapshot, equal for equal content.
    pub async fn state_hash(&self, at: &Snapshot) -> Result<[u8; 32]> {
        self.handle.store.state_hash(at).await
    }

    /// Commits a transaction that may name the store's own collections.
    async fn commit_unchecked(&self, transaction: Transaction) -> Result<Position> {
        let handle = &*self.handle;
        if transaction.changes_nothing() {
            if transaction.reads.position > handle.store.position() {
                self.catch_up().await?;
            }
            return handle.store.check_alone(transaction.reads).await;
        }
        let payload = encode_payload(&transaction);
        limits::check_size(framed_bytes(payload.len()))?;
        let Transaction { reads, actions } = transaction;
        let logged = Logged::new(Position::ZERO, reads.groups.clone(), actions);
        let deadline = Instant::now() + handle.commit_timeout;
        let position = handle.commit((reads, logged, payload), deadline).await?;
        if let Some(coordinator) = &handle.coordinator {
            coordinator.announce(position.lsn);
        }
        Ok(position)
    }

    /// Takes no more commits, finishes those that were accepted, and ends the committer and all followers. Reads go on.
    pub async fn close(&self) {
        self.handle.queue.close();
        self.handle.stopped.cancelled().await;
    }
}

#[async_trait]
impl DataManager for WalDataManager {
    fn snapshot(&self) -> Snapshot {
        self.handle.store.snapshot()
    }

    async fn get(&self, at: &Snapshot, collection: &str, key: &[u8]) -> Result<Option<Bytes>> {
        limits::check_visible(collection)?;
        self.handle.store.get(at, collection, key).await
    }

    async fn scan(&self, at: &Snapshot, scan: &Scan) -> Result<Page> {
        limits::check_visible(&scan.collection)?;
        self.handle.store.scan(at, scan).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Position> {
        limits::check(&transaction)?;
        self.commit_unchecked(transaction).await
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Result<Committed>> {
        let log = FollowedLog {
            objects: self.handle.log.clone(),
            store: Arc::clone(&self.handle.store),
            stopped: self.handle.stopped.clone(),
        };
        follow::follow(Arc::clone(&self.handle.store), after, log)
    }

    async fn wait_for(&self, position: Position) -> Result<()> {
        if self.handle.store.position() >= position {
            return Ok(());
        }
        // A position that was acknowledged anywhere is in the log.
        self.catch_up().await?;
        tokio::select! {
            biased;
            result = follow::wait_for(&self.handle.store, position) => result,
            () = self.handle.stopped.cancelled() => Err(Error::Closed),
        }
    }
}

/// The committer ended without an answer, because its runtime did: its last put may have been written.
fn committer_is_gone() -> Error {
    Error::OutcomeUnknown {
        source: Arc::new(runyard_objectstorage::Error::Unusable {
            message: "the runtime that the data manager was opened in has ended".to_owned(),
            source: None,
        }),
    }
}

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;
