//! The durable data manager: a log in an object storage, and what it says in memory.
//!
//! The way of a write: [`commit`](DataManager::commit) encodes it and puts it in the [queue]; the [committer] takes
//! what waits, [plans](plan) a batch and writes it in the next [slot] of the log; then it is visible, and the caller
//! is answered. The way of a start is in [recovery].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use runyard_objectstorage::ObjectStorage;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Committed, DataManager, Error, Page, Position, Result, Scan, Snapshot, Transaction,
    coordinator::Coordinator,
    follow, limits,
    record::{Hash, Logged, encode_payload, framed_bytes},
    store::Store,
    system::{self, Internal, System},
    wal::{
        checkpoints::Current,
        log::FollowedLog,
        queue::{Answer, Queue, Submission},
        recovery::Source,
    },
};

mod builder;
mod callers;
mod checkpoints;
pub(crate) mod clean;
mod committer;
mod coordination;
pub(crate) mod floor;
pub(crate) mod format;
#[cfg(test)]
mod interleavings;
pub(crate) mod log;
mod maintenance;
mod owner;
mod pins;
mod plan;
mod queue;
mod recovery;
mod room;
mod slot;
mod stats;
mod status;
#[cfg(test)]
mod tests;
pub(crate) mod transfer;
mod uptime;
mod verify;

pub use builder::WalBuilder;
pub use checkpoints::Checkpoint;
pub use pins::CheckpointPin;
pub use stats::{CollectionStats, Stats};
pub use status::Status;
pub use transfer::Imported;
#[cfg(feature = "test-util")]
pub use uptime::VirtualUptime;
pub use uptime::{SystemUptime, Uptime};
pub use verify::{Damaged, Report, verify};

/// How often a transaction is checked against a newer checkpoint, because that came while the transaction was queued,
/// before its reads count as too old.
const HAND_BACKS_MAX: usize = 8;

/// A [`DataManager`] whose durable home is an object storage. Clones are cheap handles of the same one.
///
/// Opening it spawns two tasks, the committer and the one that makes checkpoints and cleans; they end by
/// [`close`](Self::close), or after the last handle was dropped and what was queued is committed. Several processes may open one store: the log decides between them.
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
    source: Source,
    genesis: Hash,
    current: Arc<Current>,
    /// For those who want a checkpoint now; closed if the store was opened read-only.
    checkpoints: mpsc::Sender<checkpoints::Request>,
    data_file_size_max: u64,
    read_only: bool,
    commit_timeout: Duration,
    /// Cancelled when the committer has ended.
    stopped: CancellationToken,
    /// Kept for what it holds.
    _coordinator: Option<Arc<dyn Coordinator>>,
}

