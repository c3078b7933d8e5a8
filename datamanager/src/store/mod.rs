//! What is visible, and to whom?
//!
//! The state in memory that every data manager of this crate shares: versions of entries, recent writes, recent
//! transactions. A batch becomes visible in one step. The lock is held for short sections, never across an await.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::{
    Direction, Error, KeyRange, Page, Position, ReadSet, Result, Scan, Snapshot,
    broken::{self, Broken},
    memtable::{Memtable, Scanned},
    record::Logged,
    validate::WriteHistory,
};

/// How many keys a scan looks at before it lets a commit in between.
const SCAN_STEPS: usize = 1024;

/// How many superseded writes are forgotten with each batch, beside as many as it makes, and with each old snapshot.
const PRUNE_STEPS: usize = 1024;

/// The visible state of a store.
#[derive(Debug)]
pub(crate) struct Store {
    state: RwLock<State>,
    /// How many snapshots read at each position. Locked after `state`, where both are.
    pins: Mutex<BTreeMap<Position, usize>>,
    visible: watch::Sender<Position>,
}

#[derive(Debug)]
struct State {
    table: Memtable,
    history: WriteHistory,
    recent: Recent,
    position: Position,
}

/// Transactions of the log that became visible in one step.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) lsn: u64,
    /// At least one, in order.
    pub(crate) transactions: Vec<Logged>,
    /// What it takes in the log.
    pub(crate) bytes: usize,
}

/// The newest batches, without a gap.
#[derive(Debug)]
struct Recent {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    bytes_max: usize,
}

/// Where the batch of a log number is.
#[derive(Debug)]
pub(crate) enum Place {
    /// Here.
    Recent(Arc<Batch>),
    /// In the log alone.
    Older,
    /// Not written yet.
    Future,
}

struct Pin {
    store: Arc<Store>,
    position: Position,
}

impl Store {
    /// An empty store that remembers the writes of `history_max` transactions, and batches of `recent_bytes_max`.
    pub(crate) fn new(history_max: usize, recent_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(State {
                table: Memtable::default(),
                history: WriteHistory::new(history_max),
                recent: Recent { batches: VecDeque::new(), bytes: 0, bytes_max: recent_bytes_max },
                position: Position::ZERO,
            }),
            pins: Mutex::default(),
            visible: watch::Sender::new(Position::ZERO),
        })
    }

    /// The last visible position, and news of it.
    pub(crate) fn visible(&self) -> watch::Receiver<Position> {
        self.visible.subscribe()
    }

    /// The last visible position.
    pub(crate) fn position(&self) -> Position {
        self.read().position
    }

    /// Pins the last visible position.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let state = self.read();
        let position = state.position;
        *self.pins().entry(position).or_default() += 1;
        drop(state);
        Snapshot::new(position, Arc::new(Pin { store: Arc::clone(self), position }))
    }

    pub(crate) fn get(&self, at: Position, collection: &str, key: &[u8]) -> Result<Option<Bytes>> {
        let state = self.read();
        state.check_readable(at)?;
        Ok(state.table.get(at, collection, key))
    }

    pub(crate) fn scan(&self, at: Position, scan: &Scan) -> Result<Page> {
        // One entry more than asked for says whether there are more.
        let want = scan.limit.saturating_add(1);
        let mut rest = scan.range.clone();
        let mut entries = Vec::new();
        loop {
            let scanned = {
                let state = self.read();
                state.check_readable(at)?;
                let limits = (want, SCAN_STEPS);
                state.table.scan(at, &scan.collection, &rest, scan.direction, limits, &mut entries)
            };
            let Scanned::UpTo(last) = scanned else { break };
            if entries.len() >= want {
                break;
            }
            rest = match scan.direction {
                Direction::Ascending => rest.after(last),
                Direction::Descending => rest.before(last),
            };
        }
        let more = entries.len() > scan.limit;
        entries.truncate(scan.limit);
        Ok(Page { entries, more })
    }

    /// A hash over all entries that are visible at a position, equal for equal content.
    pub(crate) fn state_hash(&self, at: Position) -> Result<[u8; 32]> {
        let collections: Vec<String> = self.read().table.collections().map(str::to_owned).collect();
        let mut hash = Sha256::new();
        for collection in collections {
            let mut range = KeyRange::all();
            loop {
                let scan =
                    Scan { collection: collection.clone(), range, direction: Direction::Ascending, limit: SCAN_STEPS };
                let page = self.scan(at, &scan)?;
                for (key, value) in &page.entries {
                    for part in [collection.as_bytes(), key, value] {
                        hash.update((part.len() as u64).to_le_bytes());
                        hash.update(part);
                    }
                }
                let Some((last, _)) = page.entries.last().filter(|_| page.more) else { break };
                range = KeyRange::all().after(last);
            }
        }
        Ok(hash.finalize().into())
    }

    /// Refuses a read set of which something was changed after its position.
    pub(crate) fn check(&self, reads: &ReadSet) -> Result<()> {
        self.read().check(reads)
    }

    /// Makes a batch visible, in one step.
    pub(crate) fn apply(&self, batch: Batch) {
        let mut state = self.write();
        state.apply(batch);
        self.prune(&mut state);
        let position = state.position;
        drop(state);
        self.announce(position);
    }

    /// Checks, places and makes visible one transaction, as a batch of its own.
    pub(crate) fn commit_alone(&self, reads: &ReadSet, place: impl FnOnce(Position) -> Batch) -> Result<Position> {
        let mut state = self.write();
        state.check(reads)?;
        let position = Position { lsn: state.position.lsn + 1, index: 0 };
        state.apply(place(position));
        self.prune(&mut state);
        drop(state);
        self.announce(position);
        Ok(position)
    }

    /// Where the batch of a log number is.
    pub(crate) fn place_of(&self, lsn: u64) -> Place {
        let state = self.read();
        if lsn > state.position.lsn {
            return Place::Future;
        }
        let Some(oldest) = state.recent.batches.front().map(|batch| batch.lsn) else { return Place::Older };
        let Some(index) = lsn.checked_sub(oldest) else { return Place::Older };
        state.recent.batches.get(index as usize).map_or(Place::Older, |batch| Place::Recent(Arc::clone(batch)))
    }

    fn prune(&self, state: &mut State) {
        let oldest_pin = self.pins().first_key_value().map(|(position, _)| *position);
        let written =
            state.recent.batches.back().map_or(0, |batch| {
                batch.transactions.iter().map(|logged| logged.committed.changes.len()).sum::<usize>()
            });
        let horizon = oldest_pin.filter(|_| !broken::is(Broken::PinsIgnored)).unwrap_or(state.position);
        state.table.prune(horizon, PRUNE_STEPS + written);
    }

    fn announce(&self, position: Position) {
        self.visible.send_if_modified(|visible| {
            let newer = position > *visible;
            *visible = position.max(*visible);
            newer
        });
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("the lock is never poisoned: no panic while held")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("the lock is never poisoned: no panic while held")
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<Position, usize>> {
        self.pins.lock().expect("the lock is never poisoned: no panic while held")
    }
}

