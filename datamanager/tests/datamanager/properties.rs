//! Random transactions, snapshots, scans and restarts, against a `BTreeMap`.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use runyard_datamanager::{
    Collection, DataManager, DataManagerExt, Direction, Error, KeyRange, MemoryDataManager, Snapshot, WalDataManager,
};
use runyard_objectstorage::MemoryStorage;

use crate::script::{CLEANER_WAIT, builder};

type Model = BTreeMap<Bytes, u64>;

const NUMBERS: Collection<u64> = Collection::new("numbers");

#[derive(Clone, Debug)]
struct Look {
    range: KeyRange,
    direction: Direction,
    limit: usize,
}

#[derive(Clone, Debug)]
enum Op {
    Put(Bytes, u64),
    Delete(Bytes),
    Get(Bytes),
    Scan(Look),
}

#[derive(Clone, Debug)]
enum Step {
    Transact(Vec<Op>, bool),
    Pin,
    Unpin(prop::sample::Index),
    Look(prop::sample::Index, Look),
    Restart,
    Checkpoint,
    /// Longer than a cleaner waits.
    Wait,
}

fn key() -> impl Strategy<Value = Bytes> {
    "[abc]{0,2}".prop_map(Bytes::from)
}

fn bound() -> impl Strategy<Value = Bound<Bytes>> {
    prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded)]
}

fn look() -> impl Strategy<Value = Look> {
    let direction = prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)];
    (bound(), bound(), direction, 1..15_usize).prop_map(|(start, end, direction, limit)| Look {
        range: KeyRange { start, end },
        direction,
        limit,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let op = prop_oneof![
        4 => (key(), any::<u64>()).prop_map(|(key, value)| Op::Put(key, value)),
        2 => key().prop_map(Op::Delete),
        1 => key().prop_map(Op::Get),
        2 => look().prop_map(Op::Scan),
    ];
    prop_oneof![
        6 => (vec(op, 1..8), prop::bool::weighted(0.9)).prop_map(|(ops, commits)| Step::Transact(ops, commits)),
        2 => Just(Step::Pin),
        1 => any::<prop::sample::Index>().prop_map(Step::Unpin),
        3 => (any::<prop::sample::Index>(), look()).prop_map(|(index, look)| Step::Look(index, look)),
        1 => Just(Step::Restart),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Wait),
    ]
}

/// What a scan of the model finds: the plainest way to say it.
fn expected(model: &Model, look: &Look) -> (Vec<(Bytes, u64)>, bool) {
    let inside = model.iter().filter(|(key, _)| look.range.contains(key));
    let mut entries: Vec<_> = inside.map(|(key, value)| (key.clone(), *value)).collect();
    if look.direction == Direction::Descending {
        entries.reverse();
    }
    let more = entries.len() > look.limit;
    entries.truncate(look.limit);
    (entries, more)
}

async fn transact(data: &(impl DataManager + Clone), model: &mut Model, ops: Vec<Op>, commits: bool) {
    let before = &*model;
    let result = data
        .transact(|tx| {
            let ops = ops.clone();
            async move {
                let mut model = before.clone();
                for op in ops {
                    match op {
                        Op::Put(key, value) => {
                            tx.put(&NUMBERS, &key, &value).await?;
                            model.insert(key, value);
                        }
                        Op::Delete(key) => {
                            tx.delete(&NUMBERS, &key).await?;
                            model.remove(&key);
                        }
                        Op::Get(key) => assert_eq!(tx.get(&NUMBERS, &key).await?, model.get(&key).copied()),
                        Op::Scan(look) => {
                            let Look { range, direction, limit } = look.clone();
                            let found = tx.scan(&NUMBERS, range, direction, limit).await?;
                            assert_eq!(found, expected(&model, &look).0);
                        }
                    }
                }
                if commits { Ok(model) } else { Err(Error::Closed) }
            }
        })
        .await;
    match result {
        Ok((after, _)) => *model = after,
        Err(error) => assert!(!commits, "{error}"),
    }
}

async fn check(data: &impl DataManager, snapshot: &Snapshot, model: &Model, look: Look) {
    let (entries, more) = expected(model, &look);
    let Look { range, direction, limit } = look;
    let page = data.read_range(snapshot, &NUMBERS, range, direction, limit).await.unwrap();
    assert_eq!((page.entries, page.more), (entries, more));
}

async fn run<D: DataManager + Clone>(
    open: impl AsyncFn() -> D,
    checkpoint: impl AsyncFn(&D),
    restarts: bool,
    steps: Vec<Step>,
) {
    let mut data = open().await;
    let mut model = Model::new();
    let mut pinned: Vec<(Snapshot, Model)> = Vec::new();
    let all = Look { range: KeyRange::all(), direction: Direction::Ascending, limit: usize::MAX };
    for step in steps {
        match step {
            Step::Transact(ops, commits) => transact(&data, &mut model, ops, commits).await,
            Step::Pin => pinned.push((data.snapshot(), model.clone())),
            Step::Unpin(index) if !pinned.is_empty() => drop(pinned.swap_remove(index.index(pinned.len()))),
            Step::Look(index, look) if !pinned.is_empty() => {
                let (snapshot, model) = &pinned[index.index(pinned.len())];
                check(&data, snapshot, model, look).await;
            }
            Step::Restart if restarts => {
                pinned.clear();
                let position = data.snapshot().position();
                data = open().await;
                assert_eq!(data.snapshot().position(), position);
            }
            Step::Checkpoint => checkpoint(&data).await,
            Step::Wait => tokio::time::sleep(CLEANER_WAIT).await,
            Step::Unpin(_) | Step::Look(..) | Step::Restart => {}
        }
        check(&data, &data.snapshot(), &model, all.clone()).await;
    }
    for (snapshot, model) in &pinned {
        check(&data, snapshot, model, all.clone()).await;
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future);
}

proptest! {
    #[test]
    fn the_memory_data_manager_is_a_map(steps in vec(step(), 1..60)) {
        block_on(run(async || MemoryDataManager::new(), async |_| (), false, steps));
    }

    #[test]
    fn a_log_is_a_map_that_survives_restarts_checkpoints_and_cleanings(steps in vec(step(), 1..60)) {
        let storage = Arc::new(MemoryStorage::new());
        let openings = AtomicU8::new(0);
        let open = async || builder(Arc::clone(&storage), "b", openings.fetch_add(1, Ordering::Relaxed)).history_transactions_max(5).open().await.unwrap();
        let checkpoint = async |data: &WalDataManager| {
            data.checkpoint().await.unwrap();
        };
        block_on(run(open, checkpoint, true, steps));
    }
}
