//! What a store is after it was opened again, and what is said of one that is damaged.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use runyard_datamanager::{
    Action, Committed, DataManager, Error, Position, ReadSet, Result, Transaction, WalDataManager,
};
use runyard_objectstorage::{MemoryStorage, ObjectKey, ObjectStorage, ObjectStorageExt, PutMode};

fn memory() -> Arc<dyn ObjectStorage> {
    Arc::new(MemoryStorage::new())
}

async fn open(storage: &Arc<dyn ObjectStorage>) -> Result<WalDataManager> {
    WalDataManager::builder(Arc::clone(storage)).base_path("base").open().await
}

async fn write(data: &WalDataManager, n: usize) -> Position {
    let actions = vec![
        Action::Put { collection: "c".into(), key: format!("{}", n % 7).into(), value: format!("{n}").into() },
        Action::Delete { collection: "c".into(), key: format!("{}", n % 3).into() },
        Action::Append { collection: "events".into(), value: format!("event {n}").into() },
    ];
    let reads = ReadSet { groups: vec!["g".into()], position: data.snapshot().position(), ..ReadSet::default() };
    data.commit(Transaction { reads, actions }).await.unwrap()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(&format!("base/{name}")).unwrap()
}

fn log(lsn: u64) -> ObjectKey {
    key(&format!("log/{lsn:020}"))
}

