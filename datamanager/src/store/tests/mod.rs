use futures::FutureExt;

use super::*;
use crate::{
    Action,
    base::testing::publish,
    record::Logged,
    table::{self, tests::data_files},
};

mod conflicts;
mod follow;
mod memory;
mod tiers;

const KEPT: u64 = 1000;

/// Nothing here waits, but for another thread that reads the same block.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().now_or_never() {
        Some(output) => output,
        None => table::tests::block_on(future),
    }
}

fn at(lsn: u64) -> Position {
    Position { lsn, index: 0 }
}

fn empty_base() -> Arc<Base> {
    Base::empty([0; 32])
}

fn store() -> Arc<Store> {
    Store::new(empty_base(), KEPT, usize::MAX)
}

fn write(collection: &str, key: &str, value: Option<&str>) -> Action {
    let (collection, key) = (collection.to_owned(), Bytes::copy_from_slice(key.as_bytes()));
    match value {
        Some(value) => Action::Put { collection, key, value: Bytes::copy_from_slice(value.as_bytes()) },
        None => Action::Delete { collection, key },
    }
}

/// The next batch of a store, of one transaction.
fn batch(store: &Store, groups: &[&str], actions: Vec<Action>) -> Batch {
    let lsn = store.position().lsn + 1;
    let groups = groups.iter().map(|group| group.to_string()).collect();
    Batch::new(lsn, [lsn as u8; 32], vec![Logged::new(at(lsn), groups, actions)])
}

fn put(store: &Store, key: &str) {
    let value = (store.position().lsn + 1).to_string();
    store.apply(batch(store, &[], vec![write("c", key, Some(&value))]));
}

