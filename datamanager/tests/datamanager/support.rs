//! Transactions that only make sense wholly, and what of them is in a store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use runyard_datamanager::{
    Action, DataManager, Direction, KeyRange, Position, Result, Scan, Snapshot, Transaction, WalDataManager,
};
use runyard_objectstorage::{FaultyStorage, MemoryStorage, ObjectStorage};

pub(crate) type Faulty<S = Arc<MemoryStorage>> = FaultyStorage<S>;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn memory() -> Faulty {
    FaultyStorage::new(Arc::new(MemoryStorage::new()))
}

pub(crate) async fn open(storage: impl ObjectStorage) -> Result<WalDataManager> {
    let builder = WalDataManager::builder(Arc::new(storage)).base_path("base").commit_timeout(TIMEOUT);
    // No checkpoint comes in between, however long a test lasts.
    builder.checkpoint_age(Duration::MAX).open().await
}

/// Transaction `n`: several changes that only make sense together.
pub(crate) fn transaction(n: usize) -> Transaction {
    let n = Bytes::from(n.to_string());
    let put = |key: Bytes| Action::Put { collection: "c".into(), key, value: n.clone() };
    let append = Action::Append { collection: "events".into(), value: n.clone() };
    Transaction { actions: vec![put(n.clone()), append, put("last".into())], ..Default::default() }
}

pub(crate) async fn commit(data: &WalDataManager, n: usize) -> Result<Position> {
    data.commit(transaction(n)).await
}

pub(crate) async fn entries(data: &WalDataManager, collection: &str) -> Vec<(Bytes, Bytes)> {
    entries_at(data, &data.snapshot(), collection).await.unwrap()
}

pub(crate) async fn entries_at(data: &WalDataManager, at: &Snapshot, collection: &str) -> Result<Vec<(Bytes, Bytes)>> {
    let collection = collection.to_owned();
    let scan = Scan { collection, range: KeyRange::all(), direction: Direction::Ascending, limit: usize::MAX };
    Ok(data.scan(at, &scan).await?.entries)
}

/// The numbers of the transactions that are in the store, in their order; each of them wholly.
pub(crate) async fn present(data: &WalDataManager) -> Vec<usize> {
    let events = entries(data, "events").await;
    let numbers: Vec<usize> =
        events.iter().map(|(_, value)| std::str::from_utf8(value).unwrap().parse().unwrap()).collect();
    let mut model: BTreeMap<Bytes, Bytes> = events.iter().map(|(_, value)| (value.clone(), value.clone())).collect();
    model.extend(events.last().map(|(_, value)| (Bytes::from("last"), value.clone())));
    assert_eq!(entries(data, "c").await, model.into_iter().collect::<Vec<_>>(), "transactions are there wholly");
    numbers
}
