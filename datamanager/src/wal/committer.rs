//! When and in which order are transactions written?
//!
//! One task per data manager. It writes one batch at a time; everything that arrives meanwhile goes into the next one.
//! No timer and no list: a lone commit is one put, many concurrent ones share it. Where the log has gone on without
//! this process and was cleaned behind it, the task opens the store anew, in place.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    Error, Position, Result,
    broken::{self, Broken},
    coordinator::Coordinator,
    limits::TRANSACTION_BYTES_MAX,
    manifest::{Tip, newest},
    record::{BatchId, Hash, encode_batch},
    store::{Batch, Check, Store},
    system,
    wal::{
        callers::{Callers, Progress},
        log::Found,
        owner::{self, Ownership},
        pins::Pins,
        plan::plan,
        queue::{Pending, Queue},
        recovery::{self, Recovered, Source},
        room::Room,
        slot::{Outcome, Slot},
        status::StatusBoard,
    },
};

/// How many batches are read at once at most, by a process that is far behind.
const READ_AHEAD_MAX: u64 = 32;

/// The task that owns the end of the log.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) source: Source,
    pub(crate) genesis: Hash,
    pub(crate) store: Arc<Store>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) tip: Tip,
    /// Why nothing may be committed; none: everything may.
    pub(crate) maintenance: Option<String>,
    /// The next batch.
    pub(crate) id: BatchId,
    /// What is left to others.
    pub(crate) room: Room,
    /// Whether the log was cleaned beyond what is visible here.
    pub(crate) left_behind: bool,
    /// Whether another process has the store to itself.
    pub(crate) ownership: Ownership,
    /// Who is told of each batch.
    pub(crate) coordinator: Option<Arc<dyn Coordinator>>,
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
                let count = candidates.len();
                if self.commit(candidates).await.is_break() {
                    return;
                }
                if count > 1 {
                    self.let_callers_return(count).await;
                }
            } else if self.queue.is_finished() {
                return;
            } else {
                self.queue.changed().await;
            }
        }
    }

    /// The callers just answered may come back at once, and their next transactions can share a put again: they are
    /// waited for as long as each look finds more of them, and some are missing.
    async fn let_callers_return(&self, count: usize) {
        let mut waiting = 0;
        loop {
            tokio::task::yield_now().await;
            let before = std::mem::replace(&mut waiting, self.queue.waiting());
            if waiting == before || waiting >= count {
                return;
            }
        }
    }

    /// Writes a batch of the candidates, in the first slot that is free. Breaks if nothing can be committed any more.
    async fn commit(&mut self, mut candidates: Vec<Pending>) -> ControlFlow<()> {
        if let Some(until) = self.room.until(self.tip.lsn, Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
        // In a row.
        let mut lost = 0;
        loop {
            if self.left_behind {
                candidates = self.wait_for_storage(candidates, async |this| this.reopen().await).await?;
            }
            let is_ahead = |pending: &Pending| pending.reads.position > self.store.position();
            if self.maintenance.is_some() || lost > 1 || candidates.iter().any(is_ahead) {
                // Read at another process: its batch is in the log. Or somebody else may have ended the maintenance. Or
                // the log goes on faster than its slots can be tried.
                candidates = self.wait_for_storage(candidates, async |this| this.catch_up().await).await?;
            }
            let lsn = self.tip.lsn + 1;
            let mut plan = plan(lsn, candidates, |pending| self.check(pending));
            for (mut pending, error) in plan.refused {
                pending.reply.send(Err(error));
            }
            for pending in plan.below_base {
                pending.hand_back();
            }
            self.queue.put_back(plan.deferred);
            if plan.accepted.is_empty() {
                return ControlFlow::Continue(());
            }
            let id = self.id;
            self.id.number += 1;
            let payloads = plan.accepted.iter().map(|pending| &pending.payload[..]);
            let (bytes, hash) = encode_batch(lsn, id, &self.tip.hash, payloads);
            if broken::is(Broken::AcknowledgedBeforePut) {
                plan.accepted.iter_mut().for_each(|pending| pending.reply.send(Ok(pending.logged.committed.position)));
            }
            let began = Instant::now();
            let slot = Slot { log: &self.source.log, floor: &self.source.floor, lsn, id, bytes: &bytes };
            let outcome = slot.write(&self.queue, &self.board, &mut plan.accepted).await;
            self.room.put(began, Instant::now());
            let error = match outcome {
                Outcome::Written => {
                    if broken::is(Broken::PositionBeforeData) {
                        self.store.show_early(Position { lsn, index: plan.accepted.len() as u32 - 1 });
                        tokio::time::sleep(Duration::from_millis(250)).await;
                    }
                    self.tip = Tip { lsn, hash };
                    self.publish(plan.accepted, bytes.len());
                    return ControlFlow::Continue(());
                }
                Outcome::Foreign(found) => match self.apply_foreign(*found) {
                    Ok(()) => {
                        lost += 1;
                        candidates = self.once_more(plan.accepted);
                        continue;
                    }
                    Err(error) => error,
                },
                Outcome::Untried => {
                    candidates = self.once_more(plan.accepted);
                    continue;
                }
                Outcome::Cleaned => {
                    self.left_behind = true;
                    candidates = self.once_more(plan.accepted);
                    continue;
                }
                Outcome::CleanedInDoubt => {
                    self.left_behind = true;
                    overtaken()
                }
                Outcome::Failed(error) => error,
                Outcome::Unresolved => return ControlFlow::Break(()),
            };
            for mut pending in plan.accepted {
                pending.reply.send(Err(error.clone()));
            }
            return ControlFlow::Continue(());
        }
    }

    /// What is to be tried in the next slot, of a batch that is certainly not written.
    fn once_more(&self, batch: Vec<Pending>) -> Vec<Pending> {
        // Whoever was told that the outcome is unknown has gone on: it is known now, and negative.
        let waits = |pending: &Pending| pending.reply.is_waiting() || broken::is(Broken::ExpiredRetried);
        let mut candidates: Vec<_> = batch.into_iter().filter(waits).collect();
        let bytes = candidates.iter().map(Pending::framed_bytes).sum();
        candidates.extend(self.queue.take(TRANSACTION_BYTES_MAX.saturating_sub(bytes)));
        candidates
    }

    fn check(&self, pending: &Pending) -> Check {
        if let Some(message) = self.ownership.taken_over().filter(|_| !owner::claims(&pending.logged)) {
            return Check::Refused(Error::TakenOver { message: message.to_owned() });
        }
        match &self.maintenance {
            Some(_) if broken::is(Broken::MaintenanceIgnored) => self.store.check(&pending.reads),
            Some(reason) if !system::changes_maintenance(&pending.logged) || self.import_pending() => {
                Check::Refused(Error::Maintenance { reason: reason.clone() })
            }
            _ if broken::is(Broken::LoserNotRevalidated) && self.room.foreign_lsn() == Some(self.tip.lsn) => {
                Check::Valid
            }
            _ => self.store.check(&pending.reads),
        }
    }

    /// Whether it is open if an import counts; there are none outside of maintenance.
    fn import_pending(&self) -> bool {
        self.maintenance.is_some() && self.store.import_pending().is_some()
    }

    /// Makes our own batch visible, then answers its callers.
    fn publish(&mut self, accepted: Vec<Pending>, bytes: usize) {
        let (transactions, replies): (Vec<_>, Vec<_>) = accepted
            .into_iter()
            .map(|pending| {
                let position = pending.logged.committed.position;
                (pending.logged, (pending.reply, position))
            })
            .unzip();
        self.apply(Batch::new(self.tip.lsn, self.tip.hash, transactions), bytes);
        if let Some(coordinator) = self.coordinator.as_ref().filter(|_| !broken::is(Broken::NothingAnnounced)) {
            coordinator.announce(self.tip.lsn);
        }
        for (mut reply, position) in replies {
            reply.send(Ok(position));
        }
    }

    /// Applies every batch that other processes wrote.
    async fn catch_up(&mut self) -> Result<()> {
        let result = self.try_catch_up().await;
        match &result {
            Ok(()) => self.board.is_current(),
            Err(_) => self.board.is_stale(),
        }
        result
    }

    async fn try_catch_up(&mut self) -> Result<()> {
        // As many at once as were there so far, so that a log which goes on meanwhile is caught up with.
        let mut applied = 0;
        loop {
            let ahead = u64::clamp(applied, 1, READ_AHEAD_MAX);
            if self.left_behind || self.store.is_base_gone() {
                self.reopen().await?;
            }
            let first = self.tip.lsn + 1;
            let began = Instant::now();
            let found = join_all((first..first + ahead).map(|lsn| self.source.log.read(lsn))).await;
            if ahead == 1 {
                self.room.read(began.elapsed());
            }
            for (lsn, found) in (first..).zip(found) {
                // What is below the floor is no longer the log, whether it is missing, damaged or looks good.
                self.left_behind = self.source.floor.is_above(lsn).await?;
                match found {
                    _ if self.left_behind => break,
                    Ok(Some(found)) if broken::is(Broken::CatchUpStopsEarly) => return self.apply_foreign(found),
                    Ok(Some(found)) => {
                        self.apply_foreign(found)?;
                        applied += 1;
                    }
                    // An import does not go on in the log, but in a checkpoint.
                    Ok(None) => match self.store.import_pending() {
                        Some(import) if newest::numbers(&self.source.log).await?.last() >= Some(&import) => {
                            self.left_behind = true;
                            break;
                        }
                        _ => return Ok(()),
                    },
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn apply_foreign(&mut self, found: Found) -> Result<()> {
        if found.previous != self.tip.hash && !broken::is(Broken::ChainUnchecked) {
            return Err(self.source.log.corrupt(found.lsn, "it does not follow on the batch before it"));
        }
        self.tip = Tip { lsn: found.lsn, hash: found.hash };
        self.room.met(found.lsn);
        let bytes = found.bytes;
        if !broken::is(Broken::ForeignNotApplied) {
            self.apply(found.into_batch(), bytes);
        }
        Ok(())
    }

    /// Makes a batch visible that takes so many bytes in the log.
    fn apply(&mut self, batch: Batch, bytes: usize) {
        system::follow_maintenance(&mut self.maintenance, &batch);
        if !broken::is(Broken::TakeOverIgnored) {
            self.ownership.follow(&batch);
        }
        self.store.apply(batch);
        self.board.applied(self.store.position(), bytes);
        self.board.maintenance(self.maintenance.as_deref());
        self.board.taken_over(self.ownership.taken_over());
    }

    /// Does something that comes before the candidates are committed; as long as the storage does not answer they wait,
    /// each until its deadline.
    async fn wait_for_storage(
        &mut self,
        mut candidates: Vec<Pending>,
        first: impl AsyncFn(&mut Self) -> Result<()>,
    ) -> ControlFlow<(), Vec<Pending>> {
        let (queue, board) = (Arc::clone(&self.queue), Arc::clone(&self.board));
        let progress = Progress::default();
        let name = self.source.log.layout.log(self.tip.lsn + 1);
        let mut callers = Callers::new(&queue, &board, &mut candidates, &progress, name.as_str());
        loop {
            let Some(result) = callers.wait_for(first(self)).await else { return ControlFlow::Break(()) };
            match result {
                Ok(()) => break,
                Err(Error::Storage { source, .. }) if source.is_retryable() => {
                    if callers.wait_after(source).await.is_none() {
                        return ControlFlow::Break(());
                    }
                }
                Err(error) => {
                    for pending in &mut candidates {
                        pending.reply.send(Err(error.clone()));
                    }
                    return ControlFlow::Continue(Vec::new());
                }
            }
        }
        board.is_current();
        candidates.retain(|pending| pending.reply.is_waiting());
        ControlFlow::Continue(candidates)
    }

    /// Goes over to what the newest checkpoint and the log after it say.
    async fn reopen(&mut self) -> Result<()> {
        let recovered = recovery::recover(&self.source, self.genesis).await?;
        let owner = match &self.coordinator {
            Some(_) => recovered.store.get(&recovered.store.snapshot(), system::SYSTEM, system::OWNER).await?,
            // Nothing was claimed here, so it may be the same as at the opening.
            None => None,
        };
        tracing::info!(
            from = self.tip.lsn,
            to = recovered.tip.lsn,
            "what was read from was cleaned or replaced meanwhile; opened the store anew"
        );
        let Recovered { store, base, tip, batches, maintenance } = recovered;
        self.store.reset(&store);
        self.pins.add(&base);
        self.board.reopened(base.manifest(), self.store.position(), &batches);
        self.board.maintenance(maintenance.as_deref());
        (self.tip, self.maintenance) = (tip, maintenance);
        if let Some(owner) = owner.filter(|_| !broken::is(Broken::TakeOverUnreadAtReopening)) {
            self.ownership.read(&owner);
        }
        self.board.taken_over(self.ownership.taken_over());
        self.room.met(tip.lsn);
        self.left_behind = false;
        Ok(())
    }
}

/// The answer to whoever wrote a batch and then slept for so long that nobody can tell any more where it came to lie.
fn overtaken() -> Error {
    Error::OutcomeUnknown {
        source: Arc::new(runyard_objectstorage::Error::Unusable {
            message: "the log was cleaned before it could be seen whether the transaction is in it".to_owned(),
            source: None,
        }),
    }
}
