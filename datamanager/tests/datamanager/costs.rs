//! What commits cost, counted in calls to the storage.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use runyard_datamanager::{Action, DataManager, Transaction, VirtualUptime, WalDataManager};
use runyard_objectstorage::{CallKind, MemoryStorage, MetricsStorage, Moment};

use crate::support::{TIMEOUT, commit, memory, open, present};

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

fn key(n: u64) -> Bytes {
    format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into()
}

/// Opens the store for the first time in a process, as far as its cache is concerned.
async fn open_cold(storage: &MetricsStorage<Arc<MemoryStorage>>) -> WalDataManager {
    let builder = WalDataManager::builder(Arc::new(storage.clone())).uptime(Arc::new(VirtualUptime::new()));
    builder.data_file_size_max(64 << 10).open().await.expect("opened")
}

/// Entries in many base files, and a few of them changed by several checkpoints since, so that there are deltas.
async fn with_checkpoints() -> MetricsStorage<Arc<MemoryStorage>> {
    let storage = MetricsStorage::new(Arc::default());
    let data = open_cold(&storage).await;
    for round in 0..6 {
        let puts = (0..10_000).filter(|n| round == 0 || n % 97 == round).map(|n| Action::Put {
            collection: "c".into(),
            key: key(n),
            value: format!("{round} {n} ").repeat(10).into(),
        });
        data.commit(Transaction { actions: puts.collect(), ..Transaction::default() }).await.expect("committed");
        data.checkpoint().await.expect("made");
    }
    data.close().await;
    storage
}

#[tokio::test(start_paused = true)]
async fn a_cold_read_is_two_range_reads_beside_false_positives() {
    let storage = with_checkpoints().await;
    let (mut reads, openings) = (0, 300);
    for n in 0..openings {
        let data = open_cold(&storage).await;
        let before = storage.metrics();
        assert!(data.get(&data.snapshot(), "c", &key(n * 33)).await.expect("read").is_some());
        let calls = storage.metrics().since(&before);
        assert_eq!(calls.calls_total(), calls.calls(CallKind::Get));
        reads += calls.calls(CallKind::Get);
        data.close().await;
    }
    // A false positive of a delta's filter, one in a thousand, costs two more.
    assert!((2 * openings..2 * openings + 10).contains(&reads), "{reads} for {openings} reads");
}

#[tokio::test(start_paused = true)]
async fn a_read_of_what_does_not_exist_hardly_ever_reads_a_file() {
    let storage = with_checkpoints().await;
    let data = open_cold(&storage).await;
    let misses = 20_000;
    let before = storage.metrics();
    for n in 0..misses {
        assert_eq!(data.get(&data.snapshot(), "c", &key(10_000 + n)).await.expect("read"), None);
    }
    let reads = storage.metrics().since(&before).calls(CallKind::Get);
    assert!(reads * 100 <= misses * 2, "{reads} for {misses} misses");
    data.close().await;
}
