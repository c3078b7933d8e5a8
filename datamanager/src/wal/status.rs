//! How is a store doing?

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{Error, Position, manifest::Manifest};

/// How a store is doing, as one process sees it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// The last visible transaction.
    pub position: Position,
    /// The number of the newest checkpoint that is known; 0 if there is none.
    pub manifest: u64,
    /// How many bytes the log has after that checkpoint.
    pub log_bytes: u64,
    /// How many batches the log has after that checkpoint.
    pub log_batches: u64,
    /// Since when the storage has not answered, so that reads may be behind and commits wait: the first failed attempt
    /// of what is not resolved yet. None: all is well.
    pub stale_since: Option<Instant>,
    /// Why the store is in maintenance mode; none: it is not.
    pub maintenance: Option<String>,
    /// Who has the store to itself instead of this process, which commits nothing more, and what to do; none: nobody has.
    pub taken_over: Option<String>,
    /// How many bytes of transactions wait to be committed.
    pub queue_bytes: usize,
    /// Why the last checkpoint failed; none: it did not.
    pub checkpoint_error: Option<Error>,
    /// Why the last removal of what is no longer needed failed; none: it did not.
    pub cleaning_error: Option<Error>,
}

impl Status {
    /// For how long reads may have been behind.
    pub fn stale_for(&self) -> Option<Duration> {
        self.stale_since.map(|since| since.elapsed())
    }
}

/// Where the parts of a data manager say how they are doing.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    status: watch::Sender<Status>,
    uncovered: Mutex<Uncovered>,
}

/// The batches after the newest checkpoint.
#[derive(Debug, Default)]
struct Uncovered {
    /// Their numbers and sizes.
    batches: VecDeque<(u64, u64)>,
    bytes: u64,
}

impl StatusBoard {
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// An attempt has failed. The first one since the last success counts.
    pub(crate) fn is_stale(&self) {
        self.status.send_if_modified(|status| {
            let first = status.stale_since.is_none();
            status.stale_since.get_or_insert_with(Instant::now);
            first
        });
    }

    /// The storage has answered.
    pub(crate) fn is_current(&self) {
        self.status.send_if_modified(|status| status.stale_since.take().is_some());
    }

    /// A batch became visible.
    pub(crate) fn applied(&self, position: Position, bytes: usize) {
        let sums = {
            let mut uncovered = self.uncovered();
            uncovered.batches.push_back((position.lsn, bytes as u64));
            uncovered.bytes += bytes as u64;
            uncovered.sums()
        };
        self.status.send_modify(|status| {
            status.position = position;
            (status.log_batches, status.log_bytes) = sums;
        });
    }

    /// There is a checkpoint that covers the log up to a number.
    pub(crate) fn covered(&self, manifest: u64, lsn: u64) {
        let sums = {
            let mut uncovered = self.uncovered();
            let uncovered = &mut *uncovered;
            while let Some((number, bytes)) = uncovered.batches.front().copied()
                && number <= lsn
            {
                uncovered.bytes -= bytes;
                uncovered.batches.pop_front();
            }
            uncovered.sums()
        };
        self.status.send_modify(|status| {
            status.manifest = manifest;
            (status.log_batches, status.log_bytes) = sums;
        });
    }

    /// The store was opened: at a checkpoint, and the batches after it.
    pub(crate) fn reopened(&self, base: &Manifest, position: Position, batches: &[(u64, usize)]) {
        let sums = {
            let mut uncovered = self.uncovered();
            *uncovered = Uncovered {
                batches: batches.iter().map(|(lsn, bytes)| (*lsn, *bytes as u64)).collect(),
                bytes: batches.iter().map(|(_, bytes)| *bytes as u64).sum(),
            };
            uncovered.sums()
        };
        self.status.send_modify(|status| {
            (status.manifest, status.position) = (base.number, position);
            (status.log_batches, status.log_bytes) = sums;
        });
    }

    pub(crate) fn maintenance(&self, reason: Option<&str>) {
        self.says(|status| &mut status.maintenance, reason);
    }

    pub(crate) fn taken_over(&self, message: Option<&str>) {
        self.says(|status| &mut status.taken_over, message);
    }

    fn says(&self, which: impl Fn(&mut Status) -> &mut Option<String>, text: Option<&str>) {
        self.status.send_if_modified(|status| {
            let said = which(status);
            let changed = said.as_deref() != text;
            if changed {
                *said = text.map(str::to_owned);
            }
            changed
        });
    }

    /// How the last checkpoint ended.
    pub(crate) fn checkpoint_ended(&self, error: Option<Error>) {
        self.ended(|status| &mut status.checkpoint_error, error);
    }

    /// How the last cleaning ended.
    pub(crate) fn cleaning_ended(&self, error: Option<Error>) {
        self.ended(|status| &mut status.cleaning_error, error);
    }

    fn ended(&self, which: impl Fn(&mut Status) -> &mut Option<Error>, error: Option<Error>) {
        self.status.send_if_modified(|status| {
            let before = std::mem::replace(which(status), error);
            before.is_some() || which(status).is_some()
        });
    }

    fn uncovered(&self) -> MutexGuard<'_, Uncovered> {
        self.uncovered.lock().expect("the lock is never poisoned: no panic while held")
    }
}

impl Uncovered {
    fn sums(&self) -> (u64, u64) {
        (self.batches.len() as u64, self.bytes)
    }
}
