//! Is a batch written in its slot of the log, or somebody else's, or none?
//!
//! A put whose reply was lost is neither success nor failure: the slot is read back, and as long as that does not
//! answer, the same bytes are put again. A slot in doubt is never used for anything else, because a put that seemed to
//! fail may land late.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use runyard_objectstorage::{ObjectStorageExt, PutMode};
use tokio::time::Instant;

use crate::{
    Error,
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

/// What to do after one attempt.
enum Attempt {
    Done(Outcome),
    /// The storage did not say what the slot holds.
    Doubt(runyard_objectstorage::Error),
}

/// Writes a batch in its slot. Callers whose time is over are answered meanwhile, those in `batch` and in `queue`.
pub(crate) async fn write(
    log: &LogObjects,
    queue: &Queue,
    (lsn, id, bytes): (u64, BatchId, &Bytes),
    batch: &mut [Pending],
) -> Outcome {
    let mut interval = RETRY_INTERVAL_MIN;
    let mut in_doubt = false;
    loop {
        let error = match attempt(log, lsn, id, bytes, in_doubt).await {
            Attempt::Done(outcome) => return outcome,
            Attempt::Doubt(error) => Arc::new(error),
        };
        in_doubt = true;
        tracing::warn!(lsn, error = &*error as &dyn std::error::Error, "the log cannot be written; commits wait");
        let retry_at = Instant::now() + interval;
        interval = (interval * 2).min(RETRY_INTERVAL_MAX);
        loop {
            give_up_expired(queue, batch, &error);
            let waiting = batch.iter().filter(|pending| pending.reply.is_waiting());
            let deadline = waiting.map(|pending| pending.deadline).chain(queue.next_deadline()).min();
            if deadline.is_none() && queue.is_closed() {
                return Outcome::Unresolved;
            }
            let until = deadline.unwrap_or(retry_at).min(retry_at);
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                // Closed, or a caller with an earlier deadline.
                () = queue.changed() => continue,
            }
            if until == retry_at {
                break;
            }
        }
    }
}

async fn attempt(log: &LogObjects, lsn: u64, id: BatchId, bytes: &Bytes, in_doubt: bool) -> Attempt {
    let put = log.storage.put_bytes(&log.layout.log(lsn), bytes.clone(), PutMode::Create).await;
    let Err(error) = put else { return Attempt::Done(Outcome::Written) };
    match log.read(lsn).await {
        Ok(Some(found)) if found.id == id => Attempt::Done(Outcome::Written),
        Ok(Some(found)) => Attempt::Done(Outcome::Foreign(Box::new(found))),
        // Without an earlier attempt that may still land, an error that no retry mends is an answer.
        Ok(None) if !in_doubt && !error.is_retryable() && !error.is_already_exists() => {
            Attempt::Done(Outcome::Failed(Error::storage("writing the log")(error)))
        }
        Err(corrupt @ Error::Corrupt { .. }) => Attempt::Done(Outcome::Failed(corrupt)),
        Ok(None) | Err(_) => Attempt::Doubt(error),
    }
}

fn give_up_expired(queue: &Queue, batch: &mut [Pending], error: &Arc<runyard_objectstorage::Error>) {
    let now = Instant::now();
    for pending in batch.iter_mut().filter(|pending| pending.deadline <= now) {
        pending.reply.send(Err(Error::OutcomeUnknown { source: Arc::clone(error) }));
    }
    for mut pending in queue.take_expired(now) {
        let doing = "committing; nothing of it was written";
        pending.reply.send(Err(Error::Storage { doing, source: Arc::clone(error) }));
    }
}
