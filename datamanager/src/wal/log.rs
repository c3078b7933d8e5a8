//! How is one batch of the log read?

use std::sync::Arc;

use futures::future::BoxFuture;
use runyard_objectstorage::{GetRange, ObjectStorage, ObjectStorageExt};
use tokio_util::sync::CancellationToken;

use crate::{
    BATCH_BYTES_MAX, Error, Position, Result,
    broken::{self, Broken},
    follow::Log,
    layout::Layout,
    record::{BatchId, Hash, Logged, decode_batch},
    store::{Batch, Store},
    wal::floor::FloorWatch,
};

/// A batch that is longer is decoded by another thread, so that several can be at once: its hash takes time.
const DECODED_HERE_MAX: usize = 64 << 10;

/// The log objects of a store.
#[derive(Clone, Debug)]
pub(crate) struct LogObjects {
    pub(crate) storage: Arc<dyn ObjectStorage>,
    pub(crate) layout: Layout,
}

/// A batch of the log, checked but for its place in the chain.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) lsn: u64,
    pub(crate) id: BatchId,
    pub(crate) previous: Hash,
    pub(crate) hash: Hash,
    /// How long the object is.
    pub(crate) bytes: usize,
    transactions: Vec<Logged>,
}

impl Found {
    pub(crate) fn into_batch(self) -> Batch {
        Batch::new(self.lsn, self.hash, self.transactions)
    }
}

impl LogObjects {
    /// Reads a batch; none if it does not exist.
    pub(crate) async fn read(&self, lsn: u64) -> Result<Option<Found>> {
        let key = self.layout.log(lsn);
        // A batch is never longer, so that a stray large object cannot fill the memory.
        let range = GetRange::Bounded { start: 0, end: BATCH_BYTES_MAX as u64 + 1 };
        let bytes = match self.storage.get_range_bytes(&key, range).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() || broken::is(Broken::FailedReadIsAbsence) => return Ok(None),
            Err(runyard_objectstorage::Error::Corrupt { reason, .. }) => return Err(self.corrupt(lsn, reason)),
            Err(error) => return Err(Error::storage("reading the log")(error)),
        };
        let length = bytes.len();
        let batch = if length < DECODED_HERE_MAX {
            decode_batch(lsn, &bytes)
        } else {
            let decoding = tokio::task::spawn_blocking(move || decode_batch(lsn, &bytes));
            decoding.await.map_err(|_| Error::Closed)?
        };
        let batch = batch.map_err(|damage| self.corrupt(lsn, damage))?;
        let (id, previous, hash, transactions) = (batch.id, batch.previous, batch.hash, batch.transactions);
        Ok(Some(Found { lsn, id, previous, hash, bytes: length, transactions }))
    }

    /// Reads a batch that must exist, because it was visible or is followed by another.
    pub(crate) async fn read_existing(&self, lsn: u64) -> Result<Found> {
        let found = self.read(lsn).await?;
        found.ok_or_else(|| self.missing(lsn))
    }

    fn missing(&self, lsn: u64) -> Error {
        self.corrupt(lsn, "it is missing, though the log goes on after it")
    }

    /// An error that names the object of a batch.
    pub(crate) fn corrupt(&self, lsn: u64, reason: impl Into<String>) -> Error {
        Error::Corrupt { object: self.layout.log(lsn).to_string(), reason: reason.into() }
    }
}

/// What followers read old batches from.
pub(crate) struct FollowedLog {
    pub(crate) floor: FloorWatch,
    pub(crate) store: Arc<Store>,
    pub(crate) stopped: CancellationToken,
}

impl Log for FollowedLog {
    fn read(&mut self, lsn: u64) -> BoxFuture<'_, Result<Arc<Batch>>> {
        Box::pin(async move {
            let found = self.floor.log().read(lsn).await;
            // What is below the floor is no longer the log, whether it is missing, damaged or looks good.
            let expired = || {
                let oldest = self.store.base().position();
                Error::PositionExpired { position: Position { lsn, index: 0 }, oldest }
            };
            if self.floor.is_above(lsn).await? {
                return Err(expired());
            }
            let found = match found? {
                Some(found) => found,
                // Everything from before an import is forgotten, and there is a gap in the log.
                None if lsn <= self.store.forgotten().lsn => return Err(expired()),
                None => return Err(self.floor.log().missing(lsn)),
            };
            Ok(Arc::new(found.into_batch()))
        })
    }

    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.stopped.cancelled())
    }
}
