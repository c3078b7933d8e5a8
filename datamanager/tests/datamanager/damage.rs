//! One wrong bit, or a missing end, in any object of a store: exhaustively.
//!
//! Whoever reads everything is told of it, and of which object it is in. What only somebody reads who goes back to an
//! older checkpoint is on a list here, with the reason, and is noticed then.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;
use futures::StreamExt;
use runyard_datamanager::{
    DataManager, DataManagerExt, Direction, Error, KeyRange, Position, Result, Scan, Snapshot, WalDataManager,
};
use runyard_objectstorage::{MemoryStorage, ObjectStorage, ObjectStorageExt, PutMode};

use crate::script::{
    BULK, EVENTS, JOBS, Objects, TRANSACTIONS, builder, bulk_keys, check, check_group, check_hash, check_history,
    names_file, objects, storage_of, store,
};

/// Something that a user does, and that may meet the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Reads an entry, at one of the checkpoints or now.
    Entry(usize, &'static str, usize),
    /// Scans for that entry alone, which reads every file that may have it, also those where a newer version lies over it.
    Scan(usize, &'static str, usize),
    /// Asks whether a change group was taken.
    Group,
    /// Reads the transaction after an event from the log.
    Follow(usize),
    /// Reads what was visible at an event.
    Past(usize),
    /// Opens the store.
    Open,
}

/// A process that has the store open, without anything in its memory that can be read again.
struct Reader {
    storage: MemoryStorage,
    data: WalDataManager,
    /// At each checkpoint, and now.
    snapshots: Vec<Snapshot>,
    /// The keys of each collection, also of what was deleted.
    keys: BTreeMap<&'static str, Vec<Bytes>>,
    positions: Vec<Position>,
    /// What is looked at, first what met the damage last: the next one is near.
    looks: Vec<Look>,
}

impl Reader {
    async fn open(objects: &Objects) -> Self {
        let storage = storage_of(objects).await;
        let data = builder(storage.clone(), "base", 2).cache_bytes_max(0).recent_bytes_max(0).open().await.unwrap();
        let now = data.snapshot();
        let events = data.read_all(&now, &EVENTS, KeyRange::all()).await.unwrap();
        let positions: Vec<_> = events.iter().map(|(key, _)| Position::from_append_key(key).unwrap().0).collect();
        let mut snapshots = vec![now.clone()];
        for position in &positions {
            snapshots.extend(data.snapshot_at(*position).await);
        }
        let owners = JOBS.index_collection("owner").leak();
        let mut keys: BTreeMap<&'static str, Vec<Bytes>> = BTreeMap::new();
        for collection in [JOBS.name(), owners, EVENTS.name(), BULK.name()] {
            for at in &snapshots {
                let entries = crate::support::entries_at(&data, at, collection).await.unwrap();
                keys.entry(collection).or_default().extend(entries.into_iter().map(|(key, _)| key));
            }
        }
        keys.entry(BULK.name()).or_default().extend(bulk_keys());
        let mut looks = vec![Look::Open, Look::Group];
        for (collection, keys) in &mut keys {
            keys.sort();
            keys.dedup();
            let keys = 0..keys.len();
            for (key, at) in keys.flat_map(|key| (0..snapshots.len()).map(move |at| (key, at))) {
                looks.extend([Look::Entry(at, collection, key), Look::Scan(at, collection, key)]);
            }
        }
        looks.extend((0..positions.len()).map(Look::Past));
        // After the last one there is nothing yet.
        looks.extend((0..positions.len() - 1).map(Look::Follow));
        Self { storage, data, snapshots, keys, positions, looks }
    }

    async fn look(&self, look: Look) -> Result<()> {
        match look {
            Look::Open => drop(builder(self.storage.clone(), "base", 3).open().await?),
            Look::Group => check_group(&self.data).await?,
            Look::Entry(at, collection, key) => {
                drop(self.data.get(&self.snapshots[at], collection, &self.keys[collection][key]).await?);
            }
            Look::Scan(at, collection, key) => {
                let key = &self.keys[collection][key];
                let range = KeyRange { start: Bound::Included(key.clone()), end: Bound::Included(key.clone()) };
                let (collection, direction) = (collection.to_owned(), Direction::Ascending);
                let scan = Scan { collection, range, direction, limit: 1 };
                drop(self.data.scan(&self.snapshots[at], &scan).await?);
            }
            Look::Past(event) => match self.data.snapshot_at(self.positions[event]).await {
                Err(Error::PositionExpired { .. }) => {}
                result => drop(result?),
            },
            Look::Follow(event) => match self.data.follow(self.positions[event]).next().await {
                Some(Err(Error::PositionExpired { .. })) => {}
                Some(result) => drop(result?),
                None => {}
            },
        }
        Ok(())
    }

    /// Reads everything from the beginning; what is not an error is right.
    async fn read_everything(&self) -> Result<()> {
        let data = builder(self.storage.clone(), "base", 3).open().await?;
        assert_eq!(check(&data).await?, TRANSACTIONS);
        check_history(&data).await?;
        check_hash(&data).await;
        Ok(())
    }

    /// Does what an operator does who goes back to the checkpoint before.
    async fn go_back(&self) -> Result<()> {
        let mut objects = objects(&self.storage).await;
        let newest = objects.keys().rfind(|name| name.contains("/manifest/")).unwrap().clone();
        objects.remove(&newest);
        let data = builder(storage_of(&objects).await, "base", 3).open().await?;
        assert_eq!(check(&data).await?, TRANSACTIONS);
        Ok(())
    }

    /// Looks at everything until an error tells of damage; none if nobody is told.
    async fn notice(&mut self) -> Option<Error> {
        for index in 0..self.looks.len() {
            if let Err(error) = self.look(self.looks[index]).await {
                self.looks[..=index].rotate_right(1);
                return Some(error);
            }
        }
        self.read_everything().await.err()
    }
}

/// Whether only who goes back to an older checkpoint reads an object: when groups were taken is asked of the newest
/// checkpoint alone, so what older ones know of that is a spare.
fn is_a_spare(name: &str, objects: &Objects) -> bool {
    let (_, newest) = objects.iter().rfind(|(name, _)| name.starts_with("base/manifest/")).unwrap();
    name.strip_prefix("base/data/").is_some_and(|file| file.starts_with("%00groups/") && !names_file(newest, file))
}

/// Whether an error says where the damage is.
fn names(error: &Error, name: &str) -> bool {
    match error {
        Error::Corrupt { object, .. } => object == name,
        // One bit away from a version that there may be one day.
        Error::FormatVersion { base_path, .. } => name == format!("{base_path}/format"),
        _ => false,
    }
}

/// Damages every object in every way that `damages` makes of it.
async fn damage_everything(damages: impl Fn(&[u8]) -> Vec<(String, Vec<u8>)>) {
    let objects = store().await;
    let mut reader = Reader::open(&objects).await;
    for (name, bytes) in &objects {
        let key = name.parse().unwrap();
        let is_a_spare = is_a_spare(name, &objects);
        if is_a_spare {
            reader.storage.delete(&key).await.unwrap();
            reader.read_everything().await.expect("nobody reads it");
        }
        for (what, damaged) in damages(bytes) {
            reader.storage.put_bytes(&key, damaged.into(), PutMode::Overwrite).await.unwrap();
            let told = if is_a_spare { reader.go_back().await.err() } else { reader.notice().await };
            let error = told.unwrap_or_else(|| panic!("{what} of {name} goes unnoticed"));
            assert!(names(&error, name), "{what} of {name}: {error}");
        }
        reader.storage.put_bytes(&key, bytes.clone(), PutMode::Overwrite).await.unwrap();
    }
    reader.read_everything().await.unwrap();
    reader.go_back().await.unwrap();
    assert!(objects.keys().any(|name| is_a_spare(name, &objects)), "the list is not longer than it must be");
}

#[tokio::test(start_paused = true)]
async fn no_flipped_bit_in_any_object_goes_unnoticed() {
    let flipped = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit}"), bytes)
    };
    damage_everything(|bytes| (0..bytes.len() * 8).map(|bit| flipped(bytes, bit)).collect()).await;
}

#[tokio::test(start_paused = true)]
async fn no_object_that_ends_early_goes_unnoticed() {
    let cut = |bytes: &[u8], length: usize| (format!("the end after {length} bytes"), bytes[..length].to_vec());
    damage_everything(|bytes| (0..bytes.len()).map(|length| cut(bytes, length)).collect()).await;
}
