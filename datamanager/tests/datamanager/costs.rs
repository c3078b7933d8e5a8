//! What commits cost, counted in calls to the storage.

use std::sync::Arc;

use futures::{FutureExt, future::join_all};
use runyard_datamanager::WalDataManager;
use runyard_objectstorage::{CallKind, Moment};

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
