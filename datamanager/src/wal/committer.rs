//! When and in which order are transactions written?
//!
//! One task per data manager. It writes one batch at a time; everything that arrives meanwhile goes into the next one.
//! No timer and no list: a lone commit is one put, many concurrent ones share it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    Error, Result,
    broken::{self, Broken},
    limits::TRANSACTION_BYTES_MAX,
    manifest::Tip,
    record::{BatchId, encode_batch},
    store::{Batch, Check, Store},
    wal::{
        log::{Found, LogObjects},
        plan::plan,
        queue::{Pending, Queue},
        slot::{self, Outcome},
    },
};

/// For how many slots after a foreign batch a writer leaves room for others.
const SHARED_SLOTS: u64 = 16;

/// The longest that is left: an outage is no measure.
const ROOM_MAX: Duration = Duration::from_millis(250);

/// How long a storage that failed is left alone before it is asked again for what callers have read.
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(100);

/// The task that owns the end of the log.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) log: LogObjects,
    pub(crate) store: Arc<Store>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) tip: Tip,
    /// The next batch.
    pub(crate) id: BatchId,
    /// The last slot that another writer took.
    pub(crate) foreign_lsn: Option<u64>,
    /// How long the last put took.
    pub(crate) put_took: Duration,
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Also when the runtime ends: nobody may wait for ever.
        self.queue.abandon();
    }
}

impl Committer {
    /// Commits what is queued until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        loop {
            let requests = self.queue.take_catch_ups();
            if !requests.is_empty() {
                let result = self.catch_up().await;
                for request in requests {
                    let _ = request.send(result.clone());
                }
            }
            let candidates = self.queue.take(TRANSACTION_BYTES_MAX);
            if !candidates.is_empty() {
                let shared = candidates.len() > 1;
                if !self.commit(candidates).await {
                    return;
                }
                if shared {
                    // The callers just answered may come back at once: their next transactions can share a put again.
                    tokio::task::yield_now().await;
                }
            } else if self.queue.is_finished() {
                return;
            } else {
                self.queue.changed().await;
            }
        }
    }

    /// Writes a batch of the candidates, in the first slot that is free. Returns whether to go on.
    async fn commit(&mut self, mut candidates: Vec<Pending>) -> bool {
        self.leave_room_for_others().await;
        loop {
            if let Err(error) = self.catch_up_with_reads(&candidates).await {
                candidates.retain_mut(|pending| {
                    let is_ahead = pending.reads.position > self.store.position();
                    if is_ahead {
                        pending.reply.send(Err(error.clone()));
                    }
                    !is_ahead
                });
            }
            let lsn = self.tip.lsn + 1;
            let mut plan = plan(lsn, candidates, |reads| match broken::is(Broken::LoserNotRevalidated) {
                true if self.foreign_lsn == Some(self.tip.lsn) => Check::Valid,
                _ => self.store.check(reads),
            });
            for (mut pending, error) in plan.refused {
                pending.reply.send(Err(error));
            }
            for pending in plan.below_base {
                pending.hand_back();
            }
            self.queue.put_back(plan.deferred);
            if plan.accepted.is_empty() {
                return true;
            }
            let id = self.id;
            self.id.number += 1;
            let payloads = plan.accepted.iter().map(|pending| &pending.payload[..]);
            let (bytes, hash) = encode_batch(lsn, id, &self.tip.hash, payloads);
            if broken::is(Broken::AcknowledgedBeforePut) {
                plan.accepted.iter_mut().for_each(|pending| pending.reply.send(Ok(pending.logged.committed.position)));
            }
            let began = Instant::now();
            let outcome = slot::write(&self.log, &self.queue, (lsn, id, &bytes), &mut plan.accepted).await;
            self.put_took = began.elapsed().min(ROOM_MAX);
            let error = match outcome {
                Outcome::Written => {
                    self.tip = Tip { lsn, hash };
                    self.publish(plan.accepted);
                    return true;
                }
                Outcome::Foreign(found) => match self.apply_foreign(*found) {
                    Ok(()) => {
                        // Whoever was told that the outcome is unknown has gone on: it is known now, and negative.
                        let waits =
                            |pending: &Pending| pending.reply.is_waiting() || broken::is(Broken::ExpiredRetried);
                        candidates = plan.accepted.into_iter().filter(waits).collect();
                        let bytes = candidates.iter().map(Pending::framed_bytes).sum();
                        candidates.extend(self.queue.take(TRANSACTION_BYTES_MAX.saturating_sub(bytes)));
                        continue;
                    }
                    Err(error) => error,
                },
                Outcome::Failed(error) => error,
                Outcome::Unresolved => return false,
            };
            for mut pending in plan.accepted {
                pending.reply.send(Err(error.clone()));
            }
            return true;
        }
    }

    /// Makes our own batch visible, then answers its callers.
    fn publish(&self, accepted: Vec<Pending>) {
        let (transactions, replies): (Vec<_>, Vec<_>) = accepted
            .into_iter()
            .map(|pending| {
                let position = pending.logged.committed.position;
                (pending.logged, (pending.reply, position))
            })
            .unzip();
        self.store.apply(Batch::new(self.tip.lsn, self.tip.hash, transactions));
        for (mut reply, position) in replies {
            reply.send(Ok(position));
        }
    }

    /// Applies the batches that callers have read at other processes; as long as the storage fails, they wait.
    async fn catch_up_with_reads(&mut self, candidates: &[Pending]) -> Result<()> {
        let Some(deadline) = candidates.iter().map(|pending| pending.deadline).min() else { return Ok(()) };
        while candidates.iter().any(|pending| pending.reads.position > self.store.position()) {
            match tokio::time::timeout_at(deadline, self.catch_up()).await {
                Ok(Err(Error::Storage { .. })) if Instant::now() + CATCH_UP_INTERVAL < deadline => {
                    tokio::time::sleep(CATCH_UP_INTERVAL).await;
                }
                Ok(result) => return result,
                Err(_) => {
                    return Err(Error::storage("reading the log")(runyard_objectstorage::Error::Unusable {
                        message: "it did not answer in time".to_owned(),
                        source: None,
                    }));
                }
            }
        }
        Ok(())
    }

    /// Applies every batch that other processes wrote.
    async fn catch_up(&mut self) -> Result<()> {
        while let Some(found) = self.log.read(self.tip.lsn + 1).await? {
            self.apply_foreign(found)?;
            if broken::is(Broken::CatchUpStopsEarly) {
                break;
            }
        }
        Ok(())
    }

    fn apply_foreign(&mut self, found: Found) -> Result<()> {
        if found.previous != self.tip.hash && !broken::is(Broken::ChainUnchecked) {
            return Err(self.log.corrupt(found.lsn, "it does not follow on the batch before it"));
        }
        self.tip = Tip { lsn: found.lsn, hash: found.hash };
        self.foreign_lsn = Some(found.lsn);
        if !broken::is(Broken::ForeignNotApplied) {
            self.store.apply(found.into_batch());
        }
        Ok(())
    }

    /// Several busy writers take turns: the one that has just written waits for as long as a put takes.
    async fn leave_room_for_others(&self) {
        let Some(foreign) = self.foreign_lsn else { return };
        let ours_since = self.tip.lsn - foreign;
        if (1..SHARED_SLOTS).contains(&ours_since) {
            tokio::time::sleep(self.put_took).await;
        }
    }
}
