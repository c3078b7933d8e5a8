//! Is a batch written in its slot of the log, or somebody else's, or none?
//!
//! A put whose reply was lost is neither success nor failure: the slot is read back, and as long as that does not
//! answer, the same bytes are put again. A slot in doubt is never used for anything else, because a put that seemed to
//! fail may land late. And what a slot says counts only while it is not below the [floor](crate::wal::floor).

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use runyard_objectstorage::{Error as StorageError, ObjectStorageExt, PutMode};

use crate::{
    Error,
    broken::{self, Broken},
    record::BatchId,
    wal::{
        callers::{Callers, Progress},
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
    /// Nothing was written, and somebody in the batch was told so: it must be made without that one.
    Untried,
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
        let progress = Progress::default();
        let name = self.log.layout.log(self.lsn);
        let mut callers = Callers::new(queue, board, batch, &progress, name.as_str());
        loop {
            let error = match callers.wait_for(self.attempt(&progress)).await {
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

    async fn attempt(self, progress: &Progress) -> Attempt {
        let cleaned = |in_doubt| if in_doubt { Outcome::CleanedInDoubt } else { Outcome::Cleaned };
        let in_doubt = progress.tried.load(Ordering::Relaxed);
        let checked = match self.floor.check(self.lsn).await {
            Ok(Some(checked)) => checked,
            Ok(None) => return Attempt::Done(cleaned(in_doubt)),
            Err(error) => return Attempt::of(error),
        };
        if !in_doubt && progress.gave_up_untried.load(Ordering::Relaxed) {
            return Attempt::Done(Outcome::Untried);
        }
        progress.tried.store(true, Ordering::Relaxed);
        let mode = if broken::is(Broken::SlotOverwritten) { PutMode::Overwrite } else { PutMode::Create };
        let put = self.log.storage.put_bytes(&self.log.layout.log(self.lsn), self.bytes.clone(), mode).await;
        let found = match put {
            Ok(()) => None,
            Err(error) if error.is_already_exists() && broken::is(Broken::ExistsIsOurs) => None,
            Err(error) if !error.is_already_exists() && broken::is(Broken::LostReplyIsSuccess) => None,
            Err(error) if !error.is_already_exists() && broken::is(Broken::ConflictIsExists) => {
                return Attempt::Done(Outcome::Untried);
            }
            Err(error) if !error.is_already_exists() && broken::is(Broken::LostReplyIsFailure) => {
                return Attempt::Done(Outcome::Failed(Error::storage("writing the log")(error)));
            }
            Err(error) => match self.log.read(self.lsn).await {
                Ok(Some(found)) if found.id == self.id => None,
                Ok(Some(found)) => Some((found, in_doubt || !error.is_already_exists())),
                Ok(None) if broken::is(Broken::AbsentIsFinal) && !error.is_already_exists() => {
                    return Attempt::Done(Outcome::Failed(Error::storage("writing the log")(error)));
                }
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
