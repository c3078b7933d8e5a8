//! No damage of a store goes unnoticed, and nothing that is sound is called damaged.

use runyard_objectstorage::PrefixStorage;

use super::*;
use crate::{Report, verify};

async fn report(objects: &Arc<MemoryStorage>) -> Report {
    verify(Arc::clone(objects) as Arc<dyn ObjectStorage>, "base").await.expect("a store")
}

/// Two checkpoints, and some log after them.
async fn small_store() -> (Arc<MemoryStorage>, WalDataManager) {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.checkpoints(2, 0).await;
    process.write(2).await;
    process.write(3).await;
    (objects, process.data)
}

#[tokio::test(start_paused = true)]
async fn a_sound_store_is_called_sound_also_when_it_is_cleaned() {
    let objects = objects();
    let process = Process::open(&objects).await;
    for n in 0..12 {
        process.write(2 * n).await;
        if n % 2 == 1 {
            process.checkpoints(1, 2 * n + 1).await;
            process.wait_for_cleaner().await;
        }
        let found = report(&objects).await;
        assert!(found.is_sound() && found.orphans.is_empty() && found.foreign.is_empty(), "{n}: {found:?}");
        assert_eq!(found.state_hash, Some(process.data.state_hash(&process.data.snapshot()).await.expect("readable")));
        assert_eq!(found.position, Some(process.data.snapshot().position()));
        assert_eq!(found.objects, names(&objects).await.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn orphans_and_foreign_names_are_listed_and_are_no_damage() {
    let (objects, _data) = small_store().await;
    let orphan = Layout::new("base").expect("good").data("c", FileId { manifest: 3, writer: 1, number: 1 });
    put(&objects, &orphan, "x").await;
    put(&objects, &key("log/7"), "x").await;
    put(&objects, &key("notes.txt"), "x").await;
    let found = report(&objects).await;
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(found.orphans, [orphan.to_string()]);
    assert_eq!(found.foreign, ["base/log/7", "base/notes.txt"]);
    let nothing = verify(objects, "elsewhere").await.expect_err("nothing there").to_string();
    assert!(nothing.contains("`elsewhere`"), "{nothing}");
}

#[tokio::test(start_paused = true)]
async fn every_flipped_bit_and_every_truncated_or_missing_object_is_named() {
    let (objects, _data) = small_store().await;
    let newest_manifest = key("manifest/00000000000000000002");
    let last_batch = log(4);
    for meta in objects.list_objects("").await.expect("listable") {
        let (name, good) = (meta.key.clone(), objects.get_bytes(&meta.key).await.expect("readable"));
        let is_named = async |what: String| {
            let found = report(&objects).await;
            assert!(found.damaged.iter().any(|damaged| damaged.object == name.as_str()), "{name} {what}: {found:?}");
            assert!(found.state_hash.is_none());
        };
        for at in 0..good.len() {
            // The line end is not part of the content.
            if name == key("format") && at + 1 == good.len() {
                continue;
            }
            let mut damaged = good.to_vec();
            damaged[at] ^= 1 << (at % 8);
            put(&objects, &name, damaged).await;
            is_named(format!("byte {at}")).await;
        }
        for length in [0, 1, good.len() / 2, good.len() - 2] {
            put(&objects, &name, good.slice(..length)).await;
            is_named(format!("cut to {length}")).await;
        }
        if name != key("format") {
            put(&objects, &name, [&good[..], b"\0"].concat()).await;
            is_named("longer".to_owned()).await;
        }
        objects.delete(&name).await.expect("deleted");
        if name == newest_manifest || name == last_batch {
            // As if it had never been written; nothing is lost, or nobody can know.
            assert!(report(&objects).await.is_sound());
        } else {
            is_named("missing".to_owned()).await;
        }
        put(&objects, &name, good).await;
        assert!(report(&objects).await.is_sound());
    }
}

/// A store with base files and deltas, of which some are folded, a floor, and some log after it all.
async fn store_with_deltas() -> (Arc<MemoryStorage>, Process) {
    let objects = objects();
    let (storage, uptime) = (FaultyStorage::new(Arc::clone(&objects)), Arc::new(VirtualUptime::new()));
    let data = builder(storage.clone(), &uptime).data_file_size_max(4_000).open().await.expect("opened");
    let process = Process { storage, uptime, data };
    for round in 0..6 {
        let keys = (0..if round == 0 { 2_000 } else { 2 }).map(|n| n * (7 * round + 1) % 2_000);
        let put = |n: u64| Action::Put {
            collection: "d".into(),
            key: format!("{n:04}").into(),
            value: format!("{round} {n} {:x}", crc32fast::hash(&n.to_le_bytes())).into(),
        };
        let actions = keys.map(put).collect();
        process.data.commit(Transaction { actions, ..Transaction::default() }).await.expect("committed");
        process.data.checkpoint().await.expect("made");
        process.wait_for_cleaner().await;
    }
    process.write(1).await;
    (objects, process)
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_object_is_checked_deltas_and_floors_among_them() {
    let (objects, process) = store_with_deltas().await;
    let stats = process.data.stats().await.expect("readable");
    assert!(stats.collections["d"].delta_files > 0 && stats.collections["d"].base_files > 1, "{stats:?}");
    assert!(stats.floor > 1 && stats.log_objects > stats.uncovered_batches, "{stats:?}");
    let sound = report(&objects).await;
    assert!(sound.is_sound() && sound.orphans.is_empty(), "{sound:?}");
    for meta in objects.list_objects("").await.expect("listable") {
        let good = objects.get_bytes(&meta.key).await.expect("readable");
        for at in (0..good.len()).step_by(good.len() / 40 + 1) {
            let mut damaged = good.to_vec();
            damaged[at] ^= 1 << (at % 8);
            put(&objects, &meta.key, damaged).await;
            let found = report(&objects).await;
            let named = found.damaged.iter().find(|damaged| damaged.object == meta.key.as_str());
            let named = named.unwrap_or_else(|| panic!("{} at byte {at}: {found:?}", meta.key));
            assert!(named.advice.contains("backup") && !named.reason.contains("backup"), "{named:?}");
        }
        put(&objects, &meta.key, good).await;
    }
    assert_eq!(report(&objects).await, sound);
}

#[tokio::test(start_paused = true)]
async fn stats_are_what_the_objects_are_and_cost_two_listings() {
    let (objects, process) = store_with_deltas().await;
    let calls = process.storage.calls_total();
    let stats = process.data.stats().await.expect("readable");
    assert!(process.storage.calls_total() - calls <= 3, "{}", process.storage.calls_total() - calls);
    assert_eq!(stats.log_objects, names_in(&objects, "log/").await.len() as u64);
    assert_eq!((stats.checkpoint, stats.uncovered_batches, stats.maintenance), (6, 1, None));
    assert_eq!(stats.position, process.data.snapshot().position());
    assert!(stats.checkpoint_position < stats.position);
    // What is only in the log is not in a collection of the checkpoint.
    assert_eq!(stats.collections.keys().collect::<Vec<_>>(), ["d"]);
    assert_eq!(process.data.collections(&process.data.snapshot()).expect("ours"), ["c", "d"]);
    let read = process.data.get(&process.data.snapshot(), "d", b"0017").await.expect("readable");
    assert!(read.is_some());
    let after = process.data.stats().await.expect("readable");
    assert!(after.cache_bytes > stats.cache_bytes && after.cache_bytes <= after.cache_bytes_max, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_after_the_first_damage_and_needs_no_store_that_can_be_opened() {
    let (objects, _data) = small_store().await;
    put(&objects, &key("format"), "garbage").await;
    put(&objects, &log(3), "garbage").await;
    objects.delete(&log(2)).await.expect("deleted");
    put(&objects, &key("manifest/00000000000000000002"), "garbage").await;
    let found = report(&objects).await;
    let names: Vec<_> = found.damaged.iter().map(|damaged| damaged.object.as_str()).collect();
    let expected = [key("format"), log(2), log(3), key("manifest/00000000000000000002")];
    assert_eq!(names, expected.iter().map(|key| key.as_str()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_base_path_may_be_empty() {
    let (objects, _data) = small_store().await;
    let inside: Arc<dyn ObjectStorage> =
        Arc::new(PrefixStorage::new(Arc::clone(&objects), "base").expect("a good prefix"));
    assert!(verify(Arc::clone(&inside), "").await.expect("a store").is_sound());
    put(&objects, &log(2), "garbage").await;
    let found = verify(inside, "").await.expect("a store");
    assert_eq!(found.damaged[0].object, "log/00000000000000000002");
}
