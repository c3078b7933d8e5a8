//! What a storage that fails, loses replies or dies makes of commits. The clock is paused: waiting costs nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, future::join_all, stream::BoxStream};
use runyard_datamanager::{
    Action, DataManager, Direction, Error, KeyRange, Position, Result, Scan, Transaction, WalDataManager,
};
use runyard_objectstorage::{
    Body, CallKind, Error as StorageError, FaultyStorage, GetObject, GetRange, ListEntry, ListRequest, MemoryStorage,
    Moment, ObjectKey, ObjectMeta, ObjectStorage, PosixStorage, PutOptions, Verdict,
};

type Faulty<S = Arc<MemoryStorage>> = FaultyStorage<S>;

const TIMEOUT: Duration = Duration::from_secs(30);

fn memory() -> Faulty {
    FaultyStorage::new(Arc::new(MemoryStorage::new()))
}

async fn open(storage: impl ObjectStorage) -> Result<WalDataManager> {
    WalDataManager::builder(Arc::new(storage)).base_path("base").commit_timeout(TIMEOUT).open().await
}

/// Transaction `n`: several changes that only make sense together.
fn transaction(n: usize) -> Transaction {
    let n = Bytes::from(n.to_string());
    let put = |key: Bytes| Action::Put { collection: "c".into(), key, value: n.clone() };
    let append = Action::Append { collection: "events".into(), value: n.clone() };
    Transaction { actions: vec![put(n.clone()), append, put("last".into())], ..Default::default() }
}

async fn commit(data: &WalDataManager, n: usize) -> Result<Position> {
    data.commit(transaction(n)).await
}

async fn entries(data: &WalDataManager, collection: &str) -> Vec<(Bytes, Bytes)> {
    let collection = collection.to_owned();
    let scan = Scan { collection, range: KeyRange::all(), direction: Direction::Ascending, limit: usize::MAX };
    data.scan(&data.snapshot(), &scan).await.unwrap().entries
}

/// The numbers of the transactions that are in the store, in their order; each of them wholly.
async fn present(data: &WalDataManager) -> Vec<usize> {
    let events = entries(data, "events").await;
    let numbers: Vec<usize> =
        events.iter().map(|(_, value)| std::str::from_utf8(value).unwrap().parse().unwrap()).collect();
    let mut model: BTreeMap<Bytes, Bytes> = events.iter().map(|(_, value)| (value.clone(), value.clone())).collect();
    model.extend(events.last().map(|(_, value)| (Bytes::from("last"), value.clone())));
    assert_eq!(entries(data, "c").await, model.into_iter().collect::<Vec<_>>(), "transactions are there wholly");
    numbers
}

/// Opens, commits some transactions, opens again, commits more; stops at what cannot be survived. Returns which
/// transactions were acknowledged.
async fn scenario(storage: impl ObjectStorage + Clone) -> Vec<usize> {
    let mut acknowledged = Vec::new();
    for start in [0, 3] {
        let Ok(data) = open(storage.clone()).await else { return acknowledged };
        let all = [vec![start], vec![start + 1, start + 2]];
        for together in all {
            let results = join_all(together.iter().map(|n| commit(&data, *n))).await;
            acknowledged.extend(together.into_iter().zip(results).filter(|(_, result)| result.is_ok()).map(|(n, _)| n));
        }
        data.close().await;
    }
    acknowledged
}

