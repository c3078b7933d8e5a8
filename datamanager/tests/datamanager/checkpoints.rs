//! What checkpoints change: where entries are read from, and nothing else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use runyard_datamanager::{
    Action, Checkpoint, DataManager, Error, Position, ReadSet, Transaction, VirtualUptime, WalBuilder, WalDataManager,
};
use runyard_objectstorage::{
    CallKind, FaultyStorage, MemoryStorage, MetricsStorage, Moment, ObjectStorage, ObjectStorageExt, PosixStorage,
    Verdict,
};

use crate::support::entries;

fn builder(storage: impl ObjectStorage) -> WalBuilder {
    // Only on demand, but where a test says otherwise; files so small that there are many.
    let builder = WalDataManager::builder(Arc::new(storage)).base_path("base").data_file_size_max(2_000);
    builder.uptime(Arc::new(VirtualUptime::new())).checkpoint_age(Duration::MAX)
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Action {
    Action::Put { collection: "c".into(), key: key.into(), value: value.into() }
}

fn delete(key: impl Into<Bytes>) -> Action {
    Action::Delete { collection: "c".into(), key: key.into() }
}

async fn write(data: &WalDataManager, actions: Vec<Action>) -> Position {
    data.commit(Transaction { actions, ..Transaction::default() }).await.expect("committed")
}

fn key(n: usize) -> Bytes {
    format!("key-{n:04}").into()
}

async fn get(data: &WalDataManager, key: &[u8]) -> Option<Bytes> {
    data.get(&data.snapshot(), "c", key).await.expect("read")
}

type Model = BTreeMap<Bytes, Bytes>;

async fn assert_holds(data: &WalDataManager, model: &Model) {
    let expected: Vec<_> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(entries(data, "c").await, expected);
    for (key, value) in model {
        assert_eq!(get(data, key).await.as_ref(), Some(value));
    }
}

/// A hundred entries, some of them changed and some removed between checkpoints, and what that should leave.
async fn with_history(data: &WalDataManager) -> Model {
    let mut model = Model::new();
    for round in 0..4_usize {
        let mut actions = Vec::new();
        for n in (round..100).step_by(round * 3 + 1) {
            let value = Bytes::from(format!("{round}-").repeat(10 + n % 7));
            actions.push(put(key(n), value.clone()));
            model.insert(key(n), value);
        }
        for n in (round..100).step_by(11) {
            actions.push(delete(key(n)));
            model.remove(&key(n));
        }
        write(data, actions).await;
        if round < 3 {
            data.checkpoint().await.expect("made");
        }
    }
    model
}

#[tokio::test(start_paused = true)]
async fn a_store_holds_the_same_with_and_without_its_checkpoints_also_after_it_is_opened_again() {
    let storage = Arc::new(MemoryStorage::new());
    let data = builder(Arc::clone(&storage)).open().await.expect("opened");
    let model = with_history(&data).await;
    assert_holds(&data, &model).await;
    let (number, hash) = (data.status().manifest, data.state_hash(&data.snapshot()).await.expect("read"));
    assert_eq!(number, 3);
    data.close().await;
    let again = builder(storage).open().await.expect("opened");
    assert_holds(&again, &model).await;
    assert_eq!(again.status().manifest, 3);
    assert_eq!(again.state_hash(&again.snapshot()).await.expect("read"), hash);
}

#[tokio::test]
async fn a_directory_holds_checkpoints_as_memory_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = async || {
        let storage = PosixStorage::open(directory.path()).await.expect("opened");
        builder(storage).open().await.expect("opened")
    };
    let data = open().await;
    let model = with_history(&data).await;
    data.close().await;
    assert_holds(&open().await, &model).await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_of_a_checkpointed_entry_is_seen_at_once_and_ever_after() {
    let storage = Arc::new(MemoryStorage::new());
    let data = builder(Arc::clone(&storage)).open().await.expect("opened");
    write(&data, vec![put("k", "v"), put("other", "v")]).await;
    data.checkpoint().await.expect("made");
    let before = data.snapshot();
    write(&data, vec![delete("k")]).await;
    assert_eq!(get(&data, b"k").await, None);
    assert_eq!(entries(&data, "c").await.len(), 1);
    data.checkpoint().await.expect("made");
    assert_eq!(get(&data, b"k").await, None);
    // Who looked before it goes on seeing it.
    assert_eq!(data.get(&before, "c", b"k").await.expect("read").as_deref(), Some(&b"v"[..]));
    let again = builder(storage).open().await.expect("opened");
    assert_eq!(get(&again, b"k").await, None);
}

#[tokio::test(start_paused = true)]
async fn an_entry_larger_than_a_data_file_is_held_wherever_it_lies() {
    for large in [0, 50, 99] {
        let storage = Arc::new(MemoryStorage::new());
        let data = builder(Arc::clone(&storage)).open().await.expect("opened");
        let mut model: Model = (0..100).map(|n| (key(n), Bytes::from("v".repeat(60)))).collect();
        model.insert(key(large), Bytes::from("L".repeat(9_000)));
        for (key, value) in &model {
            write(&data, vec![put(key.clone(), value.clone())]).await;
        }
        data.checkpoint().await.expect("made");
        assert_holds(&data, &model).await;
        data.close().await;
        assert_holds(&builder(storage).open().await.expect("opened"), &model).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_entries_of_a_store_can_go() {
    let storage = Arc::new(MemoryStorage::new());
    let open = async || builder(Arc::clone(&storage)).history_transactions_max(1).open().await.expect("opened");
    let data = open().await;
    write(&data, (0..100).map(|n| put(key(n), "v".repeat(60))).collect()).await;
    data.checkpoint().await.expect("made");
    write(&data, (0..100).map(|n| delete(key(n))).collect()).await;
    for n in 0..6 {
        // What is deleted is forgotten a transaction later.
        data.commit(Transaction {
            actions: vec![Action::Append { collection: "d".into(), value: "x".into() }],
            ..Transaction::default()
        })
        .await
        .expect("committed");
        data.checkpoint().await.unwrap_or_else(|error| panic!("checkpoint {n}: {error}"));
    }
    assert_holds(&data, &Model::new()).await;
    data.close().await;
    assert_holds(&open().await, &Model::new()).await;
}

#[tokio::test(start_paused = true)]
async fn all_entries_of_a_file_can_go_wherever_it_lies() {
    for gone in [0..40, 30..70, 60..100] {
        let storage = Arc::new(MemoryStorage::new());
        let data = builder(Arc::clone(&storage)).history_transactions_max(1).open().await.expect("opened");
        // So large that only what changes is written again.
        let value =
            |n: usize| Bytes::from((0..400).map(|i| (n * 31 + i * i * 7 + i / 3 * n) as u8).collect::<Vec<_>>());
        let mut model: Model = (0..100).map(|n| (key(n), value(n))).collect();
        write(&data, model.iter().map(|(key, value)| put(key.clone(), value.clone())).collect()).await;
        data.checkpoint().await.expect("made");
        write(&data, gone.clone().map(|n| delete(key(n))).collect()).await;
        gone.for_each(|n| drop(model.remove(&key(n))));
        for _ in 0..3 {
            assert_holds(&data, &model).await;
            write(&data, vec![put("z", "v")]).await;
            model.insert("z".into(), "v".into());
            data.checkpoint().await.expect("made");
        }
        data.close().await;
        assert_holds(&builder(storage).open().await.expect("opened"), &model).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_id_twice_in_one_transaction_is_what_was_said_last() {
    let storage = Arc::new(MemoryStorage::new());
    let data = builder(Arc::clone(&storage)).open().await.expect("opened");
    let twice = |round: &str| {
        let put = |key: &'static str, value: &str| put(key, format!("{value} {round}"));
        vec![put("a", "1"), put("a", "2"), delete("b"), put("b", "1"), put("c", "1"), delete("c")]
    };
    let mut model = Model::new();
    for round in ["first", "over a checkpoint"] {
        write(&data, twice(round)).await;
        model.extend([("a".into(), format!("2 {round}").into()), ("b".into(), format!("1 {round}").into())]);
        assert_holds(&data, &model).await;
        data.checkpoint().await.expect("made");
        assert_holds(&data, &model).await;
        assert_eq!(get(&data, b"c").await, None);
    }
    data.close().await;
    assert_holds(&builder(storage).open().await.expect("opened"), &model).await;
}

#[tokio::test(start_paused = true)]
async fn writers_whose_puts_arrive_out_of_order_leave_one_order_without_a_gap() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let slow = builder(storage.clone()).writer_id([1; 16]).open().await.expect("opened");
    let quick = builder(storage.another_client()).writer_id([2; 16]).open().await.expect("opened");
    let held = storage.hold(CallKind::Put, Moment::Before);
    let late = tokio::spawn({
        let slow = slow.clone();
        async move { write(&slow, vec![put("k", "of the slow one")]).await }
    });
    held.arrived(1).await;
    for n in 1..=3 {
        assert_eq!(write(&quick, vec![put("k", "of the quick one")]).await.lsn, n);
    }
    quick.checkpoint().await.expect("made");
    drop(held);
    assert_eq!(late.await.expect("no panic").lsn, 4, "it began first, and its put came last");
    quick.catch_up().await.expect("caught up");
    for data in [slow, quick, builder(storage.another_client()).open().await.expect("opened")] {
        assert_eq!(get(&data, b"k").await.as_deref(), Some(&b"of the slow one"[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_new_makes_no_checkpoint() {
    let storage = MetricsStorage::new(Arc::new(MemoryStorage::new()));
    let data = builder(storage.clone()).open().await.expect("opened");
    write(&data, vec![put("k", "v")]).await;
    let first = data.checkpoint().await.expect("made");
    assert!(first.number == 1 && first.bytes_written > 0);
    let before = storage.metrics();
    let second = data.checkpoint().await.expect("made");
    assert_eq!((second.number, second.position, second.bytes_written), (1, first.position, 0));
    assert_eq!(storage.metrics().since(&before).calls(CallKind::Put), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_store_writes_nothing() {
    let storage = MetricsStorage::new(Arc::new(MemoryStorage::new()));
    let data = WalDataManager::builder(Arc::new(storage.clone())).uptime(Arc::new(VirtualUptime::new()));
    let data = data.open().await.expect("opened");
    write(&data, vec![put("k", "v")]).await;
    // The age of what is written makes one checkpoint due; after it there is nothing more to do.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(data.status().manifest, 1);
    let before = storage.metrics();
    tokio::time::sleep(Duration::from_secs(36_000)).await;
    assert_eq!(storage.metrics().since(&before).calls_total(), 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_batches_and_age_each_make_a_checkpoint() {
    type Trigger = fn(WalBuilder) -> WalBuilder;
    let triggers: [Trigger; 3] = [
        |builder| builder.checkpoint_log_bytes(1_000),
        |builder| builder.checkpoint_batches(5),
        |builder| builder.checkpoint_age(Duration::from_secs(60)),
    ];
    for (n, trigger) in triggers.into_iter().enumerate() {
        let data = trigger(builder(Arc::new(MemoryStorage::new()))).open().await.expect("opened");
        let mut status = data.watch_status();
        for n in 0..5 {
            write(&data, vec![put(key(n), "v".repeat(200))]).await;
        }
        let made = status.wait_for(|status| status.manifest > 0);
        let made = tokio::time::timeout(Duration::from_secs(61), made).await;
        assert!(made.is_ok(), "trigger {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_fails_is_made_later_and_nothing_is_lost() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let data = builder(storage.clone()).checkpoint_batches(3).open().await.expect("opened");
    let mut model = Model::new();
    for n in 0..3 {
        if n == 2 {
            storage.plan(|call| if call.name.contains("/data/") { Verdict::FailBefore } else { Verdict::Pass });
        }
        write(&data, vec![put(key(n), "v")]).await;
        model.insert(key(n), "v".into());
    }
    let mut status = data.watch_status();
    status.wait_for(|status| status.checkpoint_error.is_some()).await.expect("open");
    assert_holds(&data, &model).await;
    storage.revive();
    status.wait_for(|status| status.manifest == 1 && status.checkpoint_error.is_none()).await.expect("open");
    assert_holds(&data, &model).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_that_make_checkpoints_each_goes_on_from_the_others() {
    let storage = Arc::new(MemoryStorage::new());
    let [one, two] = [1, 2].map(|id| builder(Arc::clone(&storage)).writer_id([id; 16]));
    let (one, two) = (one.open().await.expect("opened"), two.open().await.expect("opened"));
    let mut model = Model::new();
    for n in 0..40 {
        let data = if n % 2 == 0 { &one } else { &two };
        write(data, vec![put(key(n), "v".repeat(60))]).await;
        model.insert(key(n), "v".repeat(60).into());
        let Checkpoint { number, .. } = data.checkpoint().await.expect("made");
        assert_eq!(number, n as u64 + 1);
    }
    for data in [&one, &two] {
        data.catch_up().await.expect("caught up");
        assert_holds(data, &model).await;
    }
    assert_holds(&builder(storage).open().await.expect("opened"), &model).await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_checkpointer_publishes_nothing() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let stalled = builder(storage.clone()).writer_id([1; 16]).open().await.expect("opened");
    let other = builder(storage.another_client()).writer_id([2; 16]).open().await.expect("opened");
    write(&stalled, vec![put("k", "1")]).await;
    let held = storage.hold(CallKind::Put, Moment::Before);
    let stalls = tokio::spawn({
        let stalled = stalled.clone();
        async move { stalled.checkpoint().await }
    });
    held.arrived(1).await;
    other.catch_up().await.expect("caught up");
    for n in 2..6 {
        write(&other, vec![put("k", n.to_string())]).await;
        other.checkpoint().await.expect("made");
    }
    drop(held);
    let made = stalls.await.expect("no panic").expect("adopted");
    assert_eq!((made.number, made.bytes_written), (4, 0), "the newest one is the other's");
    assert_eq!(get(&stalled, b"k").await.as_deref(), Some(&b"5"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_more_than_there_is_in_the_log_is_corrupt_and_is_not_waited_for() {
    let storage = Arc::new(MemoryStorage::new());
    let behind = builder(Arc::clone(&storage)).writer_id([1; 16]).open().await.expect("opened");
    let other = builder(Arc::clone(&storage)).writer_id([2; 16]).open().await.expect("opened");
    for n in 0..2 {
        write(&other, vec![put(key(n), "v")]).await;
    }
    other.checkpoint().await.expect("made");
    for batch in storage.list_objects("base/log/").await.expect("listed") {
        storage.delete(&batch.key).await.expect("deleted");
    }
    let error = behind.checkpoint().await.expect_err("the log is gone");
    assert!(matches!(&error, Error::Corrupt { object, .. } if object.contains("manifest/")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_idled_for_an_hour_still_commits_also_over_a_checkpoint_and_another_start() {
    let storage = Arc::new(MemoryStorage::new());
    let data = builder(Arc::clone(&storage)).open().await.expect("opened");
    write(&data, vec![put("k", "v")]).await;
    let reads = ReadSet { position: data.snapshot().position(), groups: vec!["g".into()], ..ReadSet::default() };
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    write(&data, vec![put("other", "v")]).await;
    data.checkpoint().await.expect("made");
    data.close().await;
    let data = builder(storage).open().await.expect("opened");
    let taken = Transaction { reads: reads.clone(), actions: vec![put("k", "w")] };
    data.commit(taken.clone()).await.expect("nobody took the group");
    data.checkpoint().await.expect("made");
    let error = data.commit(taken).await.expect_err("somebody took the group");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_nobody_knows_any_more_keeps_its_data() {
    let storage = Arc::new(MemoryStorage::new());
    let data = builder(Arc::clone(&storage)).open().await.expect("opened");
    let old = Action::Put { collection: "old".into(), key: "k".into(), value: "v".into() };
    write(&data, vec![old]).await;
    for n in 0..60 {
        write(&data, vec![put(key(n), "v".repeat(60))]).await;
        data.checkpoint().await.expect("made");
    }
    data.close().await;
    let data = builder(storage).open().await.expect("opened");
    assert_eq!(data.get(&data.snapshot(), "old", b"k").await.expect("read").as_deref(), Some(&b"v"[..]));
}

#[tokio::test(start_paused = true)]
async fn opening_reads_no_data_file() {
    let storage = MetricsStorage::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let data = builder(storage.clone()).open().await.expect("opened");
    with_history(&data).await;
    data.enter_maintenance("a test").await.expect("entered");
    data.checkpoint().await.expect("made");
    data.close().await;
    let inner = storage.inner();
    inner.plan(|call| if call.name.contains("/data/") { Verdict::FailBefore } else { Verdict::Pass });
    let data = builder(storage.clone()).open().await.expect("no data file is read");
    assert_eq!(data.status().maintenance.as_deref(), Some("a test"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_outside_the_base_path() {
    for base_path in ["", "base"] {
        let storage = Arc::new(MemoryStorage::new());
        for neighbour in ["bases/format", "base2", "logs/1"] {
            storage
                .put_bytes(&neighbour.parse().expect("a key"), "theirs".into(), Default::default())
                .await
                .expect("put");
        }
        let data = builder(Arc::clone(&storage)).base_path(base_path).open().await.expect("opened");
        with_history(&data).await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let ours = ["format", "log/", "manifest/", "floor/", "data/"];
        for object in storage.list_objects("").await.expect("listed") {
            let name = object.key.as_str();
            let inside = if base_path.is_empty() { Some(name) } else { name.strip_prefix("base/") };
            let theirs = ["bases/format", "base2", "logs/1"].contains(&name);
            assert!(theirs || inside.is_some_and(|name| ours.iter().any(|ours| name.starts_with(ours))), "{name}");
        }
    }
}
