use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;
use futures::{TryStreamExt, future::join_all};
use proptest::{collection::vec, prelude::*};
use runyard_objectstorage::{CallKind, MemoryStorage, MetricsStorage, ObjectStorageExt, PutMode};

use super::*;
use crate::{
    Direction, Error, KeyRange, Position, Result,
    entry::Entry,
    layout::Layout,
    manifest::{FileId, FileMeta},
};

pub(crate) const ID: FileId = FileId { manifest: 3, writer: 0xfeed, number: 7 };
pub(crate) const CACHE: u64 = 8 << 20;

pub(crate) type Metered = MetricsStorage<Arc<MemoryStorage>>;

pub(crate) fn entry(key: impl Into<Bytes>, lsn: u64, value: Option<&[u8]>) -> Entry {
    Entry { key: key.into(), position: Position { lsn, index: 1 }, value: value.map(Bytes::copy_from_slice) }
}

/// Builds a file, taking its blocks out as they are finished.
pub(crate) fn build(entries: &[Entry], settings: FileSettings, id: FileId) -> (Vec<u8>, FinishedFile) {
    let mut builder = FileBuilder::new(settings);
    let mut bytes = Vec::new();
    for entry in entries {
        builder.push(entry);
        bytes.extend(builder.take_finished().into_iter().flatten());
    }
    let estimate = builder.bytes_so_far();
    let finished = builder.finish(id);
    bytes.extend_from_slice(&finished.rest);
    assert_eq!(finished.meta.size, bytes.len() as u64);
    assert!(finished.meta.size <= estimate, "{} is over {estimate}", finished.meta.size);
    (bytes, finished)
}

/// Builds a file and stores it in collection `c`.
pub(crate) async fn store(files: &DataFiles, entries: &[Entry], settings: FileSettings, id: FileId) -> FinishedFile {
    let (bytes, finished) = build(entries, settings, id);
    files.storage().put_bytes(&files.layout().data("c", id), bytes.into(), PutMode::Create).await.unwrap();
    finished
}

pub(crate) fn data_files(cache: u64) -> (Metered, DataFiles) {
    let storage = MetricsStorage::new(Arc::new(MemoryStorage::new()));
    let files = DataFiles::new(Arc::new(storage.clone()), Layout::new("base").unwrap(), cache);
    (storage, files)
}

/// The same storage with nothing in memory, as after a start.
fn cold(files: &DataFiles) -> DataFiles {
    DataFiles::new(files.storage().clone(), files.layout().clone(), CACHE)
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn settings() -> impl Strategy<Value = FileSettings> {
    (1_usize..3_000, prop::option::of(1..=3))
        .prop_map(|(block_bytes, compression)| FileSettings { block_bytes, compression })
}

/// Keys that meet each other often, among them the empty one and very long ones.
pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    let long = (vec(0_u8..2, 1..4), 1_usize..=16 << 10).prop_map(|(end, length)| {
        let mut key = vec![1; length.max(end.len())];
        let at = key.len() - end.len();
        key[at..].copy_from_slice(&end);
        key
    });
    prop_oneof![20 => vec(0_u8..4, 0..6), 4 => vec(any::<u8>(), 0..40), 1 => long].prop_map(Bytes::from)
}

pub(crate) fn value() -> impl Strategy<Value = Option<Bytes>> {
    let value = prop_oneof![
        2 => Just(Vec::new()),
        8 => vec(any::<u8>(), 0..60),
        2 => vec(any::<u8>(), 3_000..9_000),
        2 => (0_usize..20_000).prop_map(|length| vec![7; length]),
    ];
    prop_oneof![1 => Just(None), 4 => value.prop_map(|value| Some(value.into()))]
}

pub(crate) fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        8 => (0_u64..40, 0_u32..3).prop_map(|(lsn, index)| Position { lsn, index }),
        1 => (any::<u64>(), any::<u32>()).prop_map(|(lsn, index)| Position { lsn, index }),
    ]
}

