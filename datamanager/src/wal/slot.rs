//! Is a batch written in its slot of the log, or somebody else's, or none?
//!
//! A put whose reply was lost is neither success nor failure: the slot is read back, and as long as that does not
//! answer, the same bytes are put again. A slot in doubt is never used for anything else, because a put that seemed to
//! fail may land late.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use runyard_objectstorage::{Error as StorageError, ObjectStorageExt, PutMode};
use tokio::time::Instant;

use crate::{
    Error,
    broken::{self, Broken},
    record::BatchId,
    wal::{
        log::{Found, LogObjects},
        queue::{Pending, Queue},
    },
};

const RETRY_INTERVAL_MIN: Duration = Duration::from_millis(10);
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(5);

/// What is in a slot.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Our batch.
    Written,
    /// The batch of another writer.
    Foreign(Box<Found>),
    /// Certainly not our batch.
    Failed(Error),
    /// It cannot be known, the callers have been told so, and the data manager is closed.
    Unresolved,
}

/// What one attempt has shown.
enum Attempt {
    Done(Outcome),
    /// The storage did not say what the slot holds.
    Doubt(StorageError),
}

/// Callers that wait for the storage, but not for ever.
struct Callers<'a> {
    queue: &'a Queue,
    batch: &'a mut [Pending],
    /// The last thing that the storage said.
    error: Arc<StorageError>,
}

/// Writes a batch in its slot. Callers whose time is over are answered meanwhile, those in `batch` and in `queue`.
pub(crate) async fn write(
    log: &LogObjects,
    queue: &Queue,
    (lsn, id, bytes): (u64, BatchId, &Bytes),
    batch: &mut [Pending],
) -> Outcome {
    let mut callers = Callers { queue, batch, error: Arc::new(no_answer(log, lsn)) };
    let mut interval = RETRY_INTERVAL_MIN;
    let mut in_doubt = false;
    loop {
        match callers.wait_for(attempt(log, lsn, id, bytes, in_doubt)).await {
            None => return Outcome::Unresolved,
            Some(Attempt::Done(outcome)) => return outcome,
            Some(Attempt::Doubt(error)) => callers.error = Arc::new(error),
        }
        in_doubt = true;
        tracing::warn!(lsn, error = %callers.error, "the log cannot be written; commits wait");
        if callers.wait_for(tokio::time::sleep(interval)).await.is_none() {
            return Outcome::Unresolved;
        }
        interval = (interval * 2).min(RETRY_INTERVAL_MAX);
    }
}

async fn attempt(log: &LogObjects, lsn: u64, id: BatchId, bytes: &Bytes, in_doubt: bool) -> Attempt {
    let mode = if broken::is(Broken::SlotOverwritten) { PutMode::Overwrite } else { PutMode::Create };
    let put = log.storage.put_bytes(&log.layout.log(lsn), bytes.clone(), mode).await;
    let Err(error) = put else { return Attempt::Done(Outcome::Written) };
    if broken::is(if error.is_already_exists() { Broken::ExistsIsOurs } else { Broken::LostReplyIsSuccess }) {
        return Attempt::Done(Outcome::Written);
    }
    if broken::is(Broken::LostReplyIsFailure) && !error.is_already_exists() {
        return Attempt::Done(Outcome::Failed(Error::storage("writing the log")(error)));
    }
    match log.read(lsn).await {
        Ok(Some(found)) if found.id == id => Attempt::Done(Outcome::Written),
        Ok(Some(found)) => Attempt::Done(Outcome::Foreign(Box::new(found))),
        Ok(None) if broken::is(Broken::AbsentIsFinal) && !error.is_already_exists() => {
            Attempt::Done(Outcome::Failed(Error::storage("writing the log")(error)))
        }
        // Without an earlier attempt that may still land, an error that no retry mends is an answer.
        Ok(None) if !in_doubt && !error.is_retryable() && !error.is_already_exists() => {
            Attempt::Done(Outcome::Failed(Error::storage("writing the log")(error)))
        }
        Err(corrupt @ Error::Corrupt { .. }) => Attempt::Done(Outcome::Failed(corrupt)),
        Ok(None) | Err(_) => Attempt::Doubt(error),
    }
}

fn no_answer(log: &LogObjects, lsn: u64) -> StorageError {
    StorageError::Unavailable {
        doing: "writing",
        name: log.layout.log(lsn).to_string(),
        source: "no answer in time".into(),
    }
}

impl Callers<'_> {
    /// Waits for `future`, while it answers the callers whose time is over. None if no caller is left and none will
    /// come, because the data manager is closed.
    async fn wait_for<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            let deadline = self.next_deadline();
            if deadline.is_none() && self.queue.is_closed() {
                return None;
            }
            tokio::select! {
                biased;
                output = &mut future => return Some(output),
                () = sleep_until(deadline) => self.give_up_expired(),
                // The first caller after all others were answered, or the end. With callers, later ones wait longer.
                () = self.queue.changed(), if deadline.is_none() => {}
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.batch.iter().filter(|pending| pending.reply.is_waiting());
        waiting.map(|pending| pending.deadline).chain(self.queue.next_deadline()).min()
    }

    fn give_up_expired(&mut self) {
        let now = Instant::now();
        for pending in self.batch.iter_mut().filter(|pending| pending.deadline <= now) {
            let source = Arc::clone(&self.error);
            pending.reply.send(Err(match broken::is(Broken::UnknownCalledFailure) {
                false => Error::OutcomeUnknown { source },
                true => Error::Storage { doing: "committing", source },
            }));
        }
        for mut pending in self.queue.take_expired(now) {
            let doing = "committing; nothing of it was written";
            pending.reply.send(Err(Error::Storage { doing, source: Arc::clone(&self.error) }));
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
