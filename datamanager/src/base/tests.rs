use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use runyard_objectstorage::{CallKind, ObjectStorageExt, PutMode};

use super::*;
use crate::{
    Error,
    manifest::{FileId, Tip, format},
    table::{
        FileSettings,
        tests::{self as kit, CACHE, Metered, block_on, data_files, entry, expected, key, range, value},
    },
};

type Model = BTreeMap<Bytes, Entry>;

/// One collection as a checkpointer keeps it, and what it should hold.
#[derive(Default)]
struct Layers {
    model: Model,
    /// When each key was last written, also where nothing tells of it any more.
    written: BTreeMap<Bytes, Position>,
    base: Model,
    /// The newest first; what is in them stays there when it is dead.
    deltas: Vec<Model>,
    folded: Folded,
}

#[derive(Clone, Debug)]
enum Step {
    Change(BTreeMap<Bytes, Option<Bytes>>),
    /// Folds from a key on, up to another one (up to the end if that is not after the first), and the changes that are
    /// in that range with it; drops tombstones there, if they are old enough.
    Fold(Bytes, Bytes, BTreeMap<Bytes, Option<Bytes>>, bool),
    /// Merges what is live in some delta into the newest one.
    Merge(usize),
}

fn versions(lsn: u64, changes: &BTreeMap<Bytes, Option<Bytes>>) -> Model {
    let position = Position { lsn, index: 0 };
    let version = |(key, value): (&Bytes, &Option<Bytes>)| {
        (key.clone(), Entry { key: key.clone(), position, value: value.clone() })
    };
    changes.iter().map(version).collect()
}

impl Layers {
    fn take(&mut self, lsn: u64, step: &Step) {
        match step {
            Step::Change(changes) => {
                let written = versions(lsn, changes);
                self.write_down(&written);
                self.deltas.insert(0, written);
            }
            Step::Fold(from, to, changes, drop_tombstones) => {
                let to = (to > from).then_some(to);
                let is_folded = |key: &Bytes| key >= from && to.is_none_or(|to| key < to);
                let mut written = versions(lsn, changes);
                written.retain(|key, _| is_folded(key));
                self.write_down(&written);
                if *drop_tombstones {
                    self.model.retain(|key, entry| !is_folded(key) || entry.value.is_some());
                }
                self.base.retain(|key, _| !is_folded(key));
                let now = self.model.iter().filter(|(key, _)| is_folded(key));
                self.base.extend(now.map(|(key, entry)| (key.clone(), entry.clone())));
                self.folded.fold(from, to, Position { lsn, index: 0 });
            }
            Step::Merge(number) => {
                let number = number % self.deltas.len().max(1);
                if number > 0 {
                    let mut merged = self.deltas.remove(number);
                    merged.retain(|key, entry| self.folded.is_live(key, entry.position));
                    merged.retain(|key, entry| {
                        self.deltas[0].get(key).is_none_or(|newer| newer.position < entry.position)
                    });
                    self.deltas[0].extend(merged);
                }
            }
        }
    }

    fn write_down(&mut self, written: &Model) {
        self.model.extend(written.clone());
        self.written.extend(written.values().map(|entry| (entry.key.clone(), entry.position)));
    }

    /// Writes all of it, the base in files of so many entries.
    async fn write(&self, files: &DataFiles, number: u64, per_file: usize, settings: FileSettings) -> Arc<Base> {
        let id = |n: usize| FileId { manifest: number, writer: 1, number: n as u32 };
        let mut layers = CollectionFiles { folded: self.folded.clone(), ..CollectionFiles::default() };
        let base: Vec<_> = self.base.values().cloned().collect();
        for (n, entries) in base.chunks(per_file).enumerate() {
            layers.base.push(kit::store(files, entries, settings, id(n)).await.meta);
        }
        for (n, entries) in self.deltas.iter().enumerate() {
            let entries: Vec<_> = entries.values().cloned().collect();
            let file = kit::store(files, &entries, settings, id(100_000 + n)).await;
            let filter = file.delta_filter();
            layers.deltas.push(DeltaMeta { file: file.meta, filter });
        }
        Base::new(Arc::new(manifest(number, layers)), files.clone())
    }
}

