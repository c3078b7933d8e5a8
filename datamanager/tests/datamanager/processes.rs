//! Several data managers on one storage, as several processes would be.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{TryStreamExt, future::join_all};
use runyard_datamanager::{
    Action, Collection, DataManager, DataManagerExt, Direction, Error, KeyRange, Position, ReadSet, Scan, Transaction,
    WalDataManager,
};
use runyard_objectstorage::{CallKind, MemoryStorage, Moment, ObjectStorage, PosixStorage, Verdict};

use crate::support::{self, memory, present};

const NUMBERS: Collection<u64> = Collection::new("numbers");

async fn open(storage: &Arc<dyn ObjectStorage>) -> WalDataManager {
    WalDataManager::builder(Arc::clone(storage)).base_path("shared").open().await.unwrap()
}

async fn increment(data: &WalDataManager) -> (u64, Position) {
    data.transact(async |tx| {
        let next = tx.get(&NUMBERS, "n").await?.unwrap_or(0) + 1;
        tx.put(&NUMBERS, "n", &next).await?;
        Ok::<_, Error>(next)
    })
    .await
    .unwrap()
}

/// Every writer appends; every acknowledged append is where it was said to be, on both sides and after a restart.
async fn no_acknowledged_write_is_lost(storage: Arc<dyn ObjectStorage>, writes: usize) {
    let (a, b) = (open(&storage).await, open(&storage).await);
    let write_all = async |data: &WalDataManager, name: &str| {
        let mut acknowledged = BTreeMap::new();
        for round in 0..writes {
            let commits = (0..4).map(|n| async move {
                let value = Bytes::from(format!("{name} {round} {n}"));
                let actions = vec![Action::Append { collection: "events".into(), value: value.clone() }];
                let position = data.commit(Transaction { actions, ..Default::default() }).await.unwrap();
                (Bytes::copy_from_slice(&position.append_key(0)), value)
            });
            acknowledged.extend(join_all(commits).await);
        }
        acknowledged
    };
    let (mut acknowledged, of_b) = tokio::join!(write_all(&a, "a"), write_all(&b, "b"));
    acknowledged.extend(of_b);
    assert_eq!(acknowledged.len(), writes * 8, "no two writes are in one place");
    a.catch_up().await.unwrap();
    b.catch_up().await.unwrap();
    let again = open(&storage).await;
    for data in [&a, &b, &again] {
        let scan = Scan {
            collection: "events".into(),
            range: KeyRange::all(),
            direction: Direction::Ascending,
            limit: usize::MAX,
        };
        let page = data.scan(&data.snapshot(), &scan).await.unwrap();
        assert!(page.entries.into_iter().eq(acknowledged.clone()), "exactly what was acknowledged is there");
        let followed: Vec<_> =
            futures::StreamExt::take(data.follow(Position::ZERO), writes * 8).try_collect().await.unwrap();
        assert!(followed.windows(2).all(|pair| pair[0].position < pair[1].position));
    }
}

