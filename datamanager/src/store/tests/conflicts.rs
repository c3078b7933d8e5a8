//! Conflict checks in every tier, against the plainest way to say what conflicts.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<String>, Vec<String>),
    /// Many commits that have nothing to do with any read, so that checks do not walk what is recent.
    Noise,
    Checkpoint,
    Install(Index),
    Reset(Index),
    Check(Index, Reads),
}

#[derive(Clone, Debug)]
struct Reads {
    keys: Vec<String>,
    ranges: Vec<KeyRange>,
    groups: Vec<String>,
}

fn name() -> impl Strategy<Value = String> {
    "[abcd]{1,2}"
}

fn step() -> impl Strategy<Value = Step> {
    let range = prop_oneof![
        name().prop_map(KeyRange::prefix),
        (name(), name()).prop_map(|(start, end)| KeyRange::all().after(start).before(end)),
        Just(KeyRange::all().after("y")),
    ];
    let reads = (vec(name(), 0..3), vec(range, 0..2), vec("[gh]", 0..2));
    let reads = reads.prop_map(|(keys, ranges, groups)| Reads { keys, ranges, groups });
    prop_oneof![
        8 => (vec(name(), 0..3), vec("[gh]", 0..2)).prop_map(|(keys, groups)| Step::Commit(keys, groups)),
        1 => Just(Step::Noise),
        1 => Just(Step::Checkpoint),
        1 => any::<Index>().prop_map(Step::Install),
        1 => any::<Index>().prop_map(Step::Reset),
        12 => (any::<Index>(), reads).prop_map(|(index, reads)| Step::Check(index, reads)),
    ]
}

/// The keys and groups that each transaction wrote.
type Log = Vec<(Vec<String>, Vec<String>)>;

fn apply(store: &Store, (keys, groups): &(Vec<String>, Vec<String>)) {
    let actions = keys.iter().enumerate().map(|(n, key)| write("c", key, (n % 2 == 0).then_some("v")));
    let groups: Vec<_> = groups.iter().map(String::as_str).collect();
    store.apply(batch(store, &groups, actions.collect()));
}

fn conflicts(log: &Log, position: Position, reads: &Reads) -> bool {
    let later = &log[position.lsn as usize..];
    later.iter().any(|(keys, groups)| {
        groups.iter().any(|group| reads.groups.contains(group))
            || keys
                .iter()
                .any(|key| reads.keys.contains(key) || reads.ranges.iter().any(|range| range.contains(key.as_bytes())))
    })
}

fn check(store: &Store, log: &Log, position: Position, reads: &Reads) {
    let mut read_set = ReadSet {
        position,
        keys: reads.keys.iter().map(|key| ("c".to_owned(), Bytes::from(key.clone()))).collect(),
        ranges: reads.ranges.iter().map(|range| ("c".to_owned(), range.clone())).collect(),
        groups: reads.groups.clone(),
    };
    let empty = read_set.is_empty();
    let forgotten = store.read().history.forgotten;
    let covered = store.base().position();
    let first = store.check(&read_set);
    let below = matches!(first, Check::BelowBase);
    assert_eq!(below, !empty && forgotten <= position && position < covered, "{read_set:?}");
    let result = block_on(store.check_alone(read_set.clone()));
    let expected = conflicts(log, position, reads);
    match (&result, empty) {
        (_, true) => assert!(result.is_ok()),
        (Err(Error::PositionExpired { oldest, .. }), _) => {
            assert_eq!(*oldest, forgotten);
            assert!(position < forgotten, "{result:?}");
        }
        (Err(Error::Conflict { .. }), _) => assert!(expected, "{read_set:?} {result:?}"),
        _ => assert!(result.is_ok() && !expected && position >= forgotten, "{read_set:?} {result:?}"),
    }
    if let Check::Refused(error) = first {
        assert!(result.is_err(), "{error}");
    }
    // Checked against the base only, it holds up to there; what came later is left to the check in memory.
    if block_on(store.check_below(&mut read_set)).is_ok() && !empty {
        assert_eq!(read_set.position, position.max(covered));
    }
}

