//! Processes that share a store, with a clock of their own each, and checkpoints that are made by hand.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use runyard_objectstorage::{FaultyStorage, MemoryStorage, ObjectKey, ObjectStorage, ObjectStorageExt, PutMode};

use super::{VirtualUptime, WalBuilder, WalDataManager, floor::gate::CLEANER_WAIT};
use crate::{
    Action, DataManager, Direction, KeyRange, Position, ReadSet, Result, Scan, Transaction, base::testing::publish,
    layout::Layout, manifest::FileId, table::DataFiles,
};

mod attempts;
mod cleaning;
mod handing_back;
mod opening;
mod sleepers;
mod transfer;
mod verify;

/// A process: its own connection to the storage, and its own clock.
struct Process {
    storage: FaultyStorage<Arc<MemoryStorage>>,
    uptime: Arc<VirtualUptime>,
    data: WalDataManager,
}

fn objects() -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::new())
}

fn builder(storage: impl ObjectStorage, uptime: &Arc<VirtualUptime>) -> WalBuilder {
    let uptime = Arc::clone(uptime);
    let builder = WalDataManager::builder(Arc::new(storage)).base_path("base").uptime(uptime);
    // Checkpoints are made when a test says so.
    builder.commit_timeout(Duration::from_secs(100_000)).checkpoint_age(Duration::MAX)
}

impl Process {
    async fn open(objects: &Arc<MemoryStorage>) -> Self {
        let (storage, uptime) = (FaultyStorage::new(Arc::clone(objects)), Arc::new(VirtualUptime::new()));
        let data = builder(storage.clone(), &uptime).open().await.expect("a whole store");
        Self { storage, uptime, data }
    }

    /// Sets an entry of its own, and the one that everybody sets.
    async fn write(&self, n: u64) -> Position {
        self.data.commit(transaction(n)).await.expect("committed")
    }

    /// Writes a batch and makes a checkpoint, so many times.
    async fn checkpoints(&self, count: u64, first: u64) {
        for n in first..first + count {
            self.write(n).await;
            checkpoint(&self.data).await;
        }
    }

    /// Gives the cleaner the time that it waits for, and what it does then.
    async fn wait_for_cleaner(&self) {
        tokio::time::sleep(CLEANER_WAIT + Duration::from_secs(1)).await;
    }
}

fn transaction(n: u64) -> Transaction {
    let put = |key: String| Action::Put { collection: "c".into(), key: key.into(), value: n.to_string().into() };
    Transaction { actions: vec![put(format!("key {n}")), put("last".into())], ..Transaction::default() }
}

/// What is in the store, by number, and the number that was set last.
async fn content(data: &WalDataManager) -> (Vec<u64>, Option<u64>) {
    let range = KeyRange::all();
    let scan = Scan { collection: "c".into(), range, direction: Direction::Ascending, limit: usize::MAX };
    let page = data.scan(&data.snapshot(), &scan).await.expect("readable");
    let number = |value: &Bytes| std::str::from_utf8(value).expect("text").parse().expect("a number");
    let (last, others): (Vec<_>, Vec<_>) = page.entries.iter().partition(|(key, _)| key == "last");
    let mut others: Vec<u64> = others.iter().map(|(_, value)| number(value)).collect();
    others.sort_unstable();
    (others, last.first().map(|(_, value)| number(value)))
}

/// The names of all objects, without the base path.
async fn names(objects: &Arc<MemoryStorage>) -> Vec<String> {
    let listed = objects.list_objects("").await.expect("listable");
    listed.iter().map(|meta| meta.key.as_str().strip_prefix("base/").expect("below the base path").to_owned()).collect()
}

async fn names_in(objects: &Arc<MemoryStorage>, directory: &str) -> Vec<u64> {
    let names = names(objects).await;
    let numbers = names.iter().filter_map(|name| name.strip_prefix(directory));
    numbers.map(|digits| digits.parse().expect("a number")).collect()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(&format!("base/{name}")).expect("a good key")
}

fn log(lsn: u64) -> ObjectKey {
    Layout::new("base").expect("a good path").log(lsn)
}

async fn put(objects: &Arc<MemoryStorage>, key: &ObjectKey, bytes: impl Into<Bytes>) {
    objects.put_bytes(key, bytes.into(), PutMode::Overwrite).await.expect("written");
}

/// Makes a checkpoint of everything that is visible, and publishes it.
async fn checkpoint(data: &WalDataManager) -> u64 {
    let frozen = data.handle.store.rotate();
    let objects = &data.handle.source.log;
    let files = DataFiles::new(Arc::clone(&objects.storage), objects.layout.clone(), 0);
    let base = publish(&frozen, &files).await;
    let number = base.manifest().number;
    assert!(data.handle.current.replace(base));
    data.handle.current.published.send_replace(number);
    number
}
