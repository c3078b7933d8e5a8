//! Is a batch written in its slot of the log, or somebody else's, or none?
//!
//! A put whose reply was lost is neither success nor failure: the slot is read back, and as long as that does not
//! answer, the same bytes are put again. A slot in doubt is never used for anything else, because a put that seemed to
//! fail may land late. And what a slot says counts only while it is not below the [floor](crate::wal::floor).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use runyard_objectstorage::{Error as StorageError, ObjectStorageExt, PutMode};

use crate::{
    Error,
    record::BatchId,
    wal::{
        callers::Callers,
        floor::{FloorWatch, Standing},
        log::{Found, LogObjects},
        queue::{Pending, Queue},
        status::StatusBoard,
    },
};

/// What is in a slot.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Our batch.
    Written,
    /// The batch of another writer.
    Foreign(Box<Found>),
    /// Certainly not our batch.
    Failed(Error),
    /// The log was cleaned beyond it, and nothing of our batch was written.
    Cleaned,
    /// The log was cleaned beyond it, and whether our batch was in it before that cannot be known.
    CleanedInDoubt,
    /// It cannot be known, the callers have been told so, and the data manager is closed.
    Unresolved,
}

/// What a batch is written with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) log: &'a LogObjects,
    pub(crate) floor: &'a FloorWatch,
    pub(crate) lsn: u64,
    pub(crate) id: BatchId,
    pub(crate) bytes: &'a Bytes,
}

/// What one attempt has shown.
enum Attempt {
    Done(Outcome),
    /// The storage did not say what the slot holds.
    Doubt(Arc<StorageError>),
}

impl Slot<'_> {
    /// Writes a batch in its slot. Callers whose time is over are answered meanwhile, those in `batch` and in `queue`.
    pub(crate) async fn write(self, queue: &Queue, board: &StatusBoard, batch: &mut [Pending]) -> Outcome {
        let tried = AtomicBool::new(false);
        let name = self.log.layout.log(self.lsn);
        let mut callers = Callers::new(queue, board, batch, &tried, name.as_str());
        loop {
            let error = match callers.wait_for(self.attempt(&tried)).await {
                None => return Outcome::Unresolved,
                Some(Attempt::Done(outcome)) => {
                    board.is_current();
                    return outcome;
                }
                Some(Attempt::Doubt(error)) => error,
            };
            if callers.wait_after(error).await.is_none() {
                return Outcome::Unresolved;
            }
        }
    }

    async fn attempt(self, tried: &AtomicBool) -> Attempt {
        let cleaned = |in_doubt| if in_doubt { Outcome::CleanedInDoubt } else { Outcome::Cleaned };
        let in_doubt = tried.load(Ordering::Relaxed);
        let checked = match self.floor.check(self.lsn).await {
            Ok(Some(checked)) => checked,
            Ok(None) => return Attempt::Done(cleaned(in_doubt)),
            Err(error) => return Attempt::of(error),
        };
        tried.store(true, Ordering::Relaxed);
        let put = self.log.storage.put_bytes(&self.log.layout.log(self.lsn), self.bytes.clone(), PutMode::Create).await;
        let found = match put {
            Ok(()) => None,
            Err(error) => match self.log.read(self.lsn).await {
                Ok(Some(found)) if found.id == self.id => None,
                Ok(Some(found)) => Some((found, in_doubt || !error.is_already_exists())),
                // Without an earlier attempt that may still land, an error that no retry mends is an answer.
                Ok(None) if !in_doubt && !error.is_retryable() && !error.is_already_exists() => {
                    return Attempt::Done(Outcome::Failed(Error::storage("writing the log")(error)));
                }
                Err(corrupt @ Error::Corrupt { .. }) => return Attempt::Done(Outcome::Failed(corrupt)),
                Ok(None) | Err(_) => return Attempt::Doubt(Arc::new(error)),
            },
        };
        let done = match found {
            None => self.floor.standing(self.lsn, checked).await.map(|standing| match standing {
                Standing::InTheLog => Outcome::Written,
                Standing::Unknown => Outcome::CleanedInDoubt,
            }),
            Some((found, in_doubt)) => self.floor.is_above(self.lsn).await.map(|is_above| match is_above {
                false => Outcome::Foreign(Box::new(found)),
                true => cleaned(in_doubt),
            }),
        };
        done.map_or_else(Attempt::of, Attempt::Done)
    }
}

impl Attempt {
    fn of(error: Error) -> Self {
        match error {
            Error::Storage { source, .. } => Self::Doubt(source),
            error => Self::Done(Outcome::Failed(error)),
        }
    }
}
