//! For how long do the callers of commits wait for a storage that does not answer?
//!
//! Each until its own deadline. Whoever gives up is told whether anything of its transaction may have been written.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use runyard_objectstorage::Error as StorageError;
use tokio::time::Instant;

use crate::{
    Error,
    broken::{self, Broken},
    wal::{
        queue::{Pending, Queue},
        status::StatusBoard,
    },
};

const RETRY_INTERVAL_MIN: Duration = Duration::from_millis(10);
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(5);

/// How far the writing of a batch is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Whether it was begun to write it.
    pub(crate) tried: AtomicBool,
    /// Whether a caller gave up before that: it was told that nothing of its transaction is written.
    pub(crate) gave_up_untried: AtomicBool,
}

/// Callers that wait for the storage, but not for ever.
pub(crate) struct Callers<'a> {
    queue: &'a Queue,
    board: &'a StatusBoard,
    batch: &'a mut [Pending],
    progress: &'a Progress,
    /// The last thing that the storage said.
    error: Arc<StorageError>,
    interval: Duration,
}

impl<'a> Callers<'a> {
    /// Those of a batch, and those that are queued behind it.
    pub(crate) fn new(
        queue: &'a Queue,
        board: &'a StatusBoard,
        batch: &'a mut [Pending],
        progress: &'a Progress,
        name: &str,
    ) -> Self {
        let error =
            StorageError::Unavailable { doing: "writing", name: name.to_owned(), source: "no answer in time".into() };
        Self { queue, board, batch, progress, error: Arc::new(error), interval: RETRY_INTERVAL_MIN }
    }

    /// Waits for `future`, while it answers the callers whose time is over. None if no caller is left and none will
    /// come, because the data manager is closed.
    pub(crate) async fn wait_for<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
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

    /// Waits before the next attempt, each time longer. None as in [`wait_for`](Self::wait_for).
    pub(crate) async fn wait_after(&mut self, error: Arc<StorageError>) -> Option<()> {
        self.error = error;
        self.board.is_stale();
        tracing::warn!(error = %self.error, "the log cannot be written; commits wait");
        let interval = self.interval;
        self.interval = (interval * 2).min(RETRY_INTERVAL_MAX);
        self.wait_for(tokio::time::sleep(interval)).await
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.batch.iter().filter(|pending| pending.reply.is_waiting());
        waiting.map(|pending| pending.deadline).chain(self.queue.next_deadline()).min()
    }

    fn give_up_expired(&mut self) {
        let now = Instant::now();
        self.board.is_stale();
        let untried =
            || Error::Storage { doing: "committing; nothing of it was written", source: Arc::clone(&self.error) };
        for pending in self.batch.iter_mut().filter(|pending| pending.deadline <= now) {
            let tried = self.progress.tried.load(Ordering::Relaxed);
            self.progress.gave_up_untried.fetch_or(!tried, Ordering::Relaxed);
            pending.reply.send(Err(match tried {
                true if !broken::is(Broken::UnknownCalledFailure) => {
                    Error::OutcomeUnknown { source: Arc::clone(&self.error) }
                }
                _ => untried(),
            }));
        }
        for mut pending in self.queue.take_expired(now) {
            pending.reply.send(Err(untried()));
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
