//! What is read when a store is opened, and what is said of one that is damaged.

use runyard_objectstorage::{CallKind, Verdict};

use super::*;
use crate::Error;

/// Three checkpoints, and two batches after them.
async fn checkpointed() -> Arc<MemoryStorage> {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.checkpoints(3, 1).await;
    process.write(4).await;
    process.write(5).await;
    process.data.close().await;
    objects
}

async fn open(objects: &Arc<MemoryStorage>) -> Result<WalDataManager> {
    builder(Arc::clone(objects), &Arc::new(VirtualUptime::new())).open().await
}

fn manifest(number: u64) -> ObjectKey {
    Layout::new("base").unwrap().manifest(number)
}

async fn damaged(objects: &Arc<MemoryStorage>, key: &ObjectKey) -> Bytes {
    let good = objects.get_bytes(key).await.unwrap();
    let mut bytes = good.to_vec();
    bytes[good.len() / 2] ^= 1;
    put(objects, key, bytes).await;
    good
}

fn assert_corrupt(result: Result<WalDataManager>, key: &ObjectKey, says: &str) {
    let error = result.expect_err(says);
    assert!(matches!(&error, Error::Corrupt { object, .. } if object == key.as_str()), "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_opening_reads_the_newest_checkpoint_and_the_log_after_it_and_no_data_file() {
    let objects = checkpointed().await;
    let process = Process::open(&objects).await;
    let status = process.data.status();
    assert_eq!((status.manifest, status.log_batches, status.position.lsn), (3, 2, 5));
    let gets = process.storage.calls(CallKind::Get);
    assert_eq!(gets, 6, "the format, a manifest and the hash of the one before, two batches, the floor");
    assert_eq!(content(&process.data).await, ((1..=5).collect(), Some(5)));
    assert!(process.storage.calls(CallKind::Get) > gets, "data files are read when they are asked for");
    let hash = process.data.state_hash(&process.data.snapshot()).await.unwrap();
    let again = open(&objects).await.unwrap();
    assert_eq!(again.state_hash(&again.snapshot()).await.unwrap(), hash);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_the_checkpoint_is_still_checked() {
    let objects = checkpointed().await;
    let data = open(&objects).await.unwrap();
    let reads = |key: &'static str, lsn| ReadSet {
        position: Position { lsn, index: 0 },
        keys: vec![("c".to_owned(), Bytes::from(key))],
        ..ReadSet::default()
    };
    let stale = data.commit(Transaction { reads: reads("key 2", 1), ..transaction(6) }).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    data.commit(Transaction { reads: reads("key 1", 1), ..transaction(6) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_newest_checkpoint_that_does_not_verify_is_corrupt_and_going_back_is_asked_for() {
    let objects = checkpointed().await;
    let one = objects.get_bytes(&manifest(1)).await.unwrap();
    for bytes in [Bytes::new(), Bytes::from("garbage"), one.slice(..one.len() - 1), one] {
        let good = objects.get_bytes(&manifest(3)).await.unwrap();
        put(&objects, &manifest(3), bytes).await;
        assert_corrupt(open(&objects).await, &manifest(3), "previous_manifest");
        put(&objects, &manifest(3), good).await;
    }
    damaged(&objects, &manifest(3)).await;
    assert_corrupt(open(&objects).await, &manifest(3), "previous_manifest");
    let back = || builder(Arc::clone(&objects), &Arc::new(VirtualUptime::new())).previous_manifest();
    let refused = back().read_only().open().await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    let data = back().open().await.unwrap();
    assert_eq!(data.status().manifest, 2);
    assert_eq!(content(&data).await, ((1..=5).collect(), Some(5)), "the log has the rest");
    // From now on it is as any other store.
    assert_eq!(names_in(&objects, "manifest/").await, [1, 2]);
    objects
        .delete(&Layout::new("base").unwrap().data("c", FileId { manifest: 3, writer: 7, number: 1 }))
        .await
        .unwrap();
    assert_eq!(checkpoint(&data).await, 3);
    assert_eq!(content(&open(&objects).await.unwrap()).await, ((1..=5).collect(), Some(5)));
    // A checkpoint that verifies is not gone back from.
    assert_eq!(back().open().await.unwrap().status().manifest, 3);
}

#[tokio::test(start_paused = true)]
async fn the_checkpoint_before_is_only_gone_back_to_if_it_leads_to_the_end() {
    let objects = checkpointed().await;
    damaged(&objects, &manifest(3)).await;
    objects.delete(&log(3)).await.unwrap();
    let back = builder(Arc::clone(&objects), &Arc::new(VirtualUptime::new())).previous_manifest();
    assert_corrupt(back.open().await, &log(3), "missing");
    assert_eq!(names_in(&objects, "manifest/").await, [1, 2, 3], "nothing was removed");
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_another_history_or_without_the_one_before_is_corrupt() {
    let objects = checkpointed().await;
    let other = checkpointed_with_a_different_start().await;
    let good = objects.get_bytes(&manifest(3)).await.unwrap();
    put(&objects, &manifest(3), other.get_bytes(&manifest(3)).await.unwrap()).await;
    assert_corrupt(open(&objects).await, &manifest(3), "does not follow");
    put(&objects, &manifest(3), good).await;
    objects.delete(&manifest(2)).await.unwrap();
    assert_corrupt(open(&objects).await, &manifest(2), "missing");
}

async fn checkpointed_with_a_different_start() -> Arc<MemoryStorage> {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.checkpoints(3, 10).await;
    process.data.close().await;
    objects
}

#[tokio::test(start_paused = true)]
async fn a_gap_or_damage_in_the_log_after_the_checkpoint_is_corrupt_and_before_it_nobody_looks() {
    let objects = checkpointed().await;
    for lsn in [1, 2, 3] {
        objects.delete(&log(lsn)).await.unwrap();
    }
    let good = damaged(&objects, &log(4)).await;
    assert_corrupt(open(&objects).await, &log(4), "hash");
    objects.delete(&log(4)).await.unwrap();
    assert_corrupt(open(&objects).await, &log(4), "missing");
    put(&objects, &log(4), good).await;
    assert_eq!(content(&open(&objects).await.unwrap()).await, ((1..=5).collect(), Some(5)));
}

#[tokio::test(start_paused = true)]
async fn a_missing_format_beside_a_log_or_checkpoints_is_corrupt() {
    let objects = checkpointed().await;
    objects.delete(&key("format")).await.unwrap();
    assert_corrupt(open(&objects).await, &key("format"), "backup");
    for lsn in 1..=5 {
        objects.delete(&log(lsn)).await.unwrap();
    }
    assert_corrupt(open(&objects).await, &key("format"), "backup");
}

#[tokio::test(start_paused = true)]
async fn every_prefix_of_the_first_start_can_be_started_from() {
    for base_path in ["", "base"] {
        let start = async |storage: FaultyStorage<Arc<MemoryStorage>>| {
            let data = WalDataManager::builder(Arc::new(storage)).base_path(base_path).open().await?;
            data.commit(transaction(1)).await
        };
        let first = FaultyStorage::new(objects());
        start(first.clone()).await.unwrap();
        let calls = first.calls_total();
        assert!(calls >= 6, "{calls}");
        for nth in 1..=calls {
            for verdict in [Verdict::CrashBefore, Verdict::CrashAfter] {
                let objects = objects();
                let storage = FaultyStorage::new(Arc::clone(&objects));
                storage.script(nth, verdict);
                start(storage).await.expect_err("it dies");
                let second = start(FaultyStorage::new(Arc::clone(&objects))).await;
                second.unwrap_or_else(|error| panic!("{verdict:?} at call {nth}: {error}"));
                let listed = objects.list_objects("").await.unwrap();
                assert!(listed.iter().all(|meta| meta.key.as_str().starts_with(base_path)), "{listed:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_only_read_is_never_written_and_sees_what_others_write() {
    let objects = objects();
    let read_only = || builder(FaultyStorage::new(Arc::clone(&objects)), &Arc::new(VirtualUptime::new())).read_only();
    let error = read_only().open().await.expect_err("there is none");
    assert!(matches!(&error, Error::Refused { reason } if reason.contains("no store")), "{error}");
    assert!(names(&objects).await.is_empty());
    let process = Process::open(&objects).await;
    process.checkpoints(2, 1).await;
    let storage = FaultyStorage::new(Arc::clone(&objects));
    let uptime = Arc::new(VirtualUptime::new());
    let reader = builder(storage.clone(), &uptime).read_only().open().await.unwrap();
    process.checkpoints(5, 3).await;
    process.wait_for_cleaner().await;
    reader.catch_up().await.unwrap();
    assert_eq!(content(&reader).await, ((1..=7).collect(), Some(7)));
    let refused = reader.commit(transaction(8)).await;
    assert!(matches!(&refused, Err(Error::Refused { reason }) if reason.contains("read-only")), "{refused:?}");
    let refused = reader.enter_maintenance("x").await;
    assert!(matches!(&refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(storage.calls(CallKind::Put) + storage.calls(CallKind::Delete), 0);
}

#[tokio::test(start_paused = true)]
async fn an_older_position_is_read_back_from_a_checkpoint_and_the_log_until_that_is_cleaned() {
    let objects = objects();
    let process = Process::open(&objects).await;
    let mut hashes = Vec::new();
    for n in 1..=9 {
        // Of each two, the second one is at the end of a batch of two.
        let (one, two) = tokio::join!(biased; process.write(n), async {
            if n == 6 { Some(process.write(100).await) } else { None }
        });
        let at = process.data.snapshot();
        hashes.push((one, process.data.state_hash(&at).await.unwrap(), two));
        if n % 3 == 0 {
            checkpoint(&process.data).await;
        }
    }
    for data in [&process.data, &open(&objects).await.unwrap()] {
        for (position, hash, _) in hashes.iter().filter(|(.., two)| two.is_none()) {
            let at = data.snapshot_at(*position).await.unwrap();
            assert_eq!(at.position(), *position);
            assert_eq!(data.state_hash(&at).await.unwrap(), *hash, "{position}");
        }
        let missing = data.snapshot_at(Position { lsn: 2, index: 7 }).await;
        assert!(matches!(missing, Err(Error::Refused { .. })), "{missing:?}");
    }
    let old = process.data.snapshot_at(hashes[0].0).await.unwrap();
    process.checkpoints(4, 10).await;
    process.wait_for_cleaner().await;
    let expired = process.data.snapshot_at(hashes[1].0).await;
    assert!(matches!(expired, Err(Error::PositionExpired { .. })), "{expired:?}");
    assert_eq!(process.data.state_hash(&old).await.unwrap(), hashes[0].1, "what is held stays");
    let other = Process::open(&objects).await;
    let foreign = other.data.state_hash(&old).await;
    assert!(matches!(foreign, Err(Error::Refused { .. })), "{foreign:?}");
}

#[tokio::test(start_paused = true)]
async fn large_batches_read_back_as_small_ones_do() {
    let objects = objects();
    let process = Process::open(&objects).await;
    for n in 0..3_u8 {
        let value = Bytes::from(vec![n; 1 << 20]);
        let put = Action::Put { collection: "c".into(), key: "large".into(), value };
        process.data.commit(Transaction { actions: vec![put], ..Transaction::default() }).await.unwrap();
    }
    let data = open(&objects).await.unwrap();
    let found = data.get(&data.snapshot(), "c", b"large").await.unwrap().unwrap();
    assert!(found.len() == 1 << 20 && found.iter().all(|byte| *byte == 2));
    damaged(&objects, &log(2)).await;
    assert_corrupt(open(&objects).await, &log(2), "hash");
}