async fn crash_everywhere<S: ObjectStorage + Clone>(verdicts: &[Verdict], fresh: impl AsyncFn(u64) -> S) {
    let calls = {
        let storage = FaultyStorage::new(fresh(0).await);
        assert_eq!(scenario(storage.clone()).await, [0, 1, 2, 3, 4, 5]);
        storage.calls_total()
    };
    assert!(calls >= 8, "format, lists and batches: {calls}");
    for nth in 1..=calls {
        for (index, verdict) in verdicts.iter().enumerate() {
            let storage = FaultyStorage::new(fresh(nth * 10 + index as u64).await);
            storage.script(nth, *verdict);
            let acknowledged = scenario(storage.clone()).await;
            storage.revive();
            let data = open(storage).await.unwrap();
            let present = present(&data).await;
            let what = format!("{verdict:?} at call {nth}: {acknowledged:?} acknowledged, {present:?} present");
            assert!(acknowledged.iter().all(|n| present.contains(n)), "{what}");
            assert!(present.is_sorted(), "{what}");
            commit(&data, 9).await.expect(&what);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_storage_call_loses_nothing_that_was_acknowledged() {
    crash_everywhere(&[Verdict::CrashBefore, Verdict::CrashAfter], async |_| Arc::new(MemoryStorage::new())).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_call_of_a_directory_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    crash_everywhere(&[Verdict::CrashBefore, Verdict::CrashAfter], async |n| {
        Arc::new(PosixStorage::open(directory.path().join(n.to_string())).await.unwrap())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_failed_call_fails_no_commit() {
    for verdict in [Verdict::FailBefore, Verdict::FailAfter, Verdict::Late] {
        for nth in 1.. {
            let storage = memory();
            let data = open(storage.clone()).await.unwrap();
            let before = storage.calls_total();
            storage.script(nth, verdict);
            for n in 0..4 {
                commit(&data, n).await.unwrap_or_else(|error| panic!("{verdict:?} at call {nth}: {error}"));
            }
            let calls = storage.calls_total() - before;
            // What lands late finds its slot taken.
            assert!(storage.land_late().await.iter().all(|answer| answer.is_err()));
            storage.revive();
            for data in [data, open(storage).await.unwrap()] {
                assert_eq!(present(&data).await, [0, 1, 2, 3], "{verdict:?} at call {nth}");
            }
            if nth > calls {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_commit_is_one_put_and_nothing_else() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let calls = |kinds: &[CallKind]| kinds.iter().map(|kind| storage.calls(*kind)).sum::<u64>();
    let others = [CallKind::Head, CallKind::Get, CallKind::Delete, CallKind::List];
    let (puts_before, others_before) = (calls(&[CallKind::Put]), calls(&others));
    for n in 0..10 {
        commit(&data, n).await.unwrap();
        present(&data).await;
    }
    assert_eq!(calls(&[CallKind::Put]) - puts_before, 10);
    assert_eq!(calls(&others) - others_before, 0);
}

#[tokio::test]
async fn writers_that_come_while_a_put_is_in_flight_share_the_next_one() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let before = storage.calls(CallKind::Put);
    let hold = storage.hold(CallKind::Put, Moment::Before);
    let first = tokio::spawn({
        let data = data.clone();
        async move { commit(&data, 0).await }
    });
    hold.arrived(1).await;
    let mut others = Box::pin(join_all((1..=64).map(|n| commit(&data, n))));
    assert!((&mut others).now_or_never().is_none(), "all of them wait");
    drop(hold);
    first.await.unwrap().unwrap();
    let positions: Vec<_> = others.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(storage.calls(CallKind::Put) - before, 2);
    assert!(positions.iter().all(|position| position.lsn == 2));
    assert_eq!(present(&data).await, (0..=64).collect::<Vec<_>>());
}

#[tokio::test]
async fn sixty_four_busy_writers_share_puts() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let before = storage.calls(CallKind::Put);
    let rounds = 10;
    join_all((0..64).map(async |writer| {
        for round in 0..rounds {
            commit(&data, writer * rounds + round).await.unwrap();
        }
    }))
    .await;
    let puts = storage.calls(CallKind::Put) - before;
    assert!(puts <= 2 * rounds as u64, "{puts} puts for {} commits", 64 * rounds);
}

#[tokio::test(start_paused = true)]
async fn during_an_outage_commits_wait_and_reads_go_on() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    commit(&data, 0).await.unwrap();
    storage.crash();
    let (one, two, ()) = tokio::join!(commit(&data, 1), commit(&data, 2), async {
        tokio::time::sleep(TIMEOUT / 2).await;
        assert_eq!(present(&data).await, [0], "readers go on, and see nothing that is not durable");
        storage.revive();
    });
    assert!(one.unwrap() < two.unwrap());
    assert_eq!(present(&data).await, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn after_a_long_outage_the_outcome_is_unknown_and_the_slot_is_never_used_twice() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    commit(&data, 0).await.unwrap();
    storage.crash();
    let (tried, queued) = tokio::join!(commit(&data, 1), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        commit(&data, 2).await
    });
    assert!(matches!(tried, Err(Error::OutcomeUnknown { .. })), "{tried:?}");
    let error = queued.expect_err("never tried");
    assert!(matches!(&error, Error::Storage { doing, .. } if doing.contains("nothing of it was written")), "{error}");
    storage.revive();
    let position = commit(&data, 3).await.unwrap();
    assert_eq!(position.lsn, 3, "the slot in doubt was written with what it was in doubt about");
    for data in [data, open(storage).await.unwrap()] {
        assert_eq!(present(&data).await, [0, 1, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_that_lands_after_everybody_gave_up_is_found() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    storage.plan(|call| if call.kind == CallKind::Put { Verdict::Late } else { Verdict::Pass });
    let error = commit(&data, 0).await.expect_err("no put answers");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    storage.land_late().await;
    storage.revive();
    assert_eq!(commit(&data, 1).await.unwrap().lsn, 2);
    for data in [data, open(storage).await.unwrap()] {
        assert_eq!(present(&data).await, [0, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_gives_way_to_another_process_that_took_its_slot() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let other = open(Arc::clone(storage.inner())).await.unwrap();
    storage.crash();
    let error = commit(&data, 0).await.expect_err("an outage");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    commit(&other, 1).await.unwrap();
    storage.revive();
    commit(&data, 2).await.unwrap();
    other.catch_up().await.unwrap();
    for data in [data, other, open(storage).await.unwrap()] {
        assert_eq!(present(&data).await, [1, 2], "what its caller gave up is not written after all");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_in_an_outage_ends_when_the_last_caller_gave_up() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    storage.crash();
    let (result, ()) = tokio::join!(commit(&data, 0), data.close());
    assert!(matches!(result, Err(Error::OutcomeUnknown { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_put_that_hangs_holds_its_callers_only_until_their_time_is_over() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let hold = storage.hold(CallKind::Put, Moment::Before);
    let began = tokio::time::Instant::now();
    let (tried, queued) = tokio::join!(commit(&data, 0), async {
        hold.arrived(1).await;
        commit(&data, 1).await
    });
    assert!(matches!(tried, Err(Error::OutcomeUnknown { .. })), "{tried:?}");
    assert!(matches!(queued, Err(Error::Storage { .. })), "{queued:?}");
    assert!(began.elapsed() < TIMEOUT * 2);
    let mut third = Box::pin(commit(&data, 2));
    assert!((&mut third).now_or_never().is_none());
    drop(hold);
    assert_eq!(third.await.unwrap().lsn, 2);
    assert_eq!(present(&data).await, [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_put_that_hangs_for_ever() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let _hold = storage.hold(CallKind::Put, Moment::Before);
    let (result, ()) = tokio::join!(commit(&data, 0), data.close());
    assert!(matches!(result, Err(Error::OutcomeUnknown { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn commits_wait_for_room_in_the_queue() {
    let storage = memory();
    let builder = WalDataManager::builder(Arc::new(storage.clone())).queue_bytes_max(1);
    let data = builder.commit_timeout(TIMEOUT).open().await.unwrap();
    let hold = storage.hold(CallKind::Put, Moment::Before);
    let mut first = Box::pin(commit(&data, 0));
    assert!((&mut first).now_or_never().is_none());
    hold.arrived(1).await;
    let mut others = Box::pin(join_all([commit(&data, 1), commit(&data, 2)]));
    assert!((&mut others).now_or_never().is_none());
    drop(hold);
    let (first, others) = tokio::join!(first, others);
    let lsns = [first].into_iter().chain(others).map(|result| result.unwrap().lsn);
    assert!(lsns.eq([1, 2, 3]), "there was never room for two, so no two could share a put");
    assert_eq!(present(&data).await, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn random_faults_under_two_writers_lose_and_invent_nothing() {
    for seed in 0..40 {
        let storage = memory();
        let managers = [open(storage.clone()).await.unwrap(), open(storage.clone()).await.unwrap()];
        storage.seeded(seed, 250);
        let write_all = async |writer: usize| {
            let mut acknowledged = Vec::new();
            for n in (0..30).filter(|n| n % 2 == writer) {
                if let Ok(position) = commit(&managers[writer], n).await {
                    acknowledged.push((position, n));
                }
            }
            acknowledged
        };
        let (mut acknowledged, others) = tokio::join!(write_all(0), write_all(1));
        acknowledged.extend(others);
        storage.revive();
        acknowledged.sort_unstable();
        let data = open(storage).await.unwrap();
        let events = entries(&data, "events").await;
        for (position, n) in &acknowledged {
            let event = events.iter().find(|(key, _)| key[..] == position.append_key(0));
            assert_eq!(event.map(|(_, value)| value.clone()), Some(n.to_string().into()), "seed {seed}");
        }
        assert_eq!(events.len(), 30, "nothing is failed that can still succeed, seed {seed}");
        for other in &managers {
            other.catch_up().await.unwrap();
            assert_eq!(
                other.state_hash(&other.snapshot()).unwrap(),
                data.state_hash(&data.snapshot()).unwrap(),
                "seed {seed}"
            );
        }
    }
}

/// A storage that refuses every write.
#[derive(Clone, Debug)]
struct Refusing {
    inner: Arc<MemoryStorage>,
    refuses: Arc<AtomicBool>,
}

#[async_trait]
impl ObjectStorage for Refusing {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject, StorageError> {
        self.inner.get(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<(), StorageError> {
        if self.refuses.load(Ordering::Relaxed) {
            let name = key.to_string();
            return Err(StorageError::PermissionDenied { doing: "writing", name, source: "read-only".into() });
        }
        self.inner.put(key, body, options).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry, StorageError>> {
        self.inner.list(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_no_retry_mends_fails_at_once_and_the_store_goes_on() {
    let refuses = Arc::new(AtomicBool::new(false));
    let storage = Refusing { inner: Arc::new(MemoryStorage::new()), refuses: Arc::clone(&refuses) };
    let data = open(storage).await.unwrap();
    refuses.store(true, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    let error = commit(&data, 0).await.expect_err("refused");
    assert!(matches!(error, Error::Storage { doing: "writing the log", .. }), "{error}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(commit(&data, 1).await.unwrap().lsn, 1);
}