pub(crate) fn range() -> impl Strategy<Value = KeyRange> {
    let bound =
        || prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded),];
    (bound(), bound()).prop_map(|(start, end)| KeyRange { start, end })
}

/// What a map has of a range, in the order of a direction.
pub(crate) fn expected(model: &BTreeMap<Bytes, Entry>, range: &KeyRange, direction: Direction) -> Vec<Entry> {
    let mut entries: Vec<_> = model.values().filter(|entry| range.contains(&entry.key)).cloned().collect();
    if direction == Direction::Descending {
        entries.reverse();
    }
    entries
}

const DIRECTIONS: [Direction; 2] = [Direction::Ascending, Direction::Descending];

proptest! {
    #[test]
    fn a_file_answers_as_a_map_does(
        entries in prop::collection::btree_map(key(), (position(), value()), 1..60),
        settings in settings(),
        probes in vec(key(), 0..10),
        ranges in vec(range(), 1..6),
        after in position(),
        cache in prop_oneof![Just(0), Just(CACHE)],
    ) {
        let model: BTreeMap<_, _> = entries
            .into_iter()
            .map(|(key, (position, value))| (key.clone(), Entry { key, position, value }))
            .collect();
        let entries: Vec<_> = model.values().cloned().collect();
        block_on(async {
            let (_, files) = data_files(cache);
            let meta = store(&files, &entries, settings, ID).await.meta;
            prop_assert_eq!(meta.entries, entries.len() as u64);
            prop_assert_eq!(meta.tombstones, entries.iter().filter(|entry| entry.value.is_none()).count() as u64);
            prop_assert_eq!(Some(&meta.first), model.keys().next());
            prop_assert_eq!(Some(&meta.last), model.keys().last());
            prop_assert_eq!(Some(meta.newest), entries.iter().map(|entry| entry.position).max());
            for key in model.keys().chain(&probes) {
                let found = files.get("c", &meta, key).await.unwrap();
                prop_assert_eq!(found.as_ref(), model.get(key));
            }
            for range in ranges.iter().chain([&KeyRange::all()]) {
                for direction in DIRECTIONS {
                    for caching in [Caching::Use, Caching::Bypass] {
                        let found = files.entries("c", meta.clone(), range.clone(), direction, caching);
                        let found: Vec<_> = found.try_collect().await.unwrap();
                        prop_assert_eq!(found, expected(&model, range, direction), "{:?} {:?}", range, direction);
                    }
                }
                let written = files.written_after("c", &meta, range, after).await.unwrap();
                let changed = model.values().any(|entry| range.contains(&entry.key) && entry.position > after);
                prop_assert_eq!(written, changed);
            }
            Ok(())
        })?;
    }

    #[test]
    fn decoders_survive_garbage_and_damage(
        garbage in vec(any::<u8>(), 0..400),
        entries in prop::collection::btree_map(key(), (position(), value()), 1..20),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut block = block::BlockBuilder::default();
        for (key, (position, value)) in entries {
            block.push(&Entry { key, position, value });
        }
        let mut damaged = block.take(None).bytes;
        let at = at.index(damaged.len());
        damaged[at] = byte;
        for bytes in [&garbage[..], &damaged] {
            if let Ok(block) = block::Block::decode(bytes, bytes.len()) {
                block.check_reads();
            }
            for raw in [0, bytes.len() + 1, 4_000, usize::MAX] {
                let _ = block::Block::decode(bytes, raw);
            }
            let _ = tail::Tail::decode(bytes);
            let _ = filter::Filter::decode(Bytes::copy_from_slice(bytes));
        }
    }

    #[test]
    fn tails_with_a_good_checksum_may_say_anything(
        entries in prop::collection::btree_map(key(), (position(), value()), 1..20),
        settings in settings(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let entries: Vec<_> =
            entries.into_iter().map(|(key, (position, value))| Entry { key, position, value }).collect();
        let (bytes, file) = build(&entries, settings, ID);
        let mut tail = bytes[bytes.len() - file.meta.tail as usize..].to_vec();
        let content = tail.len() - 12;
        for (index, byte) in mutations {
            tail[index.index(content)] = byte;
        }
        let crc = crc32fast::hash(&tail[..content]).to_le_bytes();
        tail[content..content + 4].copy_from_slice(&crc);
        if let Ok(tail) = tail::Tail::decode(&tail) {
            let _ = tail.blocks_of(&KeyRange::all());
            let _ = tail.filter.may_contain(b"k");
        }
    }
}

/// A file of several blocks, some of which compress and some of which do not.
fn sample() -> Vec<Entry> {
    let noise =
        |n: u64| Bytes::from((0..40_u64).map(|i| filter::hash(&(n * 64 + i).to_be_bytes()) as u8).collect::<Vec<_>>());
    let mut entries: Vec<_> = (0..40_u64)
        .map(|n| {
            let value = match n % 4 {
                0 => None,
                1 => Some(Bytes::new()),
                2 => Some(noise(n)),
                _ => Some(Bytes::from(format!("{{\"state\":\"running\",\"number\":{n}}}").repeat(1 + n as usize / 8))),
            };
            let position = Position { lsn: 100 + n * 7 % 40, index: n as u32 % 3 };
            Entry { key: format!("runs/{n:03}").into(), position, value }
        })
        .collect();
    entries.insert(0, Entry { key: Bytes::new(), position: Position { lsn: u64::MAX, index: u32::MAX }, value: None });
    entries
}

const SMALL_BLOCKS: FileSettings = FileSettings { block_bytes: 600, compression: None };

#[test]
fn the_format_is_what_it_was() {
    let (bytes, _) = build(&sample(), SMALL_BLOCKS, ID);
    let golden = include_bytes!("../../golden/data-v1.bin");
    assert!(bytes[..] == golden[..], "old files could not be read any more: add a version instead");
}

#[tokio::test]
async fn files_of_old_are_read() {
    // What compresses how well is the library's matter, so this one is only read.
    let compressed: &[u8] = include_bytes!("../../golden/data-v1-zstd.bin");
    let plain: &[u8] = include_bytes!("../../golden/data-v1.bin");
    assert!(compressed.len() < plain.len());
    let (_, built) = build(&sample(), SMALL_BLOCKS, ID);
    for bytes in [compressed, plain] {
        let footer = &bytes[bytes.len() - tail::FOOTER_BYTES..];
        let length = |at: usize| u32::from_le_bytes(footer[at..at + 4].try_into().unwrap());
        let tail = length(0) + length(4) + tail::FOOTER_BYTES as u32;
        let tail_hash = tail::hash(&bytes[bytes.len() - tail as usize..]);
        let meta = FileMeta { size: bytes.len() as u64, tail, tail_hash, ..built.meta.clone() };
        let (_, files) = data_files(CACHE);
        let key = files.layout().data("c", ID);
        files.storage().put_bytes(&key, Bytes::from_static(bytes), PutMode::Create).await.unwrap();
        assert_eq!(all(&files, &meta).await.unwrap(), sample());
    }
}

async fn all(files: &DataFiles, meta: &FileMeta) -> Result<Vec<Entry>> {
    files.entries("c", meta.clone(), KeyRange::all(), Direction::Ascending, Caching::Use).try_collect().await
}

#[tokio::test]
async fn every_flipped_bit_of_a_file_is_detected_and_the_file_named() {
    for compression in [None, Some(1)] {
        let (bytes, file) = build(&sample()[..12], FileSettings { block_bytes: 200, compression }, ID);
        for bit in 0..bytes.len() * 8 {
            let (_, files) = data_files(CACHE);
            let key = files.layout().data("c", ID);
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            files.storage().put_bytes(&key, damaged.into(), PutMode::Create).await.unwrap();
            let error = all(&files, &file.meta).await.expect_err("a flipped bit");
            assert!(matches!(&error, Error::Corrupt { object, .. } if *object == *key.as_str()), "bit {bit}: {error}");
        }
    }
}

#[tokio::test]
async fn a_cut_file_is_corrupt_and_one_that_is_gone_is_missing() {
    let (bytes, file) = build(&sample(), SMALL_BLOCKS, ID);
    for length in (0..bytes.len()).step_by(97) {
        let (_, files) = data_files(CACHE);
        let key = files.layout().data("c", ID);
        files.storage().put_bytes(&key, bytes[..length].to_vec().into(), PutMode::Create).await.unwrap();
        let error = files.get("c", &file.meta, b"runs/001").await.expect_err("a cut file");
        assert!(matches!(error, Error::Corrupt { .. }), "{length}: {error}");
    }
    let (_, files) = data_files(CACHE);
    let error = files.get("c", &file.meta, b"runs/001").await.expect_err("no file");
    assert_eq!(missing(&error), Some(&files.layout().data("c", ID)));
}

#[tokio::test]
async fn a_file_in_the_place_of_another_is_corrupt() {
    let (_, files) = data_files(CACHE);
    let meta = store(&files, &sample(), SMALL_BLOCKS, ID).await.meta;
    let other = FileId { number: 8, ..ID };
    let (bytes, _) = build(&sample(), SMALL_BLOCKS, other);
    files.storage().put_bytes(&files.layout().data("c", ID), bytes.into(), PutMode::Overwrite).await.unwrap();
    let error = files.get("c", &meta, b"runs/001").await.expect_err("another file");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

/// So many entries of 100 incompressible bytes, in blocks of 16 KiB.
async fn large(files: &DataFiles, entries: u64) -> FileMeta {
    let value =
        |n: u64| (0..13).flat_map(|i| filter::hash(&(n * 16 + i).to_be_bytes()).to_le_bytes()).collect::<Vec<_>>();
    let entries: Vec<_> = (0..entries).map(|n| entry(format!("key/{n:08}"), n, Some(&value(n)))).collect();
    store(files, &entries, FileSettings::default(), ID).await.meta
}

#[tokio::test]
async fn a_cold_get_is_two_reads_a_warm_one_none_and_a_miss_one_for_the_tail() {
    let (storage, files) = data_files(CACHE);
    let meta = large(&files, 5_000).await;
    let reads = async |files: &DataFiles, key: &str| {
        let before = storage.metrics();
        let found = files.get("c", &meta, key.as_bytes()).await.unwrap().is_some();
        let since = storage.metrics().since(&before);
        assert_eq!(since.calls_total(), since.calls(CallKind::Get));
        (found, since.calls(CallKind::Get), since.bytes_read)
    };
    let (found, gets, bytes) = reads(&files, "key/00002500").await;
    assert_eq!((found, gets), (true, 2));
    assert!(bytes <= u64::from(meta.tail) + (17 << 10), "{bytes} bytes");
    assert_eq!(reads(&files, "key/00002500").await, (true, 0, 0));
    assert_eq!(reads(&files, "key/00002501").await, (true, 0, 0));
    assert_eq!(reads(&cold(&files), "key/00002500x").await, (false, 1, meta.tail.into()));
    let before = storage.metrics();
    for n in 0..1_000 {
        assert!(!reads(&files, &format!("key/{n:08}x")).await.0);
    }
    let gets = storage.metrics().since(&before).calls(CallKind::Get);
    assert!(gets <= 20, "{gets} reads for 1,000 keys that are not there");
}

#[tokio::test]
async fn cold_gets_of_one_block_at_once_read_it_once() {
    let (storage, files) = data_files(CACHE);
    let meta = large(&files, 5_000).await;
    let before = storage.metrics();
    let gets = (0..50).map(|n| {
        let (files, meta) = (&files, &meta);
        async move { files.get("c", meta, format!("key/{n:08}").as_bytes()).await.unwrap().unwrap() }
    });
    assert_eq!(join_all(gets).await.len(), 50);
    assert_eq!(storage.metrics().since(&before).calls(CallKind::Get), 2);
}

#[tokio::test]
async fn scans_read_neighbours_together_and_little_if_they_stop_early() {
    let (storage, files) = data_files(CACHE);
    let meta = large(&files, 20_000).await;
    for direction in DIRECTIONS {
        for caching in [Caching::Use, Caching::Bypass] {
            let files = cold(&files);
            let scan = || files.entries("c", meta.clone(), KeyRange::all(), direction, caching);
            let before = storage.metrics();
            scan().try_next().await.unwrap().unwrap();
            let since = storage.metrics().since(&before);
            assert_eq!(since.calls(CallKind::Get), 2, "the tail and one block");
            assert!(since.bytes_read <= u64::from(meta.tail) + (17 << 10));
            let before = storage.metrics();
            assert_eq!(scan().try_fold(0, async |count, _| Ok(count + 1)).await.unwrap(), 20_000);
            let gets = storage.metrics().since(&before).calls(CallKind::Get);
            let reads = meta.size.div_ceil(READ_BYTES_MAX as u64);
            assert!(gets <= reads + 7, "{gets} reads of {} bytes", meta.size);
            let before = storage.metrics();
            assert_eq!(scan().try_fold(0, async |count, _| Ok(count + 1)).await.unwrap(), 20_000);
            let again = storage.metrics().since(&before).calls(CallKind::Get);
            assert_eq!(again == 0, caching == Caching::Use, "{again}");
        }
    }
}

#[tokio::test]
async fn the_cache_is_bounded_and_a_scan_past_it_leaves_it_alone() {
    const BYTES: u64 = 512 << 10;
    let (storage, files) = data_files(BYTES);
    let meta = large(&files, 20_000).await;
    for n in 0..20_000 {
        files.get("c", &meta, format!("key/{n:08}").as_bytes()).await.unwrap().unwrap();
        assert!(files.cache().weight() <= BYTES);
    }
    let hot = async || {
        let before = storage.metrics();
        for n in 0..500 {
            files.get("c", &meta, format!("key/{n:08}").as_bytes()).await.unwrap().unwrap();
        }
        storage.metrics().since(&before).calls(CallKind::Get)
    };
    hot().await;
    let weight = files.cache().weight();
    assert_eq!(hot().await, 0);
    let scan = files.entries("c", meta.clone(), KeyRange::all(), Direction::Ascending, Caching::Bypass);
    scan.try_fold((), async |(), _| Ok(())).await.unwrap();
    assert_eq!((hot().await, files.cache().weight()), (0, weight));
}

#[tokio::test]
async fn what_was_written_after_a_position_is_found_without_reading_older_blocks() {
    let (storage, files) = data_files(CACHE);
    let meta = large(&files, 20_000).await;
    let gets = async |range: &KeyRange, lsn: u64| {
        let files = cold(&files);
        let before = storage.metrics();
        let written = files.written_after("c", &meta, range, Position { lsn, index: 1 }).await.unwrap();
        (written, storage.metrics().since(&before).calls(CallKind::Get))
    };
    assert_eq!(gets(&KeyRange::all(), 20_000).await, (false, 0), "the file is older");
    assert_eq!(gets(&KeyRange::all(), 19_998).await, (true, 2), "the tail and the last block");
    assert_eq!(
        gets(&KeyRange::prefix("key/00000"), 10_000).await,
        (false, 1),
        "the tail says that its blocks are older"
    );
}

#[tokio::test]
async fn a_small_value_does_not_keep_its_block_in_memory() {
    let (_, files) = data_files(CACHE);
    let big = vec![7; 10_000];
    let entries = [entry("a", 1, Some(b"small")), entry("b", 1, Some(&big))];
    let meta = store(&files, &entries, FileSettings::default(), ID).await.meta;
    let get = async |key: &str| files.get("c", &meta, key.as_bytes()).await.unwrap().unwrap().value.unwrap();
    let (first, second) = (get("b").await, get("b").await);
    assert_eq!(first.as_ptr(), second.as_ptr(), "much of a block is not copied");
    let (first, second) = (get("a").await, get("a").await);
    assert_ne!(first.as_ptr(), second.as_ptr(), "little of it is");
}
