//! Commits while checkpoints come and go.

use runyard_objectstorage::{CallKind, FaultyStorage, MemoryStorage, Moment};

use super::super::*;
use crate::{
    Action, Direction, KeyRange, ReadSet,
    store::tests::checkpoint,
    system::{GROUPS, SYSTEM},
};

type Storage = FaultyStorage<Arc<MemoryStorage>>;

async fn open() -> (WalDataManager, Storage) {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    (WalDataManager::builder(Arc::new(storage.clone())).open().await.unwrap(), storage)
}

fn put(key: &'static str) -> Action {
    Action::Put { collection: "c".into(), key: key.into(), value: "v".into() }
}

fn blind(key: &'static str) -> Transaction {
    Transaction { actions: vec![put(key)], ..Transaction::default() }
}

fn reading(position: Position, key: &'static str) -> ReadSet {
    ReadSet { position, keys: vec![("c".into(), key.into())], ..ReadSet::default() }
}

/// Installs a checkpoint of everything that is visible.
fn install(data: &WalDataManager) {
    let store = &data.handle.store;
    assert!(store.install(checkpoint(store)));
}

#[tokio::test]
async fn a_read_from_before_the_checkpoint_is_checked_against_it() {
    let (data, _) = open().await;
    let first = data.commit(blind("a")).await.unwrap();
    let group = ReadSet { position: first, groups: vec!["g".into()], ..ReadSet::default() };
    data.commit(Transaction { reads: group.clone(), actions: vec![put("b")] }).await.unwrap();
    install(&data);
    let range = |range| ReadSet { position: first, ranges: vec![("c".into(), range)], ..ReadSet::default() };
    for (reads, valid) in [
        (reading(first, "a"), true),
        (reading(first, "b"), false),
        (range(KeyRange::prefix("a")), true),
        (range(KeyRange::prefix("b")), false),
        (group, false),
    ] {
        for actions in [vec![], vec![put("c")]] {
            let result = data.commit(Transaction { reads: reads.clone(), actions }).await;
            assert_eq!(result.is_ok(), valid, "{reads:?}: {result:?}");
            assert!(result.is_ok() || matches!(result, Err(Error::Conflict { .. })), "{result:?}");
        }
    }
    // What is in memory counts as well.
    data.commit(blind("a")).await.unwrap();
    let stale = Transaction { reads: reading(first, "a"), actions: vec![put("c")] };
    assert!(matches!(data.commit(stale).await, Err(Error::Conflict { .. })));
}

#[tokio::test]
async fn a_transaction_that_a_checkpoint_overtakes_is_handed_back_checked_and_committed_or_refused() {
    for (changed, valid) in [("other", true), ("read", false)] {
        let (data, storage) = open().await;
        let position = data.commit(blind("read")).await.unwrap();
        let covered = data.commit(blind(changed)).await.unwrap();
        let hold = storage.hold(CallKind::Put, Moment::Before);
        let spawn = |transaction: Transaction| {
            let data = data.clone();
            tokio::spawn(async move { data.commit(transaction).await })
        };
        let before = spawn(blind("before"));
        hold.arrived(1).await;
        // Queued while there is no checkpoint; before its turn there is one.
        let overtaken = spawn(Transaction { reads: reading(position, "read"), actions: vec![put("late")] });
        while data.handle.queue.next_deadline().is_none() {
            tokio::task::yield_now().await;
        }
        install(&data);
        assert_eq!(data.handle.store.base().position(), covered);
        drop(hold);
        before.await.unwrap().unwrap();
        let result = overtaken.await.unwrap();
        assert_eq!(result.is_ok(), valid, "{result:?}");
        assert!(valid || matches!(result, Err(Error::Conflict { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn a_transaction_is_not_handed_back_for_ever() {
    let (data, _) = open().await;
    let position = data.commit(blind("a")).await.unwrap();
    let handle = &data.handle;
    // In place of the committer, whoever takes the transaction has always just met a newer checkpoint.
    let queue = Arc::new(Queue::new(1 << 20));
    let unlucky = Handle {
        store: Arc::clone(&handle.store),
        queue: Arc::clone(&queue),
        source: handle.source.clone(),
        genesis: handle.genesis,
        current: Arc::clone(&handle.current),
        checkpoints: handle.checkpoints.clone(),
        data_file_size_max: 1 << 20,
        read_only: false,
        commit_timeout: Duration::from_secs(9),
        stopped: CancellationToken::new(),
        _coordinator: None,
    };
    let mut handed_back = 0;
    let hands_back = async {
        loop {
            for pending in queue.take(1 << 20) {
                handed_back += 1;
                data.commit(blind("other")).await.unwrap();
                install(&data);
                pending.hand_back();
            }
            queue.changed().await;
        }
    };
    let transaction = Transaction { reads: reading(position, "a"), actions: vec![put("b")] };
    let payload = encode_payload(&transaction);
    let logged = Logged::new(Position::ZERO, vec![], transaction.actions);
    let deadline = Instant::now() + unlucky.commit_timeout;
    let result = tokio::select! {
        result = unlucky.commit((transaction.reads, logged, payload), deadline) => result,
        () = hands_back => unreachable!("it goes on for ever"),
    };
    assert!(matches!(&result, Err(error) if error.is_conflict()), "it reads again: {result:?}");
    assert_eq!(handed_back, HAND_BACKS_MAX);
}

#[tokio::test]
async fn the_stores_own_collections_are_refused_to_users() {
    let (data, _) = open().await;
    let at = data.snapshot();
    for collection in [SYSTEM, GROUPS] {
        let scan =
            Scan { collection: collection.into(), range: KeyRange::all(), direction: Direction::Ascending, limit: 1 };
        let delete = Action::Delete { collection: collection.into(), key: "k".into() };
        let refused = [
            data.get(&at, collection, b"k").await.map(drop),
            data.scan(&at, &scan).await.map(drop),
            data.commit(Transaction { actions: vec![delete], ..Transaction::default() }).await.map(drop),
        ];
        assert!(refused.iter().all(|result| matches!(result, Err(Error::Refused { .. }))), "{refused:?}");
    }
}

#[tokio::test]
async fn an_older_position_is_read_from_memory_as_long_as_it_is_there_and_then_from_the_log() {
    let (data, _) = open().await;
    let first = data.commit(blind("a")).await.unwrap();
    data.commit(blind("b")).await.unwrap();
    let old = data.snapshot_at(first).await.unwrap();
    assert_eq!(data.get(&old, "c", b"b").await.unwrap(), None);
    drop(old);
    install(&data);
    assert!(matches!(data.handle.store.snapshot_at(first), Err(Error::PositionExpired { .. })));
    let old = data.snapshot_at(first).await.unwrap();
    assert_eq!(data.get(&old, "c", b"b").await.unwrap(), None);
    assert!(data.get(&old, "c", b"a").await.unwrap().is_some());
    let future = Position { lsn: 9, index: 0 };
    assert!(matches!(data.snapshot_at(future).await, Err(Error::Refused { .. })));
}
