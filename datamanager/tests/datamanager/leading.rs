//! Who leads, and who may write at all.

use std::sync::Arc;

use futures::future::join_all;
use runyard_datamanager::{
    Action, Collection, DataManager, DataManagerExt, Error, Leadership, MemoryDataManager, Result, Transaction,
    WalDataManager,
};
use runyard_objectstorage::MemoryStorage;

use crate::support::{commit, open, present};

const JOBS: Collection<u64> = Collection::new("jobs");

async fn two() -> (Arc<MemoryStorage>, WalDataManager, WalDataManager) {
    let storage = Arc::new(MemoryStorage::new());
    let (a, b) = (open(Arc::clone(&storage)).await.unwrap(), open(Arc::clone(&storage)).await.unwrap());
    (storage, a, b)
}

async fn lead(leader: &Leadership, data: &WalDataManager, n: u64) -> Result<()> {
    leader.transact(data, async |tx| tx.put(&JOBS, "n", &n).await).await.map(drop)
}

fn assert_taken_over(result: Result<()>, by: &str) {
    let error = result.expect_err("deposed");
    assert!(matches!(&error, Error::TakenOver { message } if message.contains(by)), "{error}");
}

#[tokio::test]
async fn a_leader_that_was_deposed_in_another_process_commits_nothing_more_though_it_has_not_heard_of_it() {
    let (_, a, b) = two().await;
    let first = Leadership::acquire(&a, "scheduler", "a").await.unwrap();
    lead(&first, &a, 1).await.unwrap();
    let second = Leadership::acquire(&b, "scheduler", "b").await.unwrap();
    assert_eq!((first.epoch(), second.epoch()), (1, 2));
    // `a` has not caught up: for it, it still leads.
    first.check(&a, &a.snapshot()).await.unwrap();
    assert_taken_over(lead(&first, &a, 2).await, "b in epoch 2");
    lead(&second, &b, 3).await.unwrap();
    assert_taken_over(lead(&first, &a, 4).await, "b in epoch 2");
    a.catch_up().await.unwrap();
    assert_eq!(a.read(&a.snapshot(), &JOBS, "n").await.unwrap(), Some(3));
    let blind = first.commit(&a, &a.snapshot(), Transaction::default()).await;
    assert_taken_over(blind.map(drop), "b in epoch 2");
}

#[tokio::test]
async fn of_many_that_take_a_role_over_at_once_each_has_an_epoch_of_its_own_and_the_last_one_leads() {
    let (_, a, b) = two().await;
    let names: Vec<String> = (0..8).map(|n| format!("holder {n}")).collect();
    let acquired = join_all(names.iter().enumerate().map(|(n, name)| {
        let data = if n % 2 == 0 { &a } else { &b };
        Leadership::acquire(data, "r", name)
    }));
    let mut leaders: Vec<_> = acquired.await.into_iter().map(Result::unwrap).collect();
    leaders.sort_by_key(Leadership::epoch);
    assert!(leaders.iter().map(Leadership::epoch).eq(1..=8));
    a.catch_up().await.unwrap();
    for leader in &leaders[..7] {
        assert!(matches!(lead(leader, &a, 0).await, Err(Error::TakenOver { .. })));
    }
    lead(&leaders[7], &a, 1).await.unwrap();
    // Another role is nobody's concern.
    let other = Leadership::acquire(&a, "other", "x").await.unwrap();
    lead(&other, &a, 2).await.unwrap();
    lead(&leaders[7], &a, 3).await.unwrap();
}

#[tokio::test]
async fn a_leader_is_remembered_after_a_restart_and_users_cannot_name_its_entry() {
    let (storage, a, b) = two().await;
    Leadership::acquire(&a, "r", "a").await.unwrap();
    a.close().await;
    b.close().await;
    let again = open(storage).await.unwrap();
    assert_eq!(Leadership::acquire(&again, "r", "again").await.unwrap().epoch(), 2);
    let memory = MemoryDataManager::new();
    let data: [&dyn DataManager; 2] = [&again, &memory];
    for data in data {
        let delete = Action::Delete { collection: "\0system".into(), key: "leader/r".into() };
        let forged = data.commit(Transaction { actions: vec![delete], ..Transaction::default() }).await;
        assert!(matches!(forged, Err(Error::Refused { .. })), "{forged:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_maintenance_everything_else_is_refused_in_every_process_with_the_reason() {
    let (storage, a, b) = two().await;
    commit(&a, 0).await.unwrap();
    b.catch_up().await.unwrap();
    a.enter_maintenance("import of 12").await.unwrap();
    let is_refused = |result: Result<_>| {
        assert!(matches!(&result, Err(Error::Maintenance { reason }) if reason == "import of 12"), "{result:?}");
    };
    // `b` has not heard of it, and finds its slot taken.
    assert_eq!(b.status().maintenance, None);
    is_refused(commit(&b, 1).await.map(drop));
    is_refused(commit(&a, 2).await.map(drop));
    is_refused(b.enter_maintenance("another").await.map(drop));
    is_refused(Leadership::acquire(&b, "r", "b").await.map(drop));
    let again = open(Arc::clone(&storage)).await.unwrap();
    is_refused(commit(&again, 3).await.map(drop));
    for data in [&a, &b, &again] {
        assert_eq!(data.status().maintenance.as_deref(), Some("import of 12"));
        assert_eq!(present(data).await, [0], "reads go on");
    }
    b.leave_maintenance().await.unwrap();
    b.leave_maintenance().await.unwrap();
    commit(&b, 4).await.unwrap();
    for data in [&a, &again] {
        data.catch_up().await.unwrap();
        commit(data, 5).await.unwrap();
    }
    assert_eq!(a.status().maintenance, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_behind_the_beginning_of_maintenance_is_refused_and_what_was_before_is_not() {
    let (_, a, _) = two().await;
    let (first, second, entered, ..) =
        tokio::join!(biased; commit(&a, 0), commit(&a, 1), a.enter_maintenance("x"), async {});
    first.unwrap();
    second.unwrap();
    entered.unwrap();
    a.leave_maintenance().await.unwrap();
    // All in one batch, were it allowed.
    let at = a.snapshot().position();
    let (entered, after) = tokio::join!(biased; a.enter_maintenance("y"), async {
        while a.snapshot().position() == at {
            tokio::task::yield_now().await;
        }
        commit(&a, 2).await
    });
    entered.unwrap();
    assert!(matches!(after, Err(Error::Maintenance { .. })), "{after:?}");
    assert_eq!(present(&a).await, [0, 1]);
}
