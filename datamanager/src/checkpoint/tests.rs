use std::ops::Bound;

use bytes::Bytes;
use futures::TryStreamExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use runyard_objectstorage::{MemoryStorage, ObjectStorage, ObjectStorageExt, PutMode};

use super::*;
use crate::{Direction, KeyRange, entry::Entry, layout::Layout, manifest::format::decode};

type Entries = BTreeMap<Bytes, Entry>;

impl Changes for BTreeMap<String, Entries> {
    fn collections(&self) -> BTreeSet<String> {
        self.keys().cloned().collect()
    }

    fn entries(&self, collection: &str, range: KeyRange) -> Box<dyn Iterator<Item = Entry> + Send> {
        let entries: Vec<_> = self
            .get(collection)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|e| range.contains(&e.key))
            .cloned()
            .collect();
        Box::new(entries.into_iter())
    }
}

/// A store that is nothing but checkpoints, of one collection, and what it should hold.
struct Kit {
    storage: Arc<dyn ObjectStorage>,
    checkpointer: Checkpointer,
    base: Arc<Base>,
    lsn: u64,
    forgotten: u64,
    model: BTreeMap<Bytes, Bytes>,
}

fn at(lsn: u64) -> Position {
    Position { lsn, index: 0 }
}

fn checkpointer(storage: &Arc<dyn ObjectStorage>, data_file_size_max: u64, writer: u64) -> Checkpointer {
    let layout = Layout::new("s").expect("a base path");
    Checkpointer {
        files: DataFiles::new(storage.clone(), layout, 1 << 20),
        settings: Settings { data_file_size_max, deltas_max: 16 },
        file_settings: FileSettings { block_bytes: 256, compression: None },
        writer,
        number: 0,
    }
}

impl Kit {
    fn new(data_file_size_max: u64) -> Self {
        let storage: Arc<dyn ObjectStorage> = Arc::new(MemoryStorage::new());
        let checkpointer = checkpointer(&storage, data_file_size_max, 1);
        Self { storage, checkpointer, base: Base::empty([0; 32]), lsn: 0, forgotten: 0, model: BTreeMap::new() }
    }

    fn covered(&mut self, changes: impl IntoIterator<Item = (String, Option<Vec<u8>>)>) -> Covered {
        self.lsn += 1;
        let mut entries = Entries::new();
        for (key, value) in changes {
            let (key, value) = (Bytes::from(key), value.map(Bytes::from));
            match &value {
                Some(value) => self.model.insert(key.clone(), value.clone()),
                None => self.model.remove(&key),
            };
            entries.insert(key.clone(), Entry { key, position: at(self.lsn), value });
        }
        Covered {
            tip: Tip { lsn: self.lsn, hash: [7; 32] },
            position: at(self.lsn),
            history: History { forgotten: at(self.forgotten), ..History::default() },
            changes: Arc::new(BTreeMap::from([("c".to_owned(), entries)])),
        }
    }

    async fn checkpoint(&mut self, changes: impl IntoIterator<Item = (String, Option<Vec<u8>>)>) -> u64 {
        let covered = self.covered(changes);
        let outcome = self.checkpointer.checkpoint(self.base.manifest(), covered).await.expect("a checkpoint");
        let Outcome::Written { base, bytes_written } = outcome else { panic!("nobody else writes") };
        // What a process that opens the store reads.
        let key = self.checkpointer.files.layout().manifest(base.manifest().number);
        let bytes = self.storage.get_bytes(&key).await.expect("the manifest");
        let (manifest, _) = decode(base.manifest().number, &bytes).expect("it is good");
        assert_eq!(manifest, **base.manifest());
        self.base = base;
        self.check_files();
        bytes_written
    }

    fn files(&self) -> CollectionFiles {
        self.base.manifest().collections.get("c").cloned().unwrap_or_default()
    }

    fn check_files(&self) {
        let (files, max) = (self.files(), self.checkpointer.settings.data_file_size_max);
        assert!(files.deltas.len() <= 16);
        let total: u64 = files.base.iter().map(|file| file.size).sum();
        assert!(files.base.len() as u64 <= 4 * total / max + 1, "{} of {total}", files.base.len());
        for file in files.base.iter().chain(files.deltas.iter().map(|delta| &delta.file)) {
            assert!(file.size <= max || file.entries == 1, "{file:?}");
        }
    }

    async fn check(&self) {
        let found: Vec<Entry> =
            self.base.scan("c", KeyRange::all(), Direction::Ascending).try_collect().await.expect("it can be read");
        let found: BTreeMap<_, _> = found.into_iter().filter_map(|entry| Some((entry.key, entry.value?))).collect();
        assert_eq!(found.len(), self.model.len());
        assert!(found == self.model);
    }

    async fn get(&self, key: &str) -> Option<Entry> {
        self.base.get("c", key.as_bytes()).await.expect("it can be read")
    }
}

fn key(n: usize) -> String {
    format!("key {n:05}")
}

fn value(rng: &mut StdRng, bytes: usize) -> Option<Vec<u8>> {
    Some((0..bytes).map(|_| rng.random()).collect())
}