fn run(steps: Vec<Step>, history_max: u64, recent_bytes_max: usize) {
    let store = Store::new(empty_base(), history_max, recent_bytes_max);
    let mut log = Log::new();
    let mut checkpoints = Vec::new();
    for step in steps {
        match step {
            Step::Commit(keys, groups) => log.push((keys, groups)),
            Step::Noise => log.extend((0..8).map(|_| (vec!["noise".to_owned(); 200], vec![]))),
            Step::Checkpoint => checkpoints.push(checkpoint(&store)),
            Step::Install(index) if !checkpoints.is_empty() => {
                store.install(Arc::clone(&checkpoints[index.index(checkpoints.len())]));
            }
            Step::Reset(index) if !checkpoints.is_empty() => {
                store.reset(&Store::new(Arc::clone(&checkpoints[index.index(checkpoints.len())]), KEPT, usize::MAX));
            }
            Step::Check(index, reads) => {
                let position = at(index.index(log.len() + 1) as u64);
                check(&store, &log, position, &reads);
            }
            Step::Install(_) | Step::Reset(_) => {}
        }
        while let Some(logged) = log.get(store.position().lsn as usize) {
            apply(&store, logged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn exactly_what_was_changed_since_conflicts(
        steps in vec(step(), 1..80),
        history_max in prop_oneof![1..20_u64, Just(KEPT)],
        recent_bytes_max in prop_oneof![Just(0), Just(2000), Just(usize::MAX)],
    ) {
        run(steps, history_max, recent_bytes_max);
    }
}

#[test]
fn transactions_of_one_batch_are_told_apart() {
    let store = Store::new(empty_base(), KEPT, 0);
    let position = |index| Position { lsn: 1, index };
    let transactions = ["a", "b"].into_iter().enumerate().map(|(index, key)| {
        Logged::new(position(index as u32), vec![key.to_owned()], vec![write("c", key, Some("v"))])
    });
    store.apply(Batch::new(1, [1; 32], transactions.collect()));
    put(&store, "later");
    let reads = |index, key: &'static str, group: &str, range| ReadSet {
        position: position(index),
        keys: vec![("c".into(), key.into())],
        ranges: vec![("c".into(), KeyRange::prefix(range))],
        groups: vec![group.to_owned()],
    };
    let install = [false, true];
    for installed in install {
        if installed {
            store.install(checkpoint(&store));
        }
        for (reads, valid) in [
            (reads(0, "a", "a", "a"), true),
            (reads(0, "b", "a", "a"), false),
            (reads(0, "a", "b", "a"), false),
            (reads(0, "a", "a", "b"), false),
            (reads(1, "b", "b", "b"), true),
        ] {
            let what = format!("{reads:?}, installed: {installed}");
            assert_eq!(block_on(store.check_alone(reads)).is_ok(), valid, "{what}");
        }
    }
}

#[test]
fn a_read_older_than_the_history_is_expired_and_a_blind_write_never_is() {
    let store = Store::new(empty_base(), 2, 0);
    for key in ["a", "a", "a", "a"] {
        put(&store, key);
    }
    let key = |lsn, key: &'static str| ReadSet {
        position: at(lsn),
        keys: vec![("c".into(), key.into())],
        ..ReadSet::default()
    };
    for installed in [false, true] {
        if installed {
            store.install(checkpoint(&store));
        }
        let error = block_on(store.check_alone(key(1, "b"))).expect_err("forgotten");
        assert!(matches!(error, Error::PositionExpired { oldest, .. } if oldest == at(2)), "{error}");
        assert!(block_on(store.check_alone(key(2, "b"))).is_ok());
        assert!(block_on(store.check_alone(key(3, "a"))).is_err());
        assert!(block_on(store.check_alone(ReadSet::default())).is_ok());
        let error = block_on(store.check_alone(key(5, "a"))).expect_err("the future");
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
}

#[test]
fn what_the_maker_of_a_checkpoint_has_forgotten_is_forgotten_by_whoever_installs_it() {
    let (forgetful, store) = (Store::new(empty_base(), 2, 0), Store::new(empty_base(), 4, 0));
    for store in [&forgetful, &store] {
        put(store, "a");
        store.apply(batch(store, &[], vec![write("c", "a", None)]));
        (0..3).for_each(|_| put(store, "b"));
    }
    // It has dropped the tombstone, which alone says that `a` was deleted after position 1.
    store.install(checkpoint(&forgetful));
    for _ in 0..3 {
        let reads = ReadSet { position: at(1), keys: vec![("c".into(), "a".into())], ..ReadSet::default() };
        let error = block_on(store.check_alone(reads)).expect_err("it was deleted");
        assert!(matches!(error, Error::PositionExpired { oldest, .. } if oldest == at(3)), "{error}");
        put(&store, "b");
    }
}