#[tokio::test]
async fn two_writers_in_memory_lose_nothing() {
    no_acknowledged_write_is_lost(Arc::new(MemoryStorage::new()), 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_in_a_directory_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    no_acknowledged_write_is_lost(Arc::new(PosixStorage::open(directory.path()).await.unwrap()), 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_of_two_processes_are_all_counted() {
    let storage: Arc<dyn ObjectStorage> = Arc::new(MemoryStorage::new());
    let (a, b) = (open(&storage).await, open(&storage).await);
    let count = async |data: &WalDataManager| {
        let mut seen = Vec::new();
        for _ in 0..25 {
            seen.push(increment(data).await);
        }
        seen
    };
    let (mut seen, of_b) = tokio::join!(count(&a), count(&b));
    seen.extend(of_b);
    seen.sort_unstable();
    assert!(seen.iter().map(|(n, _)| *n).eq(1..=50), "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[0].1 < pair[1].1), "{seen:?}");
}

#[tokio::test]
async fn of_the_claims_of_one_name_in_two_processes_exactly_one_wins() {
    let storage: Arc<dyn ObjectStorage> = Arc::new(MemoryStorage::new());
    let managers = [open(&storage).await, open(&storage).await];
    let claims = (0..20).map(|n| {
        let reads = ReadSet { keys: vec![("c".into(), "name".into())], ..ReadSet::default() };
        let value = Bytes::from(n.to_string());
        let actions = vec![Action::Put { collection: "c".into(), key: "name".into(), value }];
        managers[n % 2].commit(Transaction { reads, actions })
    });
    let results = join_all(claims).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().flat_map(|result| result.as_ref().err()).all(Error::is_conflict), "{results:?}");
    let winner = results.iter().position(Result::is_ok).unwrap().to_string();
    for data in &managers {
        data.catch_up().await.unwrap();
        assert_eq!(data.get(&data.snapshot(), "c", b"name").await.unwrap(), Some(Bytes::from(winner.clone())));
    }
}

#[tokio::test]
async fn a_store_that_another_process_makes_meanwhile_is_opened() {
    let storage = memory();
    let hold = storage.hold(CallKind::List, Moment::Before);
    let late = tokio::spawn(support::open(storage.clone()));
    hold.arrived(1).await;
    let first = support::open(Arc::clone(storage.inner())).await.unwrap();
    support::commit(&first, 0).await.unwrap();
    drop(hold);
    let late = late.await.unwrap().unwrap();
    assert_eq!(present(&late).await, [0]);
}

#[tokio::test]
async fn a_position_of_one_process_can_be_waited_for_and_read_at_in_another() {
    let storage: Arc<dyn ObjectStorage> = Arc::new(MemoryStorage::new());
    let (a, b) = (open(&storage).await, open(&storage).await);
    let (_, position) = increment(&a).await;
    b.wait_for(position).await.unwrap();
    assert_eq!(b.read(&b.snapshot(), &NUMBERS, "n").await.unwrap(), Some(1));
    // A decision from what `a` read may be committed at `b`, which has not seen it yet.
    let (_, position) = increment(&a).await;
    assert!(b.snapshot().position() < position);
    let ahead = b.get(&a.snapshot(), "numbers", b"n").await;
    assert!(matches!(ahead, Err(Error::Refused { .. })), "not visible yet is not absent: {ahead:?}");
    let reads = ReadSet { position, keys: vec![("numbers".into(), "n".into())], ..ReadSet::default() };
    let (_, ahead) = increment(&open(&storage).await).await;
    let only_reads = Transaction { reads: ReadSet { position: ahead, ..reads.clone() }, actions: vec![] };
    b.commit(only_reads).await.unwrap();
    assert!(b.commit(Transaction { reads: reads.clone(), actions: vec![] }).await.unwrap_err().is_conflict());
    let reads = ReadSet { position: ahead, ..reads };
    let actions = vec![Action::Put { collection: "numbers".into(), key: "n".into(), value: "3".into() }];
    let committed = b.commit(Transaction { reads, actions }).await.unwrap();
    assert!(committed > position);
    a.wait_for(committed).await.unwrap();
    assert_eq!(a.read(&a.snapshot(), &NUMBERS, "n").await.unwrap(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_does_not_refuse_what_was_read_at_another_process() {
    let storage = memory();
    let data = support::open(storage.clone()).await.unwrap();
    let other = support::open(Arc::clone(storage.inner())).await.unwrap();
    let position = support::commit(&other, 0).await.unwrap();
    storage.script(1, Verdict::FailBefore);
    let reads = ReadSet { position, keys: vec![("c".into(), "last".into())], ..ReadSet::default() };
    data.commit(Transaction { reads, ..support::transaction(1) }).await.unwrap();
    assert_eq!(present(&data).await, [0, 1]);
}
