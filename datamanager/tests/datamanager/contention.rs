//! Many tasks of two processes on the same few entries, on several threads.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{TryStreamExt, future::join_all};
use runyard_datamanager::{
    Collection, DataManager, DataManagerExt, Direction, Error, KeyRange, Position, WalDataManager,
};
use runyard_objectstorage::{MemoryStorage, ObjectStorage};

const ACCOUNTS: Collection<i64> = Collection::new("accounts");
const ACCOUNT_COUNT: usize = 6;
const TOTAL: i64 = 600;

async fn open(storage: &Arc<dyn ObjectStorage>) -> WalDataManager {
    WalDataManager::builder(Arc::clone(storage)).recent_bytes_max(4096).open().await.unwrap()
}

/// Moves money between two accounts, but only if nobody has less than nothing afterwards.
async fn transfer(data: &WalDataManager, from: usize, to: usize, amount: i64) {
    data.transact(|tx| async move {
        let all = tx.scan(&ACCOUNTS, KeyRange::all(), Direction::Ascending, ACCOUNT_COUNT).await?;
        assert_eq!(all.iter().map(|(_, money)| money).sum::<i64>(), TOTAL, "a transaction sees a consistent state");
        let (from_key, from_money) = &all[from];
        let (to_key, to_money) = &all[to];
        if *from_money >= amount {
            tx.put(&ACCOUNTS, from_key, &(from_money - amount)).await?;
            tx.put(&ACCOUNTS, to_key, &(to_money + amount)).await?;
        }
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn money_is_neither_made_nor_lost() {
    let storage: Arc<dyn ObjectStorage> = Arc::new(MemoryStorage::new());
    let (a, b) = (open(&storage).await, open(&storage).await);
    a.transact(async |tx| {
        for account in 0..ACCOUNT_COUNT {
            tx.put(&ACCOUNTS, account.to_string(), &(TOTAL / ACCOUNT_COUNT as i64)).await?;
        }
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    b.catch_up().await.unwrap();
    let tasks = (0..6).map(|task: usize| {
        let data = if task.is_multiple_of(2) { a.clone() } else { b.clone() };
        tokio::spawn(async move {
            for round in 0..20 {
                let from = (task + round) % ACCOUNT_COUNT;
                let to = (task * 5 + round * 7 + 1) % ACCOUNT_COUNT;
                if from != to {
                    transfer(&data, from, to, (round as i64 * 13) % 90).await;
                }
                let all = data.read_all(&data.snapshot(), &ACCOUNTS, KeyRange::all()).await.unwrap();
                assert_eq!(all.iter().map(|(_, money)| money).sum::<i64>(), TOTAL);
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    a.catch_up().await.unwrap();
    b.catch_up().await.unwrap();
    let again = open(&storage).await;
    let hashes = join_all([&a, &b, &again].map(async |data| data.state_hash(&data.snapshot()).await.unwrap())).await;
    assert!(hashes[0] == hashes[1] && hashes[1] == hashes[2], "all see the same");
    // Whoever follows from the beginning ends with the same state.
    let end = a.snapshot().position();
    let mut replayed: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    let mut follower = b.follow(Position::ZERO);
    while let Some(committed) = follower.try_next().await.unwrap() {
        for change in committed.changes {
            replayed.insert(change.key, change.value.unwrap());
        }
        if committed.position == end {
            break;
        }
    }
    let all = again.read_all(&again.snapshot(), &ACCOUNTS, KeyRange::all()).await.unwrap();
    let replayed = replayed.iter().map(|(key, value)| (key.clone(), ACCOUNTS.decode(key, value).unwrap()));
    assert!(all.into_iter().eq(replayed), "the change stream misses nothing");
}
