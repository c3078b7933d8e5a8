//! A transaction being put together: typed reads that are remembered, and writes that are visible to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Action, Collection, DataManager, Direction, KeyRange, Position, ReadSet, Result, Scan, Snapshot, Transaction,
    collection::{escape_index_key, primary_of_index_key},
};

/// A transaction inside [`DataManagerExt::transact`](crate::DataManagerExt::transact). Clones are the same one.
///
/// Its reads see its own writes. Everything read becomes part of the read set, absent entries and whole scanned ranges
/// included, so a committed transaction is serializable.
#[derive(Clone, Debug)]
pub struct Tx {
    data: Arc<dyn DataManager>,
    snapshot: Snapshot,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    keys: BTreeSet<(String, Bytes)>,
    ranges: Vec<(String, KeyRange)>,
    groups: BTreeSet<String>,
    /// The last write of each key; none for a delete.
    writes: BTreeMap<String, BTreeMap<Bytes, Option<Bytes>>>,
    appends: Vec<(String, Bytes)>,
}

impl Tx {
    pub(crate) fn begin(data: Arc<dyn DataManager>) -> Self {
        let snapshot = data.snapshot();
        Self { data, snapshot, state: Arc::default() }
    }

    /// The position that the transaction reads at.
    pub fn position(&self) -> Position {
        self.snapshot.position()
    }

