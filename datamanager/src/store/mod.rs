//! What is visible, and to whom?
//!
//! The state that every data manager of this crate shares: tiers of entries, recent batches, recent transactions. A
//! batch becomes visible in one step. Locks are held for short sections, never across an await.
//!
//! ```text
//! apply ->  active table          written, by one batch at a time
//!           frozen tables         between `rotate` and `install`: what a checkpoint is being made of
//!           base                  the data files of the newest checkpoint
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    Direction, Error, KeyRange, Page, Position, ReadSet, Result, Scan, Snapshot,
    base::Base,
    broken::{self, Broken},
    history::History,
    manifest::{Manifest, Tip},
    system::{self, GROUPS},
};

mod check;
mod cursor;
mod recent;
mod state_hash;
mod view;
mod visible;

pub(crate) use check::Check;
pub(crate) use cursor::Cursor;
pub(crate) use recent::{Batch, Place};
pub(crate) use state_hash::StateHash;
pub(crate) use view::{Frozen, Table};

use check::{check_base, explain};
use recent::Recent;
use view::View;
use visible::Visible;

/// How many superseded writes are forgotten with each batch, beside as many as it makes, and with each old snapshot.
const PRUNE_STEPS: usize = 1024;

/// The visible state of a store.
#[derive(Debug)]
pub(crate) struct Store {
    state: RwLock<State>,
    /// How many snapshots read at each position. Locked after `state`, where both are.
    pins: Mutex<BTreeMap<Position, usize>>,
    visible: Visible,
    /// How many transactions are remembered.
    history_max: u64,
    /// The newest checkpoint of which files were found to be cleaned away.
    gone: AtomicU64,
}

#[derive(Debug)]
struct State {
    view: Arc<View>,
    tip: Tip,
    position: Position,
    history: History,
    recent: Recent,
}

/// What a snapshot holds.
#[derive(Debug)]
struct Pin {
    store: Arc<Store>,
    position: Position,
    view: Arc<View>,
    /// Which other store it may be read through; see [`Store::lend`].
    lent_to: Option<Arc<Store>>,
}

impl Store {
    /// A store that begins as a checkpoint, remembers the writes of `history_max` transactions, and keeps batches of
    /// about `recent_bytes_max` in memory.
    pub(crate) fn new(base: Arc<Base>, history_max: u64, recent_bytes_max: usize) -> Arc<Self> {
        Self::with_table(base, Table::default(), history_max, recent_bytes_max)
    }

    /// An empty store that never gets a checkpoint.
    pub(crate) fn in_memory(history_max: u64, recent_bytes_max: usize) -> Arc<Self> {
        let base = Base::empty([0; 32]);
        Self::with_table(base, Table::bottom(), history_max, recent_bytes_max)
    }

    fn with_table(base: Arc<Base>, active: Table, history_max: u64, recent_bytes_max: usize) -> Arc<Self> {
        let Manifest { tip, position, ref history, .. } = **base.manifest();
        let history = history.clone();
        let view = Arc::new(View::new(base, active));
        Arc::new(Self {
            state: RwLock::new(State { view, tip, position, history, recent: Recent::new(recent_bytes_max) }),
            pins: Mutex::default(),
            visible: Visible::new(position),
            history_max,
            gone: AtomicU64::default(),
        })
    }

    /// Waits until something after a position is visible.
    pub(crate) async fn visible_beyond(&self, seen: Position) {
        self.visible.beyond(seen).await;
    }

    /// The last visible position.
    pub(crate) fn position(&self) -> Position {
        self.read().position
    }

    /// The last visible batch.
    pub(crate) fn tip(&self) -> Tip {
        self.read().tip
    }

    /// Up to where nobody can say any more what was written when.
    pub(crate) fn forgotten(&self) -> Position {
        self.read().history.forgotten
    }

    /// The newest checkpoint that is installed.
    pub(crate) fn base(&self) -> Arc<Base> {
        Arc::clone(&self.read().view.base)
    }