async fn replace(storage: &Arc<dyn ObjectStorage>, key: &ObjectKey, bytes: Bytes) {
    storage.put_bytes(key, bytes, PutMode::Overwrite).await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_opened_again_is_the_same() {
    let storage = memory();
    let data = open(&storage).await.unwrap();
    for n in 0..40 {
        write(&data, n).await;
    }
    let at = data.snapshot();
    let again = open(&storage).await.unwrap();
    assert_eq!(again.snapshot().position(), at.position());
    assert_eq!(again.state_hash(&again.snapshot()).await.unwrap(), data.state_hash(&at).await.unwrap());
    let stale = ReadSet { groups: vec!["g".into()], position: Position { lsn: 39, index: 0 }, ..ReadSet::default() };
    let conflict = again.commit(Transaction { reads: stale, actions: vec![] }).await;
    assert!(matches!(conflict, Err(Error::Conflict { .. })), "recent writes are remembered: {conflict:?}");
    write(&again, 40).await;
    assert_ne!(again.state_hash(&again.snapshot()).await.unwrap(), data.state_hash(&at).await.unwrap());
}

#[tokio::test]
async fn of_several_first_starts_at_once_all_open_the_same_store() {
    let storage = memory();
    let opened = futures::future::join_all((0..4).map(|_| open(&storage))).await;
    for (n, data) in opened.iter().enumerate() {
        let data = data.as_ref().unwrap();
        data.catch_up().await.unwrap();
        let position = write(data, n).await;
        assert_eq!(position.lsn, n as u64 + 1, "one log");
    }
    assert_eq!(storage.list_objects("").await.unwrap().len(), 5, "one format object, four batches");
}

#[tokio::test]
async fn a_read_that_is_older_than_what_is_remembered_has_to_be_made_again() {
    let storage = memory();
    let builder = || WalDataManager::builder(Arc::clone(&storage)).base_path("base").history_transactions_max(5);
    let data = builder().open().await.unwrap();
    let old = write(&data, 0).await;
    for n in 1..10 {
        write(&data, n).await;
    }
    for data in [&data, &builder().open().await.unwrap()] {
        let keys = vec![("c".to_owned(), "never written".into())];
        let reads = ReadSet { position: old, keys, ..ReadSet::default() };
        let append = Action::Append { collection: "c".into(), value: Bytes::new() };
        let error = data.commit(Transaction { reads, actions: vec![append] }).await.expect_err("too old");
        assert!(matches!(error, Error::PositionExpired { .. }) && error.is_conflict(), "{error}");
    }
}

#[tokio::test]
async fn followers_read_what_is_no_longer_in_memory_from_the_log() {
    let storage = memory();
    let builder = || WalDataManager::builder(Arc::clone(&storage)).base_path("base");
    let data = builder().recent_bytes_max(0).open().await.unwrap();
    let mut positions = Vec::new();
    for n in 0..30 {
        positions.push(write(&data, n).await);
    }
    let follow = async |data: &WalDataManager, after: Position, count: usize| -> Vec<Committed> {
        data.follow(after).take(count).try_collect().await.unwrap()
    };
    let from_log = follow(&data, Position::ZERO, 30).await;
    assert_eq!(from_log.iter().map(|committed| committed.position).collect::<Vec<_>>(), positions);
    assert_eq!(follow(&data, positions[27], 2).await, from_log[28..]);
    let again = builder().open().await.unwrap();
    assert_eq!(follow(&again, Position::ZERO, 30).await, from_log, "memory and log say the same");
    // A follower that has fallen behind goes over to what is live without a gap.
    let mut follower = data.follow(positions[20]);
    let position = write(&data, 30).await;
    for expected in positions[21..].iter().chain([&position]) {
        assert_eq!(follower.try_next().await.unwrap().unwrap().position, *expected);
    }
}

#[tokio::test]
async fn a_damaged_log_is_corrupt_and_the_object_is_named() {
    let storage = memory();
    let data = open(&storage).await.unwrap();
    for n in 0..3 {
        write(&data, n).await;
    }
    data.close().await;
    let good = storage.get_bytes(&log(2)).await.unwrap();
    let mut flipped = good.to_vec();
    flipped[good.len() / 2] ^= 1;
    let first = storage.get_bytes(&log(1)).await.unwrap();
    for (what, bytes) in [
        ("a flipped bit", Bytes::from(flipped)),
        ("a torn object", good.slice(..good.len() - 1)),
        ("an empty object", Bytes::new()),
        ("a batch of another number", first),
        ("a large stray object", vec![0; 5 << 20].into()),
    ] {
        replace(&storage, &log(2), bytes).await;
        let error = open(&storage).await.expect_err(what);
        assert!(matches!(&error, Error::Corrupt { object, .. } if object == log(2).as_str()), "{what}: {error}");
    }
    storage.delete(&log(2)).await.unwrap();
    let error = open(&storage).await.expect_err("a gap");
    assert!(matches!(&error, Error::Corrupt { object, .. } if object == log(2).as_str()), "{error}");
    replace(&storage, &log(2), good).await;
    open(&storage).await.unwrap();
}

#[tokio::test]
async fn a_batch_of_another_history_is_corrupt() {
    let (storage, other) = (memory(), memory());
    for storage in [&storage, &other] {
        let data = open(storage).await.unwrap();
        write(&data, 0).await;
        write(&data, 1).await;
        data.close().await;
    }
    for lsn in [1, 2] {
        let own = storage.get_bytes(&log(lsn)).await.unwrap();
        replace(&storage, &log(lsn), other.get_bytes(&log(lsn)).await.unwrap()).await;
        let error = open(&storage).await.expect_err("two histories");
        assert!(matches!(&error, Error::Corrupt { object, .. } if object == log(lsn).as_str()), "{error}");
        replace(&storage, &log(lsn), own).await;
    }
}

#[tokio::test]
async fn damage_that_is_met_while_running_is_named_and_never_built_on() {
    let (storage, other) = (memory(), memory());
    let data = open(&storage).await.unwrap();
    let position = write(&data, 0).await;
    let stranger = open(&other).await.unwrap();
    write(&stranger, 0).await;
    write(&stranger, 1).await;
    let of_another_history = other.get_bytes(&log(2)).await.unwrap();
    for (what, bytes) in [("a batch of another history", of_another_history), ("garbage", "\u{7}".into())] {
        replace(&storage, &log(2), bytes).await;
        let append = Action::Append { collection: "c".into(), value: Bytes::new() };
        for _ in 0..2 {
            let blind = Transaction { actions: vec![append.clone()], ..Transaction::default() };
            for error in [data.commit(blind).await.expect_err(what), data.catch_up().await.expect_err(what)] {
                assert!(
                    matches!(&error, Error::Corrupt { object, .. } if object == log(2).as_str()),
                    "{what}: {error}"
                );
            }
        }
        assert_eq!(data.snapshot().position(), position, "nothing of it is visible");
        assert_eq!(storage.list_objects("base/log/").await.unwrap().len(), 2, "nothing was written after it");
    }
    storage.delete(&log(2)).await.unwrap();
    assert_eq!(write(&data, 1).await.lsn, 2);
}

#[tokio::test]
async fn the_format_object_is_checked_first() {
    let storage = memory();
    let data = open(&storage).await.unwrap();
    write(&data, 0).await;
    data.close().await;
    let good = storage.get_bytes(&key("format")).await.unwrap();
    replace(&storage, &key("format"), "{\"format\":7}".into()).await;
    let error = open(&storage).await.expect_err("another version");
    assert!(matches!(error, Error::FormatVersion { found: 7, .. }), "{error}");
    replace(&storage, &key("format"), "\u{1}garbage".into()).await;
    let error = open(&storage).await.expect_err("garbage");
    assert!(matches!(&error, Error::Corrupt { object, .. } if object == "base/format"), "{error}");
    storage.delete(&key("format")).await.unwrap();
    let error = open(&storage).await.expect_err("no format, but a log");
    assert!(matches!(&error, Error::Corrupt { object, .. } if object == "base/format"), "{error}");
    replace(&storage, &key("format"), good).await;
    open(&storage).await.unwrap();
}

#[tokio::test]
async fn what_is_beside_the_store_is_neither_seen_nor_touched() {
    let storage = memory();
    let strays = ["base", "base2/log/00000000000000000001", "bas/format", "base/log2/x", "format", "base/log/README"];
    for stray in &strays[1..] {
        replace(&storage, &ObjectKey::parse(stray).unwrap(), "stray".into()).await;
    }
    let data = open(&storage).await.unwrap();
    write(&data, 0).await;
    data.close().await;
    open(&storage).await.unwrap();
    let ours = ["base/format", "base/log/00000000000000000001"];
    let objects = storage.list_objects("").await.unwrap();
    let mut expected: Vec<&str> = strays[1..].iter().copied().chain(ours).collect();
    expected.sort_unstable();
    assert_eq!(objects.iter().map(|meta| meta.key.as_str()).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn closing_finishes_what_was_accepted_and_ends_followers() {
    let storage = memory();
    let data = open(&storage).await.unwrap();
    let mut follower = data.follow(Position::ZERO);
    let (position, ()) = tokio::join!(write(&data, 0), async {
        // The commit is queued by now; the committer has not run yet.
        data.close().await;
    });
    assert_eq!(follower.try_next().await.unwrap().map(|committed| committed.position), Some(position));
    assert!(follower.next().await.is_none());
    let blind = Transaction {
        actions: vec![Action::Append { collection: "c".into(), value: Bytes::new() }],
        ..Default::default()
    };
    assert!(matches!(data.commit(blind).await, Err(Error::Closed)));
    assert!(matches!(data.catch_up().await, Err(Error::Closed)));
    let later = Position { lsn: 99, index: 0 };
    assert!(matches!(data.wait_for(later).await, Err(Error::Closed)));
    let events = data.get(&data.snapshot(), "events", &position.append_key(0)).await.unwrap();
    assert_eq!(events.as_deref(), Some(&b"event 0"[..]), "reads go on");
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_committer_and_the_followers() {
    let storage = memory();
    let data = open(&storage).await.unwrap();
    let clone = data.clone();
    let mut follower = data.follow(Position::ZERO);
    drop(data);
    let position = write(&clone, 0).await;
    drop(clone);
    assert_eq!(follower.try_next().await.unwrap().map(|committed| committed.position), Some(position));
    assert!(follower.next().await.is_none());
    drop(follower);
    assert_eq!(Arc::strong_count(&storage), 1, "nothing holds the storage any more");
}