    /// Reads an entry.
    pub async fn get<V: DeserializeOwned>(
        &self,
        collection: &Collection<V>,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<V>> {
        let key = key.as_ref();
        let value = self.get_bytes(collection.name(), key).await?;
        value.map(|value| collection.decode(key, &value)).transpose()
    }

    /// Reads entries in the order of their keys, at most `limit` of them.
    ///
    /// The part of the range that was looked at becomes part of the read set.
    pub async fn scan<V: DeserializeOwned>(
        &self,
        collection: &Collection<V>,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, V)>> {
        let entries = self.scan_bytes(collection.name(), range, direction, limit).await?;
        entries.into_iter().map(|(key, value)| collection.decode(&key, &value).map(|value| (key, value))).collect()
    }

    /// The primary keys that an index of a collection has under exactly `index_key`, in their order.
    pub async fn find<V>(
        &self,
        collection: &Collection<V>,
        index: &str,
        index_key: impl AsRef<[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>> {
        let mut prefix = escape_index_key(index_key.as_ref());
        prefix.extend_from_slice(&[0, 1]);
        let range = KeyRange::prefix(prefix);
        let entries = self.scan_bytes(&collection.index_collection(index), range, Direction::Ascending, limit).await?;
        Ok(entries
            .into_iter()
            .filter_map(|(key, _)| primary_of_index_key(&key).map(|primary| key.slice_ref(primary)))
            .collect())
    }

    /// Sets an entry and keeps the indexes of its collection.
    pub async fn put<V: Serialize + DeserializeOwned>(
        &self,
        collection: &Collection<V>,
        key: impl AsRef<[u8]>,
        value: &V,
    ) -> Result<()> {
        let key = Bytes::copy_from_slice(key.as_ref());
        let encoded = collection.encode(value)?;
        self.remove_index_entries(collection, &key).await?;
        let mut state = self.state();
        for (index, index_key) in collection.index_entries(&key, value) {
            state.write(&index, index_key, Some(Bytes::new()));
        }
        state.write(collection.name(), key, Some(encoded));
        Ok(())
    }

    /// Removes an entry and its index entries; removing what is not there does nothing.
    pub async fn delete<V: DeserializeOwned>(&self, collection: &Collection<V>, key: impl AsRef<[u8]>) -> Result<()> {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.remove_index_entries(collection, &key).await?;
        self.state().write(collection.name(), key, None);
        Ok(())
    }

    /// Appends an entry under the position of the transaction; see [`Action::Append`]. The transaction's own reads do
    /// not see it. Collections that are appended to have no indexes.
    pub fn append<V: Serialize>(&self, collection: &Collection<V>, value: &V) -> Result<()> {
        let encoded = collection.encode(value)?;
        self.state().appends.push((collection.name().to_owned(), encoded));
        Ok(())
    }

    /// Takes a change group: the transaction conflicts with every other one that takes it meanwhile.
    pub fn take_group(&self, group: impl Into<String>) {
        self.state().groups.insert(group.into());
    }

    async fn remove_index_entries<V: DeserializeOwned>(&self, collection: &Collection<V>, key: &Bytes) -> Result<()> {
        if !collection.has_indexes() {
            return Ok(());
        }
        let Some(old) = self.get(collection, key).await? else { return Ok(()) };
        let mut state = self.state();
        for (index, index_key) in collection.index_entries(key, &old) {
            state.write(&index, index_key, None);
        }
        Ok(())
    }

    async fn get_bytes(&self, collection: &str, key: &[u8]) -> Result<Option<Bytes>> {
        {
            let mut state = self.state();
            if let Some(written) = state.writes.get(collection).and_then(|writes| writes.get(key)) {
                return Ok(written.clone());
            }
            state.keys.insert((collection.to_owned(), Bytes::copy_from_slice(key)));
        }
        self.data.get(&self.snapshot, collection, key).await
    }

    async fn scan_bytes(
        &self,
        collection: &str,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let own = self.state().writes_in(collection, &range);
        // Own deletes may hide stored entries, so that many more are needed to fill the page.
        let hidden = own.values().filter(|written| written.is_none()).count();
        let scan = Scan {
            collection: collection.to_owned(),
            range: range.clone(),
            direction,
            limit: limit.saturating_add(hidden),
        };
        let page = self.data.scan(&self.snapshot, &scan).await?;
        let seen = match page.entries.last() {
            Some((last, _)) if page.more => cut_after(range, direction, last),
            _ => range,
        };
        let mut merged: BTreeMap<Bytes, Bytes> = page.entries.into_iter().collect();
        for (key, written) in own {
            match written {
                Some(value) if seen.contains(&key) => drop(merged.insert(key, value)),
                _ => drop(merged.remove(&key)),
            }
        }
        self.state().ranges.push((collection.to_owned(), seen));
        Ok(match direction {
            Direction::Ascending => merged.into_iter().take(limit).collect(),
            Direction::Descending => merged.into_iter().rev().take(limit).collect(),
        })
    }

    /// Commits what was written and taken, if anything was.
    pub(crate) async fn finish(self) -> Result<Position> {
        let data = Arc::clone(&self.data);
        let (_at, transaction) = self.into_transaction();
        if transaction.changes_nothing() {
            return Ok(transaction.reads.position);
        }
        data.commit(transaction).await
    }

    /// What was read and written, and the snapshot that it was read from.
    pub(crate) fn into_transaction(self) -> (Snapshot, Transaction) {
        let state = std::mem::take(&mut *self.state());
        let transaction = state.into_transaction(self.snapshot.position());
        (self.snapshot, transaction)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the lock is never poisoned: no panic while held")
    }
}

impl State {
    fn write(&mut self, collection: &str, key: Bytes, value: Option<Bytes>) {
        self.writes.entry(collection.to_owned()).or_default().insert(key, value);
    }

    fn writes_in(&self, collection: &str, range: &KeyRange) -> BTreeMap<Bytes, Option<Bytes>> {
        let Some(writes) = self.writes.get(collection) else { return BTreeMap::new() };
        writes.iter().filter(|(key, _)| range.contains(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn into_transaction(self, position: Position) -> Transaction {
        let writes = self.writes.into_iter().flat_map(|(collection, writes)| {
            writes.into_iter().map(move |(key, value)| match value {
                Some(value) => Action::Put { collection: collection.clone(), key, value },
                None => Action::Delete { collection: collection.clone(), key },
            })
        });
        let appends = self.appends.into_iter().map(|(collection, value)| Action::Append { collection, value });
        Transaction {
            reads: ReadSet {
                position,
                keys: self.keys.into_iter().collect(),
                ranges: self.ranges,
                groups: self.groups.into_iter().collect(),
            },
            actions: writes.chain(appends).collect(),
        }
    }
}

/// The part of a range that a page ending with `last` has looked at.
fn cut_after(range: KeyRange, direction: Direction, last: &Bytes) -> KeyRange {
    match direction {
        Direction::Ascending => KeyRange { end: Bound::Included(last.clone()), ..range },
        Direction::Descending => KeyRange { start: Bound::Included(last.clone()), ..range },
    }
}