#[tokio::test]
async fn a_thousand_random_checkpoints_hold_what_a_map_does_and_keep_the_bounds() {
    let seed = 11;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut kit = Kit::new(8 << 10);
    let mut keys = 1_000;
    for round in 0..1_000 {
        if rng.random_bool(0.02) {
            keys = rng.random_range(1..2_000);
        }
        let deletes = rng.random_range(0.0..1.0);
        let changes: Vec<_> = (0..rng.random_range(0..60))
            .map(|_| {
                let bytes = if rng.random_bool(0.002) { 20_000 } else { rng.random_range(0..300) };
                let value = if rng.random_bool(deletes) { None } else { value(&mut rng, bytes) };
                (key(rng.random_range(0..keys)), value)
            })
            .collect();
        kit.forgotten = kit.lsn.saturating_sub(20);
        kit.checkpoint(changes).await;
        if round % 10 == 0 {
            kit.check().await;
        }
        let probe = key(rng.random_range(0..keys));
        let found = kit.get(&probe).await.and_then(|entry| entry.value);
        assert_eq!(found.as_ref(), kit.model.get(probe.as_bytes()), "{probe} in round {round}");
    }
}

#[tokio::test]
async fn a_file_whose_entries_did_not_change_is_listed_again() {
    let mut rng = StdRng::seed_from_u64(12);
    let mut kit = Kit::new(8 << 10);
    kit.checkpoint((0..1_000).map(|n| (key(n), value(&mut rng, 100)))).await;
    let before = kit.files();
    assert!(before.base.len() > 10);
    // Enough of one part that folding it is worth it.
    let bytes_written = kit.checkpoint((500..530).map(|n| (key(n), value(&mut rng, 100)))).await;
    let after = kit.files();
    let kept = before.base.iter().filter(|file| after.base.contains(file)).count();
    assert!(kept >= before.base.len() - 2, "{kept} of {}", before.base.len());
    assert!(bytes_written < 3 * (8 << 10), "{bytes_written}");
    kit.check().await;
}

#[tokio::test]
async fn an_entry_that_is_larger_than_a_data_file_has_one_of_its_own() {
    for big in [0, 50, 99] {
        let mut rng = StdRng::seed_from_u64(13);
        let mut kit = Kit::new(4 << 10);
        let bytes = |n| if n == big { 10_000 } else { 100 };
        kit.checkpoint((0..100).map(|n| (key(n), value(&mut rng, bytes(n))))).await;
        let alone = kit.files().base.into_iter().filter(|file| file.size > 4 << 10).collect::<Vec<_>>();
        assert_eq!(alone.len(), 1);
        assert_eq!((&alone[0].first[..], &alone[0].last[..]), (key(big).as_bytes(), key(big).as_bytes()));
        kit.check().await;
    }
}

#[tokio::test]
async fn tombstones_stay_until_they_are_forgotten_and_then_leave_no_file() {
    let mut rng = StdRng::seed_from_u64(14);
    let mut kit = Kit::new(4 << 10);
    kit.checkpoint((0..300).map(|n| (key(n), value(&mut rng, 100)))).await;
    kit.checkpoint((0..300).map(|n| (key(n), None))).await;
    kit.check().await;
    let range = KeyRange { start: Bound::Unbounded, end: Bound::Unbounded };
    for _ in 0..5 {
        kit.checkpoint([]).await;
        let tombstone = kit.get(&key(7)).await.expect("the tombstone is there");
        assert_eq!((tombstone.position, tombstone.value), (at(2), None));
        assert!(kit.base.written_after("c", &range, at(1)).await.expect("it can be read"));
    }
    kit.forgotten = 2;
    kit.checkpoint([]).await;
    assert_eq!(kit.get(&key(7)).await, None);
    assert_eq!(kit.files(), CollectionFiles::default());
}

#[tokio::test]
async fn a_checkpoint_after_somebody_elses_is_void_and_one_after_a_lost_reply_counts() {
    let mut rng = StdRng::seed_from_u64(15);
    let mut kit = Kit::new(4 << 10);
    kit.checkpoint([(key(1), value(&mut rng, 10))]).await;
    let below = kit.base.manifest().clone();
    let stale = kit.covered([(key(2), value(&mut rng, 10))]);
    kit.checkpoint([(key(3), value(&mut rng, 10))]).await;
    let mut other = checkpointer(&kit.storage, 4 << 10, 2);
    assert!(matches!(other.checkpoint(&below, stale).await, Ok(Outcome::Foreign)));
    let layout = other.files.layout().clone();
    // The same manifest again, as after a reply that was lost.
    let published = publish(&*kit.storage, &layout, kit.base.manifest()).await;
    assert_eq!(published.expect("it is there"), Published::Ours);
    let mut foreign = (**kit.base.manifest()).clone();
    foreign.number += 1;
    let key = layout.manifest(foreign.number);
    kit.storage.put_bytes(&key, Bytes::from("else"), PutMode::Create).await.expect("a put");
    assert_eq!(publish(&*kit.storage, &layout, &foreign).await.expect("it is there"), Published::Foreign);
}