impl State {
    fn check_readable(&self, at: Position) -> Result<()> {
        if at < self.table.pruned_to() {
            return Err(Error::PositionExpired { position: at, oldest: self.table.pruned_to() });
        }
        if at > self.position {
            let reason = format!("position {at} is not visible here yet: wait for it, and take a snapshot then");
            return Err(Error::Refused { reason });
        }
        Ok(())
    }

    fn check(&self, reads: &ReadSet) -> Result<()> {
        if reads.position > self.position && !reads.is_empty() {
            let reason = format!("it read at position {}, which does not exist yet", reads.position);
            return Err(Error::Refused { reason });
        }
        self.history.check(reads)
    }

    fn apply(&mut self, batch: Batch) {
        for logged in &batch.transactions {
            let position = logged.committed.position;
            for change in &logged.committed.changes {
                self.table.write(position, &change.collection, &change.key, change.value.as_ref());
            }
            self.history.record(logged);
            self.position = position;
        }
        self.recent.push(batch);
    }
}

impl Recent {
    /// The newest batch is kept whatever its size.
    fn push(&mut self, batch: Batch) {
        self.bytes += batch.bytes;
        self.batches.push_back(Arc::new(batch));
        while self.bytes > self.bytes_max && self.batches.len() > 1 {
            let Some(oldest) = self.batches.pop_front() else { return };
            self.bytes -= oldest.bytes;
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.store.pins();
        let was_oldest = pins.first_key_value().is_some_and(|(oldest, _)| *oldest == self.position);
        if let Some(readers) = pins.get_mut(&self.position) {
            *readers -= 1;
            if *readers > 0 {
                return;
            }
            pins.remove(&self.position);
        }
        drop(pins);
        // What only this snapshot saw goes now; more than a little of it goes with the next batches.
        if was_oldest {
            self.store.prune(&mut self.store.write());
        }
    }
}

#[cfg(test)]
mod tests;
