//! Random writes, rotations, checkpoints and snapshots, against a `BTreeMap`.

use std::collections::BTreeMap as Map;

use std::ops::Bound;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// By collection and key.
type Model = Map<(String, Bytes), Bytes>;

type Write = (&'static str, Bytes, Option<Bytes>);

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Write>),
    Pin,
    Unpin(Index),
    Rotate,
    /// Begins a checkpoint: it is made, but not installed.
    Checkpoint,
    /// Installs one of those that were made, which may be no newer than the one that is.
    Install(Index),
    /// Begins again at a checkpoint, and reads the log after it.
    Reset(Index),
    Look(Index, Look),
}

#[derive(Clone, Debug)]
struct Look {
    collection: &'static str,
    range: KeyRange,
    direction: Direction,
    limit: usize,
}

fn collection() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("c"), 1 => Just("d")]
}

fn key() -> impl Strategy<Value = Bytes> {
    "[abc]{0,3}".prop_map(Bytes::from)
}

fn look() -> impl Strategy<Value = Look> {
    let bound =
        || prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded)];
    let direction = prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)];
    (collection(), bound(), bound(), direction, prop_oneof![1..15_usize, Just(usize::MAX)]).prop_map(
        |(collection, start, end, direction, limit)| Look {
            collection,
            range: KeyRange { start, end },
            direction,
            limit,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::option::weighted(0.6, "[xyz]{0,3}".prop_map(Bytes::from));
    prop_oneof![
        12 => vec((collection(), key(), value), 1..12).prop_map(Step::Write),
        2 => Just(Step::Pin),
        2 => any::<Index>().prop_map(Step::Unpin),
        1 => Just(Step::Rotate),
        2 => Just(Step::Checkpoint),
        2 => any::<Index>().prop_map(Step::Install),
        1 => any::<Index>().prop_map(Step::Reset),
        8 => (any::<Index>(), look()).prop_map(|(index, look)| Step::Look(index, look)),
    ]
}

fn actions(writes: &[Write]) -> Vec<Action> {
    let action = |(collection, key, value): &Write| match value.clone() {
        Some(value) => Action::Put { collection: (*collection).into(), key: key.clone(), value },
        None => Action::Delete { collection: (*collection).into(), key: key.clone() },
    };
    writes.iter().map(action).collect()
}

fn check(store: &Store, at: &Snapshot, model: &Model, look: &Look) {
    let Look { collection, range, direction, limit } = look.clone();
    let inside = model.iter().filter(|((of, key), _)| of == collection && range.contains(key));
    let mut entries: Vec<_> = inside.map(|((_, key), value)| (key.clone(), value.clone())).collect();
    if direction == Direction::Descending {
        entries.reverse();
    }
    let more = entries.len() > limit;
    entries.truncate(limit);
    let scan = Scan { collection: collection.into(), range, direction, limit };
    assert_eq!(block_on(store.scan(at, &scan)).unwrap(), Page { entries, more }, "{look:?} at {at:?}");
}

fn check_all(store: &Store, at: &Snapshot, model: &Model) {
    for (collection, direction) in
        [("c", Direction::Ascending), ("c", Direction::Descending), ("d", Direction::Ascending)]
    {
        check(store, at, model, &Look { collection, range: KeyRange::all(), direction, limit: usize::MAX });
    }
    for key in ["", "a", "bb", "abc"] {
        let value = block_on(store.get(at, "c", key.as_bytes())).unwrap();
        assert_eq!(value.as_ref(), model.get(&("c".into(), key.into())), "`{key}` at {at:?}");
    }
}

fn run(steps: Vec<Step>, history_max: u64) {
    let store = Store::new(empty_base(), history_max, usize::MAX);
    let flat = Store::in_memory(history_max, usize::MAX);
    let mut model = Model::new();
    let mut log: Vec<Vec<Write>> = Vec::new();
    let mut pinned: Vec<(Snapshot, Model)> = Vec::new();
    let mut checkpoints: Vec<Arc<Base>> = Vec::new();
    for step in steps {
        match step {
            Step::Write(writes) => {
                store.apply(batch(&store, &["g"], actions(&writes)));
                flat.apply(batch(&flat, &["g"], actions(&writes)));
                for (collection, key, value) in writes.iter().cloned() {
                    match value {
                        Some(value) => drop(model.insert((collection.to_owned(), key), value)),
                        None => drop(model.remove(&(collection.to_owned(), key))),
                    }
                }
                log.push(writes);
            }
            Step::Pin => pinned.push((store.snapshot(), model.clone())),
            Step::Unpin(index) if !pinned.is_empty() => drop(pinned.swap_remove(index.index(pinned.len()))),
            Step::Rotate => drop(store.rotate()),
            Step::Checkpoint => checkpoints.push(checkpoint(&store)),
            Step::Install(index) if !checkpoints.is_empty() => {
                store.install(Arc::clone(&checkpoints[index.index(checkpoints.len())]));
            }
            Step::Reset(index) if !checkpoints.is_empty() => {
                store.reset(&Store::new(Arc::clone(&checkpoints[index.index(checkpoints.len())]), KEPT, usize::MAX));
                while let Some(writes) = log.get(store.position().lsn as usize) {
                    store.apply(batch(&store, &["g"], actions(writes)));
                }
            }
            Step::Look(index, look) if !pinned.is_empty() => {
                let (snapshot, model) = &pinned[index.index(pinned.len())];
                check(&store, snapshot, model, &look);
            }
            Step::Look(_, look) => check(&store, &store.snapshot(), &model, &look),
            Step::Unpin(_) | Step::Install(_) | Step::Reset(_) => {}
        }
        check_all(&store, &store.snapshot(), &model);
    }
    for (snapshot, model) in &pinned {
        check_all(&store, snapshot, model);
    }
    let hash = |store: &Arc<Store>| block_on(store.state_hash(&store.snapshot())).unwrap();
    assert_eq!(hash(&store), hash(&flat), "the hash does not depend on the tiers");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_store_of_many_tiers_is_a_map(steps in vec(step(), 1..60), history_max in prop_oneof![1..6_u64, Just(KEPT)]) {
        run(steps, history_max);
    }
}