impl Handle {
    /// Has a transaction committed, after it was checked against what the checkpoint covers.
    async fn commit(&self, mut submission: Submission, deadline: Instant) -> Result<Position> {
        for _ in 0..HAND_BACKS_MAX {
            self.readable(self.store.check_below(&mut submission.0).await).await?;
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

impl Handle {
    /// Hands on what a read has brought. If that is that the checkpoint which is read from was cleaned away, because
    /// others have made newer ones, the newest one is gone over to first: a new snapshot can be read then.
    async fn readable<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::PositionExpired { position, .. }) = &result
            && self.store.note_gone(*position)
            && let Ok(done) = self.queue.catch_up()
        {
            // Where it fails, the next read tries it again.
            let _ = done.await;
        }
        result
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl WalDataManager {
    /// Begins to open a store in a storage.
    pub fn builder(storage: Arc<dyn ObjectStorage>) -> WalBuilder {
        WalBuilder::new(storage)
    }

    /// Makes everything visible that other processes have committed until now: one read, one for each batch, and at
    /// most every ten seconds one more.
    ///
    /// Where the log between was cleaned meanwhile, the newest checkpoint becomes visible instead of it; followers that
    /// were there get [`Error::PositionExpired`].
    pub async fn catch_up(&self) -> Result<()> {
        let answer = self.handle.queue.catch_up()?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// What was visible at a position, held readable as long as the snapshot lives.
    ///
    /// What is no longer in memory is read back: the newest checkpoint at or before the position, and the log after it
    /// up to there.
    ///
    /// # Errors
    /// [`Error::PositionExpired`] if that was cleaned; [`Error::Refused`] if the position does not exist.
    pub async fn snapshot_at(&self, position: Position) -> Result<Snapshot> {
        if position > self.handle.store.position() {
            self.catch_up().await?;
        }
        let handle = &self.handle;
        match handle.store.snapshot_at(position) {
            Err(Error::PositionExpired { .. }) => {}
            result => return result,
        }
        let past = recovery::read_back(&handle.source, position, handle.genesis).await?;
        handle.current.pins.add(&past.base);
        if past.store.position() != position {
            let reason = format!("there is no transaction at position {position}");
            return Err(Error::Refused { reason });
        }
        Ok(past.store.lend(&handle.store))
    }

    /// A hash over all entries of a snapshot, equal for equal content.
    pub async fn state_hash(&self, at: &Snapshot) -> Result<[u8; 32]> {
        self.handle.readable(self.handle.store.state_hash(at).await).await
    }

    /// Commits a transaction that may name the store's own collections.
    async fn commit_unchecked(&self, transaction: Transaction) -> Result<Position> {
        let handle = &*self.handle;
        if transaction.changes_nothing() {
            if transaction.reads.position > handle.store.position() {
                self.catch_up().await?;
            }
            return handle.readable(handle.store.check_alone(transaction.reads).await).await;
        }
        if handle.read_only {
            return Err(opened_read_only());
        }
        let payload = encode_payload(&transaction);
        limits::check_size(framed_bytes(payload.len()))?;
        let Transaction { reads, actions } = transaction;
        let logged = Logged::new(Position::ZERO, reads.groups.clone(), actions);
        let deadline = Instant::now() + handle.commit_timeout;
        handle.commit((reads, logged, payload), deadline).await
    }

    /// Makes a checkpoint of everything that is visible, if the newest one does not contain it already.
    ///
    /// Checkpoints are made by themselves when they are due; see [`WalBuilder::checkpoint_log_bytes`].
    ///
    /// # Errors
    /// What the storage reports; what is in memory stays there, and it is tried again. [`Error::Refused`] if the store
    /// was opened read-only.
    ///
    /// # Cancel safety
    /// The checkpoint is made all the same.
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        if self.handle.read_only {
            return Err(opened_read_only());
        }
        let (request, answer) = oneshot::channel();
        self.handle.checkpoints.send(request).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Keeps the newest checkpoint whole, as long as the pin lives: its data files, and the log after it.
    pub fn pin_checkpoint(&self) -> CheckpointPin {
        CheckpointPin::new(self.handle.store.base())
    }

    /// How the store is doing.
    pub fn status(&self) -> Status {
        let status = self.handle.current.board.watch().borrow().clone();
        Status { queue_bytes: self.handle.queue.bytes(), ..status }
    }

    /// How the store is doing, and news of it; but for what waits to be committed, which only
    /// [`status`](Self::status) says.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.handle.current.board.watch()
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
        self.handle.readable(self.handle.store.get(at, collection, key).await).await
    }

    async fn scan(&self, at: &Snapshot, scan: &Scan) -> Result<Page> {
        limits::check_visible(&scan.collection)?;
        self.handle.readable(self.handle.store.scan(at, scan).await).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Position> {
        limits::check(&transaction)?;
        self.commit_unchecked(transaction).await
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Result<Committed>> {
        let log = FollowedLog {
            floor: self.handle.source.floor.clone(),
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
            () = follow::wait_for(&self.handle.store, position) => Ok(()),
            () = self.handle.stopped.cancelled() => Err(Error::Closed),
        }
    }

    fn system(&self, _: Internal) -> Option<&dyn System> {
        Some(self)
    }
}

#[async_trait]
impl System for WalDataManager {
    async fn get_own(&self, at: &Snapshot, key: &[u8]) -> Result<Option<Bytes>> {
        self.handle.readable(self.handle.store.get(at, system::SYSTEM, key).await).await
    }

    async fn commit_own(&self, transaction: Transaction) -> Result<Position> {
        self.commit_unchecked(transaction).await
    }
}

fn opened_read_only() -> Error {
    Error::Refused { reason: "the store was opened read-only: open it without that to write".to_owned() }
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
