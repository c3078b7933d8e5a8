use super::*;
use crate::Action;

fn apply(store: &Store, lsn: u64, key: &'static str, bytes: usize) {
    let put = Action::Put { collection: "c".into(), key: key.into(), value: lsn.to_string().into() };
    let logged = Logged::new(Position { lsn, index: 0 }, Vec::new(), vec![put]);
    store.apply(Batch { lsn, transactions: vec![logged], bytes });
}

#[test]
fn what_only_an_old_snapshot_saw_goes_with_it() {
    let store = Store::new(10, 0);
    apply(&store, 1, "k", 1);
    let (old, same) = (store.snapshot(), store.snapshot());
    apply(&store, 2, "k", 1);
    let newer = store.snapshot();
    apply(&store, 3, "k", 1);
    let position = old.position();
    drop(old);
    assert_eq!(store.get(position, "c", b"k").unwrap().as_deref(), Some(&b"1"[..]), "another one still reads there");
    drop(same);
    let error = store.get(position, "c", b"k").expect_err("nobody holds it any more");
    assert!(matches!(error, Error::PositionExpired { oldest, .. } if oldest == newer.position()), "{error}");
    assert_eq!(store.get(newer.position(), "c", b"k").unwrap().as_deref(), Some(&b"2"[..]));
    drop(newer);
    assert!(store.pins().is_empty());
}

#[test]
fn recent_batches_are_bounded_by_bytes_and_the_newest_always_stays() {
    let store = Store::new(10, 100);
    for lsn in 1..=5 {
        apply(&store, lsn, "k", 40);
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
    apply(&store, 6, "k", 1000);
    assert_eq!(places(1..=7), "ooooorf");
}

#[test]
fn equal_content_has_an_equal_hash_and_other_content_another() {
    let (one, two, three) = (Store::new(10, 0), Store::new(10, 0), Store::new(10, 0));
    for (store, keys) in [(&one, ["a", "b"]), (&two, ["b", "a"]), (&three, ["a", "c"])] {
        for key in keys {
            let put = Action::Put { collection: "c".into(), key: key.into(), value: "v".into() };
            let lsn = store.position().lsn + 1;
            let logged = Logged::new(Position { lsn, index: 0 }, Vec::new(), vec![put]);
            store.apply(Batch { lsn, transactions: vec![logged], bytes: 1 });
        }
    }
    let hash = |store: &Store| store.state_hash(store.position()).unwrap();
    assert_eq!(hash(&one), hash(&two));
    assert_ne!(hash(&one), hash(&three));
}