    /// Notes that the checkpoint which ends at a position was found to be cleaned away. Returns whether it is the one
    /// that is read from.
    pub(crate) fn note_gone(&self, covered: Position) -> bool {
        let base = self.base();
        let is_read_from = base.manifest().number > 0 && base.position() == covered;
        if is_read_from {
            self.gone.fetch_max(base.manifest().number, Ordering::Relaxed);
        }
        is_read_from
    }

    /// Whether the checkpoint that is read from was cleaned away, as far as was noted.
    pub(crate) fn is_base_gone(&self) -> bool {
        (1..=self.gone.load(Ordering::Relaxed)).contains(&self.base().manifest().number)
    }

    /// Pins the last visible position.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let state = self.read();
        self.pin(&state, state.position, None)
    }

    /// Pins what is visible here, to be read through another store: that one's own past, read back.
    pub(crate) fn lend(self: &Arc<Self>, to: &Arc<Self>) -> Snapshot {
        let state = self.read();
        self.pin(&state, state.position, Some(Arc::clone(to)))
    }

    /// Pins a position whose versions are all still here.
    ///
    /// # Errors
    /// [`Error::PositionExpired`] if they are not, [`Error::Refused`] if it is not visible yet.
    pub(crate) fn snapshot_at(self: &Arc<Self>, position: Position) -> Result<Snapshot> {
        let state = self.read();
        if position > state.position {
            let reason = format!("position {position} is not visible here yet: wait for it, and take a snapshot then");
            return Err(Error::Refused { reason });
        }
        // Nothing is pruned while the state is locked.
        let oldest = state.view.oldest();
        if position < oldest {
            return Err(Error::PositionExpired { position, oldest });
        }
        Ok(self.pin(&state, position, None))
    }

    fn pin(self: &Arc<Self>, state: &State, position: Position, lent_to: Option<Arc<Self>>) -> Snapshot {
        *self.pins().entry(position).or_default() += 1;
        let view = Arc::clone(&state.view);
        Snapshot::new(position, Arc::new(Pin { store: Arc::clone(self), position, view, lent_to }))
    }

    fn pin_of<'a>(&self, at: &'a Snapshot) -> Result<&'a Pin> {
        let is_ours = |pin: &&Pin| std::ptr::eq(&**pin.lent_to.as_ref().unwrap_or(&pin.store), self);
        let ours = at.pin::<Pin>().filter(is_ours);
        ours.ok_or_else(|| Error::Refused { reason: "the snapshot is one of another store".to_owned() })
    }

    /// Reads an entry.
    pub(crate) async fn get(&self, at: &Snapshot, collection: &str, key: &[u8]) -> Result<Option<Bytes>> {
        let pin = self.pin_of(at)?;
        if let Some(value) = pin.view.get(pin.position, collection, key) {
            return Ok(value);
        }
        let found = pin.view.base.get(collection, key).await;
        Ok(found.map_err(|error| self.explain(error, pin))?.and_then(|entry| entry.value))
    }

    /// Reads entries in the order of their keys.
    pub(crate) async fn scan(&self, at: &Snapshot, scan: &Scan) -> Result<Page> {
        let pin = self.pin_of(at)?;
        let Scan { collection, range, direction, limit } = scan;
        // One entry more than asked for says whether there are more.
        let want = limit.saturating_add(1);
        let mut cursor = Cursor::new(&pin.view, pin.position, (collection, range.clone(), *direction), want);
        let mut entries = Vec::new();
        while let Some(entry) = cursor.next().await.map_err(|error| self.explain(error, pin))? {
            if entries.len() == *limit {
                return Ok(Page { entries, more: true });
            }
            entries.push(entry);
        }
        Ok(Page { entries, more: false })
    }

    /// A hash over all entries of a snapshot, equal for equal content, in whichever tiers it is.
    pub(crate) async fn state_hash(&self, at: &Snapshot) -> Result<[u8; 32]> {
        let mut hash = StateHash::default();
        for collection in self.collections(at)? {
            let mut cursor = self.cursor(at, &collection)?;
            while let Some((key, value)) = self.next(at, &mut cursor).await? {
                hash.entry(&collection, &key, &value);
            }
        }
        Ok(hash.finish())
    }

    /// The names of the users' collections, in order; some may have no entries.
    pub(crate) fn collections(&self, at: &Snapshot) -> Result<Vec<String>> {
        let names = self.pin_of(at)?.view.collections();
        Ok(names.into_iter().filter(|name| !system::is_hidden(name)).collect())
    }

    /// The beginning of a collection.
    pub(crate) fn cursor(&self, at: &Snapshot, collection: &str) -> Result<Cursor> {
        let pin = self.pin_of(at)?;
        let all = (collection, KeyRange::all(), Direction::Ascending);
        Ok(Cursor::new(&pin.view, pin.position, all, usize::MAX))
    }

    /// The next entry of a cursor of the same snapshot.
    pub(crate) async fn next(&self, at: &Snapshot, cursor: &mut Cursor) -> Result<Option<(Bytes, Bytes)>> {
        let pin = self.pin_of(at)?;
        cursor.next().await.map_err(|error| self.explain(error, pin))
    }

    /// How many tables a read looks into before the data files.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> usize {
        self.read().view.tables().len()
    }

    fn explain(&self, error: Error, pin: &Pin) -> Error {
        explain(error, &pin.view.base, &self.base(), pin.position)
    }

    /// Checks a read set against everything that became visible after its position, as far as that is in memory.
    pub(crate) fn check(&self, reads: &ReadSet) -> Check {
        self.read().check(reads)
    }

    /// Checks a read set against what became visible after its position and is no longer in memory, and moves its
    /// position there; the rest is left to [`check`](Self::check).
    pub(crate) async fn check_below(&self, reads: &mut ReadSet) -> Result<()> {
        while !reads.is_empty() {
            let base = {
                let state = self.read();
                if reads.position >= state.view.base.position() {
                    break;
                }
                state.check_remembered(reads)?;
                Arc::clone(&state.view.base)
            };
            let checked = match broken::is(Broken::CheckpointUnchecked) {
                true => Ok(()),
                false => check_base(&base, reads).await,
            };
            checked.map_err(|error| explain(error, &base, &self.base(), reads.position))?;
            reads.position = base.position();
        }
        Ok(())
    }

    /// Checks a read set of a transaction that changes nothing; returns the position at which it still holds.
    pub(crate) async fn check_alone(&self, mut reads: ReadSet) -> Result<Position> {
        loop {
            self.check_below(&mut reads).await?;
            let state = self.read();
            match state.check(&reads) {
                Check::Valid => return Ok(state.position),
                Check::Refused(error) => return Err(error),
                // A newer base came in between.
                Check::BelowBase => {}
            }
        }
    }

    /// The number of the manifest that an import is about to publish, as long as it is open whether it does.
    pub(crate) fn import_pending(&self) -> Option<u64> {
        let state = self.read();
        // Once a checkpoint contains it, that checkpoint is the one with the number, or a later one.
        let number = state.view.get(state.position, system::SYSTEM, system::IMPORT)??;
        let number = std::str::from_utf8(&number).ok()?.parse().ok()?;
        (number > state.view.base.manifest().number).then_some(number)
    }

    /// Makes a batch visible, in one step.
    pub(crate) fn apply(&self, batch: Batch) {
        let mut state = self.write();
        state.apply(batch, self.history_max);
        self.prune(&state);
        let position = state.position;
        drop(state);
        self.announce(position);
    }

    /// Checks, places and makes visible one transaction, as a batch of its own.
    pub(crate) fn commit_alone(&self, reads: &ReadSet, place: impl FnOnce(Position) -> Batch) -> Result<Position> {
        let mut state = self.write();
        match state.check(reads) {
            Check::Valid => {}
            Check::Refused(error) => return Err(error),
            Check::BelowBase => {
                return Err(Error::PositionExpired { position: reads.position, oldest: state.view.base.position() });
            }
        }
        let position = Position { lsn: state.position.lsn + 1, index: 0 };
        state.apply(place(position), self.history_max);
        self.prune(&state);
        drop(state);
        self.announce(position);
        Ok(position)
    }

    /// Lets readers see a position of which nothing is there yet: [`Broken::PositionBeforeData`].
    pub(crate) fn show_early(&self, position: Position) {
        self.write().position = position;
        self.announce(position);
    }

    /// Where the batch of a log number is.
    pub(crate) fn place_of(&self, lsn: u64) -> Place {
        let state = self.read();
        if lsn > state.tip.lsn {
            return Place::Future;
        }
        state.recent.get(lsn).map_or(Place::Older, |batch| Place::Recent(Arc::clone(batch)))
    }

    /// Freezes what is in memory, so that a checkpoint can be made of it; what is written from now on is apart.
    pub(crate) fn rotate(&self) -> Frozen {
        let mut state = self.write();
        let view = Arc::new(state.view.rotated());
        let frozen = view.tables()[1..].to_vec();
        state.view = Arc::clone(&view);
        Frozen {
            base: Arc::clone(&view.base),
            tables: frozen,
            tip: state.tip,
            position: state.position,
            history: state.history.clone(),
        }
    }

    /// Puts a newer checkpoint of what is visible below what is in memory, and drops the tables that it covers. Returns
    /// whether it was: one that is older, or ahead of what is visible here, is not.
    pub(crate) fn install(&self, base: Arc<Base>) -> bool {
        let mut state = self.write();
        let covered = base.position();
        let is_ahead = covered > state.position && !broken::is(Broken::AdoptedAhead);
        if base.manifest().number <= state.view.base.manifest().number || is_ahead {
            return false;
        }
        // Whoever made it may have forgotten more, and dropped tombstones by that.
        state.history.forgotten = state.history.forgotten.max(base.manifest().history.forgotten);
        state.view = Arc::new(state.view.on(base));
        true
    }

    /// Replaces everything by what another store was found to hold, because the log between is gone. Snapshots go on
    /// reading what they saw.
    pub(crate) fn reset(&self, recovered: &Self) {
        let mut state = self.write();
        let mut newer = recovered.write();
        std::mem::swap(&mut *state, &mut *newer);
        drop(newer);
        let position = state.position;
        drop(state);
        self.announce(position);
    }

    fn prune(&self, state: &State) {
        let oldest_pin = self.pins().first_key_value().map(|(position, _)| *position);
        let written = state.recent.newest().map_or(0, |batch| {
            batch.transactions.iter().map(|logged| logged.committed.changes.len() + logged.groups.len()).sum::<usize>()
        });
        let horizon = oldest_pin.filter(|_| !broken::is(Broken::PinsIgnored)).unwrap_or(state.position);
        for table in state.view.tables() {
            table.write().prune(horizon, state.history.forgotten, PRUNE_STEPS + written);
        }
    }

    fn announce(&self, position: Position) {
        self.visible.grow(position);
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
    fn apply(&mut self, batch: Batch, history_max: u64) {
        let mut table = self.view.active().write();
        for logged in &batch.transactions {
            let position = logged.committed.position;
            for change in &logged.committed.changes {
                table.write(position, &change.collection, &change.key, change.value.as_deref());
            }
            for group in &logged.groups {
                table.write(position, GROUPS, group.as_bytes(), None);
            }
            self.history.record(position, history_max);
            self.position = position;
        }
        drop(table);
        self.tip = Tip { lsn: batch.lsn, hash: batch.hash };
        self.recent.push(batch);
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
            self.store.prune(&self.store.write());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