fn get(store: &Store, at: &Snapshot, key: &str) -> Option<String> {
    let value = block_on(store.get(at, "c", key.as_bytes())).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// A checkpoint of everything, without tombstones that it may drop.
pub(crate) fn checkpoint(store: &Store) -> Arc<Base> {
    let frozen = store.rotate();
    let files = frozen.base.files().cloned().unwrap_or_else(|| data_files(1 << 20).1);
    block_on(publish(&frozen, &files))
}

#[test]
fn what_only_an_old_snapshot_saw_goes_with_it() {
    let store = store();
    put(&store, "k");
    let (old, same) = (store.snapshot(), store.snapshot());
    put(&store, "k");
    let newer = store.snapshot();
    put(&store, "k");
    let position = old.position();
    drop(old);
    assert_eq!(get(&store, &same, "k").as_deref(), Some("1"));
    drop(store.snapshot_at(position).expect("another one still reads there"));
    drop(same);
    let error = store.snapshot_at(position).expect_err("nobody holds it any more");
    assert!(matches!(error, Error::PositionExpired { oldest, .. } if oldest == newer.position()), "{error}");
    assert_eq!(get(&store, &newer, "k").as_deref(), Some("2"));
    drop(newer);
    assert!(store.pins().is_empty());
}

#[test]
fn a_position_is_held_until_something_of_it_is_overwritten_or_moved_to_a_checkpoint() {
    let store = store();
    for key in ["a", "b", "c", "a"] {
        put(&store, key);
    }
    put(&store, "d");
    let readable =
        |store: &Arc<Store>| -> Vec<u64> { (0..7).filter(|lsn| store.snapshot_at(at(*lsn)).is_ok()).collect() };
    assert_eq!(readable(&store), [4, 5], "the first version of `a` is gone");
    let old = store.snapshot_at(at(4)).unwrap();
    assert_eq!(get(&store, &old, "d"), None);
    let base = checkpoint(&store);
    put(&store, "e");
    assert_eq!(readable(&store), [4, 5, 6]);
    assert!(store.install(base));
    assert_eq!(readable(&store), [5, 6]);
    let error = store.snapshot_at(at(7)).expect_err("it does not exist");
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

#[test]
fn a_snapshot_of_another_store_is_refused() {
    let (one, other) = (store(), store());
    for snapshot in [other.snapshot(), Snapshot::new(Position::ZERO, Arc::new(()))] {
        let scan = Scan { collection: "c".into(), range: KeyRange::all(), direction: Direction::Ascending, limit: 1 };
        let refused = [
            block_on(one.get(&snapshot, "c", b"k")).map(drop),
            block_on(one.scan(&snapshot, &scan)).map(drop),
            block_on(one.state_hash(&snapshot)).map(drop),
        ];
        assert!(refused.iter().all(|result| matches!(result, Err(Error::Refused { .. }))), "{refused:?}");
    }
}

#[test]
fn recent_batches_are_bounded_by_bytes_and_the_newest_always_stays() {
    let large = "x".repeat(10_000);
    let store = Store::new(empty_base(), KEPT, 25_000);
    let apply = |value: &str| store.apply(batch(&store, &[], vec![write("c", "k", Some(value))]));
    for _ in 1..=5 {
        apply(&large);
    }
    let places = |lsns: std::ops::RangeInclusive<u64>| -> String {
        let letter = |lsn| match store.place_of(lsn) {
            Place::Recent(batch) => {
                assert_eq!(batch.lsn, lsn);
                'r'
            }
            Place::Older => 'o',
            Place::Future => 'f',
        };
        lsns.map(letter).collect()
    };
    assert_eq!(places(1..=6), "ooorrf");
    apply(&large.repeat(9));
    assert_eq!(places(1..=7), "ooooorf");
}

#[test]
fn equal_content_has_an_equal_hash_and_other_content_another() {
    let (one, two, three) = (store(), store(), store());
    for (store, keys) in [(&one, ["a", "b"]), (&two, ["b", "a"]), (&three, ["a", "c"])] {
        for key in keys {
            store.apply(batch(store, &[], vec![write("c", key, Some("v"))]));
        }
    }
    let hash = |store: &Arc<Store>| block_on(store.state_hash(&store.snapshot())).unwrap();
    assert_eq!(hash(&one), hash(&two));
    assert_ne!(hash(&one), hash(&three));
    // What the store keeps for itself is not content.
    one.apply(batch(&one, &["group"], vec![write(system::SYSTEM, "leader", Some("x"))]));
    assert_eq!(hash(&one), hash(&two));
}

#[test]
fn a_store_without_checkpoints_forgets_deletes_and_others_keep_them() {
    let memory = Store::in_memory(10, 0);
    let durable = Store::new(empty_base(), 10, 0);
    for store in [&memory, &durable] {
        for n in 0..1000 {
            let actions = vec![write("c", &n.to_string(), Some("v")), write("c", &(n - 1).to_string(), None)];
            store.apply(batch(store, &[&format!("group {n}")], actions));
        }
    }
    let known = |store: &Store, collection: &str| store.rotate().entries(collection, KeyRange::all()).count();
    for collection in ["c", GROUPS] {
        assert!(known(&memory, collection) <= 15, "{}", known(&memory, collection));
        assert!(known(&durable, collection) >= 1000);
    }
}

#[test]
fn a_file_that_is_gone_expires_an_old_snapshot_and_is_corruption_for_a_new_one() {
    let store = store();
    put(&store, "k");
    store.install(checkpoint(&store));
    let (old, first) = (store.snapshot(), store.base());
    put(&store, "k");
    let second = checkpoint(&store);
    store.install(Arc::clone(&second));
    let files = second.files().unwrap();
    let removed = [files.layout().manifest(1)].into_iter().chain([&first, &second].map(|base| {
        let id = base.manifest().collections["c"].base[0].id;
        files.layout().data("c", id)
    }));
    for key in removed {
        block_on(files.storage().delete(&key)).unwrap();
    }
    let scan = Scan { collection: "c".into(), range: KeyRange::all(), direction: Direction::Ascending, limit: 1 };
    let new = store.snapshot();
    for error in [
        block_on(store.get(&old, "c", b"k")).expect_err("gone"),
        block_on(store.scan(&old, &scan)).expect_err("gone"),
        block_on(store.state_hash(&old)).expect_err("gone"),
    ] {
        let expired =
            matches!(error, Error::PositionExpired { position, oldest } if (position, oldest) == (at(1), at(2)));
        assert!(expired, "{error}");
    }
    for error in
        [block_on(store.get(&new, "c", b"k")).expect_err("gone"), block_on(store.scan(&new, &scan)).expect_err("gone")]
    {
        assert!(matches!(&error, Error::Corrupt { object, .. } if object.starts_with("base/data/c/")), "{error}");
    }
}

#[test]
fn only_a_newer_checkpoint_of_what_is_visible_is_installed() {
    let (ahead, store) = (self::store(), self::store());
    for store in [&ahead, &store] {
        put(store, "k");
    }
    let one = checkpoint(&store);
    put(&ahead, "k");
    assert!(!store.install(checkpoint(&ahead)), "it is ahead of what is visible");
    assert!(store.install(Arc::clone(&one)));
    assert!(!store.install(one), "it is installed already");
    assert_eq!(get(&store, &store.snapshot(), "k").as_deref(), Some("1"));
}

#[test]
fn a_reader_never_sees_a_new_group_with_old_data() {
    const INCREMENTS: usize = 300;
    let store = store();
    store.apply(batch(&store, &[], vec![write("c", "k", Some("0"))]));
    // Nothing but the group guards the entry: were it visible before the entry is, an increment would be lost.
    let increment = || {
        let snapshot = store.snapshot();
        let next: usize = get(&store, &snapshot, "k").unwrap().parse::<usize>().unwrap() + 1;
        std::thread::yield_now();
        let groups = vec!["g".to_owned()];
        let reads = ReadSet { position: snapshot.position(), groups: groups.clone(), ..ReadSet::default() };
        let committed = store.commit_alone(&reads, |position| {
            let actions = vec![write("c", "k", Some(&next.to_string()))];
            Batch::new(position.lsn, [0; 32], vec![Logged::new(position, groups, actions)])
        });
        committed.is_ok()
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..INCREMENTS).for_each(|_| while !increment() {}));
        }
        scope.spawn(|| {
            while store.position().lsn < 2 * INCREMENTS as u64 {
                store.install(checkpoint(&store));
            }
        });
    });
    assert_eq!(get(&store, &store.snapshot(), "k"), Some((3 * INCREMENTS).to_string()));
}
