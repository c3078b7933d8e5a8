//! A data manager without a storage, for tests and for services that need not survive their process.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    Committed, DataManager, Page, Position, Result, Scan, Snapshot, Transaction, follow,
    history::TRANSACTIONS_KEPT,
    limits,
    record::{Logged, encode_payload, framed_bytes},
    store::{Batch, Store},
    system::{self, Internal, System},
};

/// A [`DataManager`] that keeps everything in memory, for ever: followers can begin at any position.
///
/// Its rules are those of the durable one: the same conflicts, the same refusals. Clones are the same store.
///
/// ```
/// use runyard_datamanager::{Collection, DataManager, DataManagerExt, Error, MemoryDataManager};
///
/// const COUNTERS: Collection<u64> = Collection::new("counters");
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let data = MemoryDataManager::new();
/// let (next, _) = data
///     .transact(async |tx| {
///         let next = tx.get(&COUNTERS, "builds").await?.unwrap_or(0) + 1;
///         tx.put(&COUNTERS, "builds", &next).await?;
///         Ok::<_, Error>(next)
///     })
///     .await?;
/// assert_eq!(data.read(&data.snapshot(), &COUNTERS, "builds").await?, Some(next));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryDataManager {
    store: Arc<Store>,
}

impl MemoryDataManager {
    /// An empty store.
    pub fn new() -> Self {
        Self { store: Store::in_memory(TRANSACTIONS_KEPT, usize::MAX) }
    }

    /// A hash over all entries of a snapshot, equal for equal content.
    pub async fn state_hash(&self, at: &Snapshot) -> Result<[u8; 32]> {
        self.store.state_hash(at).await
    }
}

impl Default for MemoryDataManager {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl DataManager for MemoryDataManager {
    fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    async fn get(&self, at: &Snapshot, collection: &str, key: &[u8]) -> Result<Option<Bytes>> {
        limits::check_visible(collection)?;
        self.store.get(at, collection, key).await
    }

    async fn scan(&self, at: &Snapshot, scan: &Scan) -> Result<Page> {
        limits::check_visible(&scan.collection)?;
        self.store.scan(at, scan).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Position> {
        limits::check(&transaction)?;
        self.commit_own(transaction).await
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Result<Committed>> {
        follow::follow(Arc::clone(&self.store), after, follow::NoLog)
    }

    async fn wait_for(&self, position: Position) -> Result<()> {
        follow::wait_for(&self.store, position).await;
        Ok(())
    }

    fn system(&self, _: Internal) -> Option<&dyn System> {
        Some(self)
    }
}

#[async_trait]
impl System for MemoryDataManager {
    async fn get_own(&self, at: &Snapshot, key: &[u8]) -> Result<Option<Bytes>> {
        self.store.get(at, system::SYSTEM, key).await
    }

    async fn commit_own(&self, transaction: Transaction) -> Result<Position> {
        limits::check_size(framed_bytes(encode_payload(&transaction).len()))?;
        if transaction.changes_nothing() {
            return self.store.check_alone(transaction.reads).await;
        }
        let Transaction { reads, actions } = transaction;
        let mut logged = Logged::new(Position::ZERO, reads.groups.clone(), actions);
        self.store.commit_alone(&reads, |position| {
            logged.place(position);
            Batch::new(position.lsn, [0; 32], vec![logged])
        })
    }
}