fn manifest(number: u64, layers: CollectionFiles) -> Manifest {
    Manifest {
        number,
        tip: Tip { lsn: number, hash: [0; 32] },
        position: Position { lsn: number, index: 2 },
        collections: [("c".to_owned(), layers)].into(),
        ..Manifest::empty([0; 32])
    }
}

fn step() -> impl Strategy<Value = Step> {
    // Few keys, so that they are written again and again.
    let key = || prop_oneof![9 => vec(0_u8..3, 0..3).prop_map(Bytes::from), 1 => key()];
    let changes = |least| prop::collection::btree_map(key(), value(), least..12);
    prop_oneof![
        3 => changes(1).prop_map(Step::Change),
        3 => (key(), key(), changes(0), any::<bool>())
            .prop_map(|(from, to, changes, drop)| Step::Fold(from, to, changes, drop)),
        1 => any::<usize>().prop_map(Step::Merge),
    ]
}

proptest! {
    #[test]
    fn layers_of_deltas_over_base_files_answer_as_a_map_does(
        steps in vec(step(), 1..12),
        per_file in 1_usize..9,
        settings in kit::settings(),
        probes in vec(key(), 0..6),
        ranges in vec(range(), 1..4),
    ) {
        let mut layers = Layers::default();
        for (lsn, step) in (1..).zip(&steps) {
            layers.take(lsn, step);
        }
        block_on(async {
            let (_, files) = data_files(CACHE);
            let base = layers.write(&files, 1, per_file, settings).await;
            for key in layers.model.keys().chain(&probes) {
                let found = base.get("c", key).await.unwrap();
                prop_assert_eq!(found.as_ref(), layers.model.get(key), "{:?}", key);
            }
            for range in ranges.iter().chain([&KeyRange::all()]) {
                for direction in [Direction::Ascending, Direction::Descending] {
                    let found: Vec<_> = base.scan("c", range.clone(), direction).try_collect().await.unwrap();
                    prop_assert_eq!(found, expected(&layers.model, range, direction), "{:?} {:?}", range, direction);
                }
                for lsn in 0..=steps.len() as u64 {
                    let after = Position { lsn, index: 0 };
                    let found = base.written_after("c", range, after).await.unwrap();
                    let changed =
                        layers.model.values().any(|entry| range.contains(&entry.key) && entry.position > after);
                    let ever = layers.written.iter().any(|(key, position)| range.contains(key) && *position > after);
                    prop_assert!(found || !changed, "a change was missed");
                    prop_assert!(!found || ever, "nothing was ever written");
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_no_file_has_is_not_there() {
    let empty = Base::empty([7; 32]);
    assert_eq!((empty.position(), empty.manifest().number), (Position::ZERO, 0));
    let (_, files) = data_files(CACHE);
    let named = Base::new(Arc::new(manifest(1, CollectionFiles::default())), files);
    assert_eq!(named.collections().collect::<Vec<_>>(), ["c"]);
    for base in [empty, named] {
        for collection in ["c", "other"] {
            assert_eq!(base.get(collection, b"k").await.unwrap(), None);
            assert_eq!(base.scan(collection, KeyRange::all(), Direction::Descending).try_next().await.unwrap(), None);
            assert!(!base.written_after(collection, &KeyRange::all(), Position::ZERO).await.unwrap());
        }
    }
}

/// 4,000 entries in two base files, and every tenth of them in one of ten deltas.
async fn many_layers() -> (Metered, Arc<Base>) {
    let (storage, files) = data_files(CACHE);
    let mut layers = Layers::default();
    let key = |n: u64| Bytes::from(format!("key/{n:05}"));
    layers.base = (0..4_000).map(|n| (key(n), entry(key(n), 1, Some(b"base")))).collect();
    for delta in 0..10 {
        let numbers = (delta..4_000).step_by(100);
        let entries = numbers.map(|n| (key(n), entry(key(n), 2 + delta, Some(b"delta")))).collect();
        layers.deltas.insert(0, entries);
    }
    let base = layers.write(&files, 1, 2_000, FileSettings::default()).await;
    (storage, base)
}

#[tokio::test]
async fn the_filters_in_the_manifest_spare_reads_of_deltas() {
    let (storage, base) = many_layers().await;
    let gets = async |key: &str| {
        let before = storage.metrics();
        let entry = base.get("c", key.as_bytes()).await.unwrap();
        (entry.map(|entry| entry.position.lsn), storage.metrics().since(&before).calls_total())
    };
    assert_eq!(gets("key/01050").await, (Some(1), 2), "cold, in a base file");
    assert_eq!(gets("key/01109").await, (Some(11), 2), "cold, in a delta");
    assert_eq!(gets("key/01050").await, (Some(1), 0), "warm");
    assert_eq!(gets("key/99999").await, (None, 0), "after the last file");
    gets("key/03050").await;
    let mut reads = 0;
    for n in 0..2_000 {
        let (found, calls) = gets(&format!("key/{n:05}x")).await;
        assert_eq!(found, None);
        reads += calls;
    }
    assert!(reads <= 40, "{reads} reads for 2,000 keys that are not there");
}

#[tokio::test]
async fn a_missing_file_is_corruption_unless_its_checkpoint_was_cleaned_away() {
    let (_, files) = data_files(CACHE);
    let mut layers = Layers::default();
    layers.base.insert("k".into(), entry("k", 1, Some(b"v")));
    let base = layers.write(&files, 3, 1, FileSettings::default()).await;
    let (storage, layout) = (files.storage(), files.layout());
    let file = layout.data("c", base.manifest().collections["c"].base[0].id);
    storage.delete(&file).await.unwrap();
    let errors = async || {
        let get = base.get("c", b"k").await.expect_err("get");
        let scan = base.scan("c", KeyRange::all(), Direction::Ascending).try_next().await.expect_err("scan");
        let written = base.written_after("c", &KeyRange::prefix("k"), Position::ZERO).await.expect_err("written");
        [get, scan, written]
    };
    let put = async |number: u64| {
        let (bytes, _) = format::encode(&manifest(number, CollectionFiles::default()));
        storage.put_bytes(&layout.manifest(number), bytes, PutMode::Create).await.unwrap();
    };
    let corrupt = |error: &Error| matches!(error, Error::Corrupt { object, .. } if *object == *file.as_str());
    assert!(errors().await.iter().all(corrupt), "there is no manifest at all");
    put(2).await;
    put(3).await;
    put(5).await;
    assert!(errors().await.iter().all(corrupt), "its manifest is there");
    storage.delete(&layout.manifest(3)).await.unwrap();
    for error in errors().await {
        let Error::PositionExpired { position, oldest } = error else { panic!("{error}") };
        assert_eq!((position.lsn, oldest.lsn), (3, 5));
    }
}

#[tokio::test]
async fn a_scan_reads_nothing_before_it_is_polled_nor_files_outside_its_range() {
    let (storage, base) = many_layers().await;
    let before = storage.metrics();
    let range = KeyRange::prefix("key/00050");
    let mut scan = base.scan("c", range, Direction::Ascending);
    assert_eq!(storage.metrics(), before);
    assert_eq!(scan.try_next().await.unwrap().unwrap().key, "key/00050");
    assert_eq!(scan.try_next().await.unwrap(), None);
    // Tail and block of ten deltas and of the first base file.
    assert_eq!(storage.metrics().since(&before).calls(CallKind::Get), 22);
}
