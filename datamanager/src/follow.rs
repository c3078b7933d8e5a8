//! Which transactions came after a position?

use std::{collections::VecDeque, sync::Arc};

use futures::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};

use crate::{
    Committed, Error, Position, Result,
    broken::{self, Broken},
    store::{Batch, Place, Store},
    system,
};

/// Where a follower finds batches that are no longer in memory, and learns that its data manager was closed.
pub(crate) trait Log: Send + 'static {
    /// Reads a batch that was visible.
    ///
    /// # Errors
    /// [`Error::PositionExpired`] if it was cleaned away: the follower reads a snapshot, and follows from its position.
    fn read(&mut self, lsn: u64) -> BoxFuture<'_, Result<Arc<Batch>>>;

    /// Completes when the data manager is closed.
    fn closed(&self) -> BoxFuture<'_, ()>;
}

/// For stores whose batches are all in memory.
pub(crate) struct NoLog;

impl Log for NoLog {
    fn read(&mut self, lsn: u64) -> BoxFuture<'_, Result<Arc<Batch>>> {
        let position = Position { lsn, index: 0 };
        Box::pin(async move { Err(Error::PositionExpired { position, oldest: position }) })
    }

    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

struct Follower<L> {
    store: Arc<Store>,
    log: L,
    after: Position,
    /// The next log number to look at.
    lsn: u64,
    ready: VecDeque<Committed>,
    failed: bool,
}

/// Yields the transactions after a position, without gap or repetition; ends after an error, or when `log` is closed.
pub(crate) fn follow(store: Arc<Store>, after: Position, log: impl Log) -> BoxStream<'static, Result<Committed>> {
    let lsn = first_lsn(&store, after) + u64::from(broken::is(Broken::FollowerSkips) && after.lsn > 0);
    let follower = Follower { store, log, after, lsn, ready: VecDeque::new(), failed: false };
    stream::unfold(follower, |mut follower| async move {
        let next = follower.next().await?;
        follower.failed = next.is_err();
        Some((next, follower))
    })
    .boxed()
}

/// The first batch that may have something after a position.
///
/// It may be the one that the position is in; but of a checkpoint's last batch nothing is after the checkpoint, and it
/// is cleaned away: who follows from a snapshot of it must not need it.
fn first_lsn(store: &Store, after: Position) -> u64 {
    let covered = store.base().position();
    if after.lsn == covered.lsn && after >= covered { after.lsn + 1 } else { after.lsn.max(1) }
}

/// What a follower sees of a transaction: one that changed nothing but the store's own entries is empty.
fn shown(committed: &Committed) -> Committed {
    let changes = committed.changes.iter().filter(|change| !system::is_hidden(&change.collection));
    Committed { position: committed.position, changes: changes.cloned().collect() }
}

impl<L: Log> Follower<L> {
    async fn next(&mut self) -> Option<Result<Committed>> {
        if self.failed {
            return None;
        }
        loop {
            if let Some(committed) = self.ready.pop_front() {
                return Some(Ok(committed));
            }
            // Seen before it is looked at, so that what comes in between wakes the wait below.
            let seen = self.store.position();
            let batch = match self.store.place_of(self.lsn) {
                Place::Recent(batch) => batch,
                Place::Older => match self.log.read(self.lsn).await {
                    Ok(batch) => batch,
                    Err(error) => return Some(Err(error)),
                },
                Place::Future => {
                    tokio::select! {
                        // What was committed before the end is yielded before it.
                        biased;
                        () = self.store.visible_beyond(seen) => continue,
                        () = self.log.closed() => return None,
                    }
                }
            };
            let after = self.after;
            let newer = batch.transactions.iter().filter(|logged| {
                let position = logged.committed.position;
                position > after || position == after && broken::is(Broken::FollowerRepeats)
            });
            self.ready.extend(newer.map(|logged| shown(&logged.committed)));
            self.lsn += 1;
        }
    }
}

/// Waits until a position is visible.
pub(crate) async fn wait_for(store: &Store, position: Position) {
    loop {
        let seen = store.position();
        if seen >= position {
            return;
        }
        store.visible_beyond(seen).await;
    }
}
